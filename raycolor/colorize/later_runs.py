"""A later run over a job's destination: what it adds, tries again, verifies, and makes again."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

from raycolor.colorize.config import ColorizeConfig
from raycolor.colorize.job_folder import FOLDER
from raycolor.colorize.job_record import JobRecord, Revision, Round
from raycolor.colorize.manifest import Manifest, ManifestTotals, write_manifest
from raycolor.colorize.outcomes import ShardOutcomes, done_shards, read_shards
from raycolor.colorize.redo import Again
from raycolor.errors import RaycolorError
from raycolor.progress import Progress
from raycolor.sources import Input, Source
from raycolor.sources.key_set import KeySet
from raycolor.sources.known_inputs import KnownInputs
from raycolor.storage import ObjectStore

logger = logging.getLogger(__name__)


def rounds_to_do(config: ColorizeConfig, record: JobRecord, redo_as: int | None = None) -> list[Round]:
    """Return the rounds of this run: one that was stopped, and the one that is asked for unless it is the same.

    One that was not begun has no number yet.

    Args:
        config: what this run asks for.
        record: the job.
        redo_as: the revision that a redo makes, as `revision_for` numbers it; one that is not in `record` is new.
    """
    others = () if config.redo else tuple(range(1, len(record.revisions) + 1))
    asked = Round(
        0,
        retry=config.retry_failed or bool(config.retry_reason),
        reasons=tuple(sorted(config.retry_reason)),
        add_new=config.add_new,
        verify=config.verify,
        redo=tuple(sorted(config.redo)),
        revision=redo_as or 0,
        then=others,
    )
    rounds = [] if record.round is None else [record.round]
    if not asked.asks_as(Round(0)) and (record.round is None or not record.round.asks_as(asked)):
        rounds.append(asked)
    return rounds


def next_pass(round_: Round) -> Round | None:
    """Return a round as it goes on with the outputs of the next revision; None after the last."""
    if not round_.then:
        return None
    return replace(round_, number=0, revision=round_.then[0], then=round_.then[1:])


def open_round(
    config: ColorizeConfig,
    record: JobRecord,
    round_: Round,
    source: Source,
    dest: ObjectStore,
    revisions: Sequence[Revision] = (),
) -> JobRecord:
    """Write down that a round has begun, and bring the manifest up to the source where the round needs that.

    The round is written before the manifest changes: whatever a kill leaves half-changed, the next run goes on with it.
    New revisions are written with the round that makes the first of them.
    """
    if not round_.number:
        if record.round is not None and not record.round.asks_as(round_):
            logger.info("finished the round of a stopped run; now beginning the round of this command")
        round_ = replace(round_, number=record.rounds + 1)
        new = [one for one in revisions if one.number > len(record.revisions)]
        record = record.amend(dest, round=round_, rounds=round_.number, revisions=(*record.revisions, *new))
    elif not round_.listed:
        logger.info("continuing the round of a stopped run")
    if round_.listed or not (round_.add_new or round_.retry):
        return record
    return _refresh(config, record, round_, source, dest)


def _refresh(config: ColorizeConfig, record: JobRecord, round_: Round, source: Source, dest: ObjectStore) -> JobRecord:
    """List the source again; take new inputs and changes into the manifest, as far as the round asks for them."""
    totals, manifest = record.manifest, Manifest(dest, record.manifest)
    with KnownInputs() as known, KeySet() as retried:
        if not round_.add_new:
            again = again_of(round_)
            for shard in read_shards(dest):
                for outcome in shard.outcomes:
                    if again.retries(outcome, shard.round):
                        retried.add(outcome.key)
        new = _compared(config, record, source, dest, known, take=lambda key: round_.add_new or key in retried)
        if round_.add_new:
            totals = write_manifest(dest, new, images_per_shard=config.images_per_shard, after=totals)
        else:
            for _ in new:
                pass
        size = totals.bytes
        for part, inputs in manifest.parts():
            changed = known.changed(part, inputs)
            if changed is not None:
                size += sum(info.size for info in changed) - sum(info.size for info in inputs)
                manifest.replace(part, changed)
        added, taken = known.counts["new"], known.counts["taken"]
        if round_.add_new:
            logger.info("added to this job: %s; to colorize again: %s", _files(added, "new"), _files(taken, "changed"))
        else:
            _say(known.counts["new"], known.counts["changed"])
    listed = replace(round_, listed=True)
    return record.amend(dest, manifest=replace(totals, bytes=size), round=listed)


def say_differences(config: ColorizeConfig, record: JobRecord, source: Source, dest: ObjectStore) -> None:
    """List the source and say how many of its files are not in the job, or are not what they were.

    What has been done stands whatever the source is now: one that cannot be listed is no failure of the job.
    """
    try:
        with KnownInputs() as known:
            for _ in _compared(config, record, source, dest, known, take=lambda key: False):
                pass
            _say(known.counts["new"], known.counts["changed"])
    except RaycolorError as exc:
        logger.warning("SOURCE was not compared with this job: %s", exc)


def _say(new: int, changed: int) -> None:
    if new:
        logger.info("%s %s not in this job: --add-new", _files(new, "new"), "is" if new == 1 else "are")
    if changed:
        logger.info("%s kept their old output: --add-new colorizes them again", _files(changed, "changed"))


def _files(count: int, which: str) -> str:
    return f"{count:,} {which} file{'' if count == 1 else 's'}"


def _compared(
    config: ColorizeConfig,
    record: JobRecord,
    source: Source,
    dest: ObjectStore,
    known: KnownInputs,
    take: Callable[[str], bool],
) -> Iterator[Input]:
    """Yield what the source has and the manifest has not; `known` has what changed afterwards."""
    root = record.root or source.root
    for part, inputs in Manifest(dest, record.manifest).parts():
        known.know(inputs, root, part)

    def unchanged(archive: Input) -> bool:
        return known.has_archive(archive, source.root)

    with Progress("list", None, "photographs") as progress:

        def listing() -> Iterator[Input]:
            for info in source.inputs(dest.uri, config.include, config.exclude, unchanged=unchanged):
                progress.update(1)
                yield info

        yield from known.compare(listing(), source.root, root, take)


def again_of(round_: Round) -> Again:
    """Return what a round asks of the workers."""
    return Again(
        round_.number,
        retry=round_.retry,
        reasons=round_.reasons,
        changed=round_.add_new,
        outputs="same" if round_.verify else "trusted",
        revision=round_.revision,
        redo=round_.redo,
    )


@dataclass(frozen=True)
class Todo:
    """Shards that are to be done, and how many images in them."""

    shards: list[int]
    images: int


def shards_to_do(dest: ObjectStore, totals: ManifestTotals, again: Again | None) -> Todo:
    """Return the unfinished shards and, of the finished ones, those that a round has to do with."""
    manifest, done = Manifest(dest, totals), done_shards(dest)
    # Inputs that nothing was made of yet are made by the job's own settings.
    todo = set() if again is not None and (again.revision or again.chosen) else set(range(totals.shards)) - done
    if again is None and not todo:
        return Todo([], 0)
    unfinished, again_images = totals.images if todo else 0, 0
    for record in read_shards(dest, done):
        unfinished -= len(record.outcomes) if unfinished else 0
        wanted = 0 if again is None else _wanted(record, manifest, again)
        if wanted:
            todo.add(record.shard)
            again_images += wanted
    return Todo(sorted(todo), unfinished + again_images)


def _wanted(record: ShardOutcomes, manifest: Manifest, again: Again) -> int:
    """Count the outcomes of a shard that a round has to do with."""
    if again.outputs == "same" and record.round < again.number:
        return sum(map(again.concerns, record.outcomes))
    infos = {info.key: info for info in manifest.shard(record.shard)} if again.changed else {}
    return sum(again.wants(infos.get(outcome.key), outcome, record.round) for outcome in record.outcomes)


def missing_outputs(dest: ObjectStore) -> dict[int, Todo]:
    """List the destination and return the shards of which an output has gone, by the revision of these outputs."""
    with KeySet() as there:
        for info in dest.list():
            if not info.key.startswith(FOLDER):
                there.add(info.key)
        found: dict[int, Todo] = {}
        for record in read_shards(dest):
            gone = [o for o in record.outcomes if o.output_key is not None and o.output_key not in there]
            for revision, missing in sorted(Counter(outcome.revision for outcome in gone).items()):
                before = found.get(revision, Todo([], 0))
                found[revision] = Todo([*before.shards, record.shard], before.images + missing)
    return dict(sorted(found.items()))
