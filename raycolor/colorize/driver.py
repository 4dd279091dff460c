"""The bulk job: shards of a fixed manifest, done in one process here or by a pool of workers on Ray."""

from __future__ import annotations

import contextlib
import logging
import secrets
from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, replace
from typing import Final

from raycolor.cluster.fingerprint import made_of
from raycolor.colorize.begin import begin_or_continue, check_imported
from raycolor.colorize.config import ColorizeConfig, reviewed
from raycolor.colorize.hints import check_hints, hints_of, keep_hints
from raycolor.colorize.job_folder import ATTEMPTS, NEVER_KEY
from raycolor.colorize.job_record import JobRecord, Revision, Round, read_job
from raycolor.colorize.later_runs import (
    Todo,
    again_of,
    missing_outputs,
    next_pass,
    open_round,
    rounds_to_do,
    say_differences,
    shards_to_do,
)
from raycolor.colorize.local_worker import OneProcess
from raycolor.colorize.manifest import Manifest
from raycolor.colorize.messages import ShardSpec
from raycolor.colorize.redo import Again
from raycolor.colorize.review import of_review, plan_review, planned_keys, withdraw
from raycolor.colorize.review_list import Decisions
from raycolor.colorize.revisions import colorizer_of, redo_settings, revision_for
from raycolor.colorize.runner import Runner, check_runner, runs_here
from raycolor.colorize.summary import FailureLimit, Timing, finish, summarize
from raycolor.colorizer.config import ColorizerConfig
from raycolor.colorizer.hint_list import HintList, read_hints
from raycolor.errors import RaycolorError
from raycolor.models.checkpoints import Checkpoint, load
from raycolor.progress import Progress
from raycolor.sources import Source, open_sources
from raycolor.sources.never_list import read_never_list
from raycolor.storage import ObjectStore, open_store
from raycolor.storage.lease import Lease

logger = logging.getLogger(__name__)

_LEFT_AFTER: Final = 3  # shards


def run(config: ColorizeConfig) -> int:
    """Colorize every photograph of a source; the same configuration over the same destination continues.

    Returns:
        0, or 3 if more images failed than `max_failed` allows.

    Raises:
        TooManyFailedError: so many had failed after 500 outcomes or more that the job was stopped.
        ConfigError: settings or places that cannot work.
        ManifestError: the destination belongs to another job.
        StorageError: the destination cannot be written.
    """
    review = None
    if reviewed(config.source) is not None:
        config, review = of_review(config)
    check_runner(config)
    limit = FailureLimit.parse(config.max_failed)
    # The first look at both places is not waited for: a mistake in the command is told at once.
    patience = {"patience_s": config.patience}
    source_options = {**config.source_options(), **patience}
    dest_options = {**config.dest_options(), **patience, "probe_under": ATTEMPTS}
    source = open_sources(config.source, root=config.root, archives=config.archives, options=source_options)
    dest = open_store(config.dest, **config.dest_options())
    source.check_dest(dest.uri)
    if config.redo:
        config = redo_settings(config, read_job(dest))
    never = None if config.never is None else read_never_list(config.never, endpoint_url=config.endpoint_url)
    hints = None if config.hints is None else read_hints(config.hints, endpoint_url=config.endpoint_url)
    checkpoint = load(config.checkpoint)
    check_imported(checkpoint, config)
    timing = Timing()
    with Lease(dest) as lease:
        found = read_job(dest)
        if never is None and found is not None and "never_sha256" in found.identity:
            # What an archive has said once need not be said again.
            never = read_never_list(f"{dest.uri}/{NEVER_KEY}", endpoint_url=config.endpoint_url)
        if hints is None and found is not None and found.hints_of(0) is not None:
            hints = hints_of(dest, found, 0)
        elif hints is not None and found is not None and config.redo:
            check_hints(hints, Manifest(dest, found.manifest))
            keep_hints(dest, hints)
        record = begin_or_continue(found, config, source, dest, checkpoint, never, hints)
        spec = ShardSpec(
            record.root or source.root,
            dest.uri,
            record.manifest,
            config,
            config.image_timeout_s,
            max_file_bytes=config.max_file_bytes,
            never=never,
            run=secrets.token_hex(8),
            source_options=source_options,
            dest_options=dest_options,
            images_per_shard=config.images_per_shard,
        )
        patient = open_store(config.dest, **dest_options)
        job = _Job(config, record, checkpoint, spec, source, patient, timing, limit, hints or HintList(), review)
        try:
            job.work(later=found is not None)
        except (KeyboardInterrupt, SystemExit, RaycolorError):
            # Stopped or given up: what stands so far is told, and the reason goes on its way.
            if not lease.lost:
                with contextlib.suppress(RaycolorError):
                    summarize(config, job.record, dest, timing)
            raise
        if job.worked:
            # Workers are gone now: what one that was killed left half-written is nobody's.
            dest.sweep(older_than_s=0)
        code = finish(config, job.record, patient, source, timing, limit)
        if job.record.round is not None:
            job.record.amend(dest, round=None)
        return code


