"""Apply a review to its job: withdraw what was rejected, make again what is to look otherwise."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final

from raycolor.colorize.config import OF_A_RUN, REQUESTS, ColorizeConfig, reviewed
from raycolor.colorize.finished import check_finished
from raycolor.colorize.hints import hints_of, keep_hints
from raycolor.colorize.job_folder import FOLDER
from raycolor.colorize.job_record import JobRecord, Revision, Round, read_job
from raycolor.colorize.outcomes import Outcome, read_outcomes, read_shards, write_outcomes
from raycolor.colorize.redo import WITHDRAWN, Standing
from raycolor.colorize.review_list import Decision, Decisions, read_decisions
from raycolor.colorize.revisions import known_revisions, new_revision, wanted_of
from raycolor.colorize.signatures import read_signatures
from raycolor.colorizer.config import ColorizerConfig
from raycolor.colorizer.hint_list import HintList
from raycolor.errors import CheckpointError, ConfigError, ManifestError
from raycolor.models.checkpoints import Checkpoint, load
from raycolor.sources.csv_cells import csv_bytes, guard, named_rows, unguard
from raycolor.storage import ObjectStore, get_if_there, open_store

logger = logging.getLogger(__name__)

_PLAN: Final = FOLDER + "reviews/{}.csv"  # what a review makes again, by hash


def of_review(config: ColorizeConfig) -> tuple[ColorizeConfig, Decisions]:
    """Return the settings of the job that a review is about, as it was begun, and what was decided.

    Raises:
        ConfigError: the review is another DEST's, cannot be used, or another request stands beside it.
        ManifestError: there is no job, or it has not ended.
    """
    place = reviewed(config.source)
    assert place is not None
    for name in REQUESTS:
        if getattr(config, name):
            raise ConfigError(f"review.csv and --{name.replace('_', '-')}: one after the other, in two commands")
    dest = open_store(place, must_exist=True, **config.dest_options())
    if open_store(config.dest, **config.dest_options()).uri != dest.uri:
        raise ConfigError(f"DEST {config.dest}: the review is of {dest.uri}: omit DEST")
    record = read_job(dest)
    if record is None:
        raise ConfigError(f"{dest.uri}: holds no job of raycolor colorize: check the path")
    check_finished(dest, record, in_round=True)
    decisions = read_decisions(dest)
    own = {name: value for name, value in record.config.items() if name not in (*REQUESTS, *OF_A_RUN)}
    given = {name: getattr(config, name) for name in config.model_fields_set}
    places = {"source": record.sources or (record.source,), "dest": dest.uri}
    return ColorizeConfig(**{**own, **given, **places}), decisions


@dataclass
class ReviewPlan:
    """What is to be done of a review."""

    withdrawn: dict[str, Decision] = field(default_factory=dict)
    revisions: dict[str, int] = field(default_factory=dict)
    """What is made again, and by which revision."""
    new: tuple[Revision, ...] = ()

    @property
    def again(self) -> tuple[int, ...]:
        """Revisions that have something to do."""
        return tuple(sorted(set(self.revisions.values())))

    def keep(self, dest: ObjectStore) -> str:
        """Write down what is made again, for a run that follows one that was killed; return its hash."""
        rows = ((guard(key), number) for key, number in sorted(self.revisions.items()))
        data = csv_bytes([("key", "revision"), *rows])
        sha256 = hashlib.sha256(data).hexdigest()
        dest.put(_PLAN.format(sha256), data)
        return sha256


def planned_keys(dest: ObjectStore, round_: Round) -> frozenset[str]:
    """Return the keys that a round of a review makes again by its revision.

    Raises:
        ManifestError: the plan is missing or has changed.
    """
    key = _PLAN.format(round_.review)
    data = get_if_there(dest, key)
    if data is None or hashlib.sha256(data).hexdigest() != round_.review:
        raise ManifestError(f"{dest.uri}: {key} is missing or changed: put it back")
    _, rows = named_rows(data.decode())
    return frozenset(unguard(one["key"]) for _, one in rows if int(one["revision"]) == round_.revision)


def plan_review(decisions: Decisions, record: JobRecord, dest: ObjectStore) -> ReviewPlan:
    """Compare what was decided with what stands; new hints are written, nothing else.

    Raises:
        ConfigError: a decision is about no input of the job, or by a checkpoint that cannot be used.
        StorageError: the records cannot be read.
    """
    outcomes = {one.key: one for one in read_outcomes(dest) if one.key in decisions.of}
    if unknown := sorted(decisions.of.keys() - outcomes.keys()):
        more = f" and {len(unknown) - 1:,} more" if len(unknown) > 1 else ""
        raise ConfigError(f"{decisions.where}: {unknown[0]}{more}: no input of this job: mend or remove the row")
    plan, renderings, ignored = ReviewPlan(), _Renderings(record, dest, decisions.where), 0
    for key, decision in decisions.of.items():
        outcome = outcomes[key]
        stands = outcome.status == "colorized"
        if not stands and outcome.reason != WITHDRAWN:
            ignored += 1
        elif decision.decision == "reject" and stands:
            plan.withdrawn[key] = decision
        elif decision.decision == "approve" and decision.changes:
            renderings.want(decision, outcome)
        elif decision.decision == "approve" and not stands:
            plan.revisions[key] = outcome.revision
    plan.revisions |= renderings.choose()
    plan.new = tuple(renderings.new)
    logger.info(
        "review: %s decisions, of which %s to withdraw and %s to make again",
        *(f"{n:,}" for n in (len(decisions.of), len(plan.withdrawn), len(plan.revisions))),
    )
    if ignored:
        logger.warning("review: %s of photographs that were not colorized: nothing to do", f"{ignored:,}")
    return plan


class _Renderings:
    """Finds, for renderings that are asked for, the revisions that make them; makes those that there are not yet."""

    def __init__(self, record: JobRecord, dest: ObjectStore, where: str) -> None:
        self._record, self._dest, self._where = record, dest, where
        self.new: list[Revision] = []
        self._known = [{**one, "hints_sha256": None} for one in known_revisions(record)]
        self._hints = [hints_of(dest, record, number) for number in range(len(self._known))]
        self._checkpoints: dict[str, Checkpoint] = {}
        self._found: dict[str, int] = {}
        self._missing: list[tuple[dict[str, Any], ColorizerConfig, Decision]] = []

    def want(self, decision: Decision, outcome: Outcome) -> None:
        """Take in one decision; one that stands already is done."""
        config = self._config(decision)
        wanted = wanted_of(config, self._load(config.checkpoint, decision.key), None)
        fitting = [
            number
            for number, (known, hints) in enumerate(zip(self._known, self._hints, strict=True))
            if known == wanted and hints.of(decision.key) == decision.hints
        ]
        if not fitting:
            self._missing.append((wanted, config, decision))
        elif outcome.status != "colorized" or outcome.revision not in fitting:
            self._found[decision.key] = fitting[0]

    def choose(self) -> dict[str, int]:
        """Return key -> revision of all that is to be made again."""
        while self._missing:
            wanted, config, _ = self._missing[0]
            group = [decision for other, _, decision in self._missing if other == wanted]
            self._missing = [one for one in self._missing if one[0] != wanted]
            hints = HintList({one.key: one.hints for one in group if one.hints})
            keep_hints(self._dest, hints)
            number = len(self._known) + len(self.new)
            checkpoint = self._load(config.checkpoint, group[0].key)
            self.new.append(new_revision(number, config, checkpoint, hints.sha256))
            self._found |= dict.fromkeys((one.key for one in group), number)
        return self._found

    def _config(self, decision: Decision) -> ColorizerConfig:
        """Return the job's own settings but for what a decision says."""
        own = self._record.colorizer_of(0)
        saturation = own.saturation if decision.saturation is None else decision.saturation
        return own.model_copy(update={"checkpoint": decision.checkpoint or own.checkpoint, "saturation": saturation})

    def _load(self, name: str, key: str) -> Checkpoint:
        if name not in self._checkpoints:
            try:
                self._checkpoints[name] = load(name)
            except CheckpointError as exc:
                raise ConfigError(f"{self._where}: {key}: {exc}") from exc
        return self._checkpoints[name]


def withdraw(decisions: Mapping[str, Decision], record: JobRecord, dest: ObjectStore) -> None:
    """Take outputs back: each file goes, unless somebody has changed it, and its outcome says why and by whom.

    A kill in between leaves an output that is missing; the same command goes on.
    """
    for shard in read_shards(dest, range(record.manifest.shards) if decisions else ()):
        if not any(outcome.key in decisions for outcome in shard.outcomes):
            continue
        rows = [_withdrawn(one, decisions[one.key]) if one.key in decisions else one for one in shard.outcomes]
        replaced = tuple(outcome for outcome in shard.outcomes if outcome.key in decisions)
        Standing(replaced=replaced, signatures=read_signatures(dest, shard.shard)).drop_outputs(dest, rows)
        write_outcomes(dest, shard.shard, rows, shard.round)


def _withdrawn(outcome: Outcome, decision: Decision) -> Outcome:
    who = " ".join(["rejected in a review", *(["by", decision.who] if decision.who else [])])
    when = f", {decision.when}" if decision.when else ""
    return replace(
        outcome,
        status="skipped",
        reason=WITHDRAWN,
        detail=who + when,
        output_key=None,
        output_bytes=None,
        output_sha256=None,
    )