@dataclass
class _Job:
    """One run of a job."""

    config: ColorizeConfig
    record: JobRecord
    checkpoint: Checkpoint
    spec: ShardSpec
    source: Source
    dest: ObjectStore
    timing: Timing
    limit: FailureLimit
    hints: HintList
    review: Decisions | None
    worked: bool = False
    pool: Runner | None = None

    def work(self, *, later: bool) -> None:
        """Do what is unfinished and what this run asks for; `later`: over a job that an earlier run began."""
        with ExitStack() as ends:
            redo_as, new = None, None
            if self.config.redo:
                redo_as, new = revision_for(self.config, self.record, self.checkpoint, self.hints.sha256)
            rounds = rounds_to_do(self.config, self.record, redo_as) if later else []
            if not rounds or self.config.redo:
                self._process(shards_to_do(self.dest, self.record.manifest, None), None, ends)
            for round_ in rounds:
                self._round(round_, () if new is None else (new,), ends)
            if self.review is not None:
                self._apply(self.review, ends)
            if later:
                for revision, todo in missing_outputs(self.dest).items():
                    self._process(todo, Again(outputs="there", revision=revision), ends)
        if later and not any(round_.add_new or round_.retry for round_ in rounds):
            say_differences(self.config, self.record, self.source, self.dest)

    def _apply(self, decisions: Decisions, ends: ExitStack) -> None:
        """Do what a review has decided, as far as it is not done already."""
        plan = plan_review(decisions, self.record, self.dest)
        withdraw(plan.withdrawn, self.record, self.dest)
        if plan.again:
            round_ = Round(0, review=plan.keep(self.dest), revision=plan.again[0], then=plan.again[1:])
            self._round(round_, plan.new, ends)

    def _round(self, round_: Round, new: Sequence[Revision], ends: ExitStack) -> None:
        """Do a round, for one revision after the other."""
        following: Round | None = round_
        while following is not None:
            # Those of a review are all written with its first round: a kill must not lose the later ones.
            mine = new if following.review or any(following.revision == one.number for one in new) else ()
            self.record = open_round(self.config, self.record, following, self.source, self.dest, mine)
            assert self.record.round is not None
            again = again_of(self.record.round)
            if self.record.round.review is not None:
                again = replace(again, keys=planned_keys(self.dest, self.record.round))
            self._process(shards_to_do(self.dest, self.record.manifest, again), again, ends)
            following = next_pass(self.record.round)

    def _process(self, todo: Todo, again: Again | None, ends: ExitStack) -> None:
        """Have shards done, show the progress, and say what was found of earlier outputs."""
        if not todo.shards:
            return
        revision = again.revision if again is not None else 0
        runner = self._runner(todo, revision, ends)
        self.worked = True
        colorizer = self._colorizer(revision)
        execution, self.record = runner.settle(self.record, revision, self.dest)
        spec = replace(
            self.spec,
            totals=self.record.manifest,
            again=again,
            colorizer=colorizer.model_copy(update={"precision": execution.precision}),
            hints=hints_of(self.dest, self.record, revision),
            computed_with=execution.computed_with,
            device=execution.device,
            made_of=made_of(),
        )
        found = Counter[str]()
        title = "verify" if again is not None and again.outputs == "same" else "colorize"
        already = self.record.manifest.images - todo.images
        with (
            Progress(title, self.record.manifest.images, already=already, left_after=_LEFT_AFTER) as progress,
            closing(runner.reports(spec, todo, self.timing)) as reports,
        ):
            for report in reports:
                found.update(report.found)
                if report.tally.total:
                    self.timing.add(report)
                rates = self.timing.rates()
                runner.on_report(report, rates)
                progress.update(
                    report.images,
                    # Outputs that are looked at are no photographs that are made.
                    per_second=None if title == "verify" else rates["images_per_second"],
                    MP_per_s=f"{rates['megapixels_per_second'] or 0.0:.1f}",
                    failed=self.timing.failed,
                )
                # What is retried has failed before: it is judged among all others, at the end.
                if again is None:
                    self.limit.watch(self.timing.failed, self.timing.images, spec.dest)
        if found["stay"]:
            stay = found["stay"]
            logger.warning(
                "%s failed, and what was made of %s before stays",
                "1 photograph" if stay == 1 else f"{stay:,} photographs",
                "it" if stay == 1 else "them",
            )
        if again is not None and again.outputs != "trusted":
            logger.info(
                "%s, made again: %s missing, %s changed",
                f"outputs read: {todo.images:,}" if again.outputs == "same" else "outputs listed",
                f"{found['missing']:,}",
                f"{found['changed']:,}",
            )

    def _colorizer(self, revision: int) -> ColorizerConfig:
        """Return what a revision's outputs are made by; this run's own settings where they are the job's."""
        if revision or self.config.redo or self.review is not None:
            return colorizer_of(self.record, revision)
        return self.spec.colorizer

    def _runner(self, todo: Todo, revision: int, ends: ExitStack) -> Runner:
        """Choose who does some shards; a Ray that runs already does them."""
        if self.pool is None:
            if runs_here(self.config, self.record, revision, todo):
                return OneProcess(self.config)
            # Whoever needs no Ray does not wait for its import.
            from raycolor.colorize.ray_driver import RayPool

            self.pool = RayPool(self.config, ends)
        return self.pool
