"""The bulk job on Ray Data: shards of a fixed manifest through a pool of workers."""

from __future__ import annotations

import contextlib
import logging
import secrets
from collections import Counter
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import Final

import ray

from raycolor.cluster import session
from raycolor.cluster.errors import answers
from raycolor.cluster.nodes import Arithmetic, leave_out, look, settle, settle_onnx
from raycolor.cluster.notices import Listener
from raycolor.cluster.placement import cluster_resources, elsewhere, worker_count
from raycolor.cluster.prometheus import ColorizeMetrics
from raycolor.colorize.actor import ShardActor
from raycolor.colorize.begin import begin_or_continue, check_imported
from raycolor.colorize.config import ColorizeConfig
from raycolor.colorize.job_folder import ATTEMPTS
from raycolor.colorize.job_record import JobRecord, read_job
from raycolor.colorize.later_runs import (
    Todo,
    again_of,
    missing_outputs,
    open_round,
    rounds_to_do,
    say_differences,
    shards_to_do,
)
from raycolor.colorize.manifest import order_of_work
from raycolor.colorize.messages import ShardReport, ShardSpec, worthwhile_workers
from raycolor.colorize.network_actor import Execution, choose_execution, start_networks
from raycolor.colorize.redo import Again
from raycolor.colorize.summary import FailureLimit, Timing, finish, summarize
from raycolor.errors import RaycolorError
from raycolor.models.checkpoints import ONNX_METHOD, load
from raycolor.progress import Progress
from raycolor.sources import Source, open_source
from raycolor.storage import ObjectStore, open_store
from raycolor.storage.lease import Lease

logger = logging.getLogger(__name__)

SHARDS_AT_ONCE: Final = 2  # in each worker
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
    limit = FailureLimit.parse(config.max_failed)
    # The first look at both places is not waited for: a mistake in the command is told at once.
    patience = {"patience_s": config.patience}
    source_options = {**config.source_options(), **patience}
    dest_options = {**config.dest_options(), **patience, "probe_under": ATTEMPTS}
    source = open_source(config.source, root=config.root, archives=config.archives, options=source_options)
    dest = open_store(config.dest, **config.dest_options())
    source.check_dest(dest.uri)
    checkpoint = load(config.checkpoint)
    check_imported(checkpoint, config)
    timing = Timing()
    with Lease(dest) as lease:
        found = read_job(dest)
        record = begin_or_continue(found, config, source, dest, checkpoint)
        spec = ShardSpec(
            record.root or source.root,
            dest.uri,
            record.manifest,
            config,
            config.image_timeout_s,
            max_file_bytes=config.max_file_bytes,
            run=secrets.token_hex(8),
            source_options=source_options,
            dest_options=dest_options,
        )
        patient = open_store(config.dest, **dest_options)
        job = _Job(config, record, spec, source, patient, timing, limit)
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
    spec: ShardSpec
    source: Source
    dest: ObjectStore
    timing: Timing
    limit: FailureLimit
    worked: bool = False

    def work(self, *, later: bool) -> None:
        """Do what is unfinished and what this run asks for; `later`: over a job that an earlier run began."""
        with ExitStack() as ray_session:
            rounds = rounds_to_do(self.config, self.record) if later else []
            for round_ in rounds:
                self.record = open_round(self.config, self.record, round_, self.source, self.dest)
                again = again_of(round_)
                self._process(shards_to_do(self.dest, self.record.manifest, again), again, ray_session)
            if not rounds:
                self._process(shards_to_do(self.dest, self.record.manifest, None), None, ray_session)
            if later:
                self._process(missing_outputs(self.dest), Again(outputs="there"), ray_session)
        if later and not any(round_.add_new or round_.retry for round_ in rounds):
            say_differences(self.config, self.record, self.source, self.dest)

    def _process(self, todo: Todo, again: Again | None, ray_session: ExitStack) -> None:
        if not todo.shards:
            return
        if not self.worked:
            ray_session.enter_context(
                session.connect(self.config.address, scale_to=self.config.scale_to, gpus=self.config.gpus or 0)
            )
            self.worked = True
        execution, self.record = _settle_execution(self.config, self.record, self.dest)
        spec = replace(self.spec, totals=self.record.manifest, again=again)
        found = _process(spec, todo, self.record, self.timing, self.config.workers, execution, self.limit)
        if again is not None and again.outputs != "trusted":
            logger.info(
                "%s, made again: %s missing, %s changed",
                f"outputs read: {todo.images:,}" if again.outputs == "same" else "outputs listed",
                f"{found['missing']:,}",
                f"{found['changed']:,}",
            )


def _settle_execution(config: ColorizeConfig, record: JobRecord, dest: ObjectStore) -> tuple[Execution, JobRecord]:
    """Decide where the network runs, once for all runs of a job."""
    resources = cluster_resources()
    execution = choose_execution(config.shape, record.device, resources, config.gpus)
    nodes = look(execution.device)
    if record.device is None or record.precision is None or record.computed_with is None:
        imported = record.checkpoint["method"] == ONNX_METHOD
        settled = (
            settle_onnx(execution.device, nodes) if imported else settle(config.precision, execution.device, nodes)
        )
        record = record.amend(
            dest, device=execution.device, precision=settled.precision, computed_with=settled.computed_with
        )
    else:
        settled = Arithmetic(record.precision, record.computed_with)
    left_out = leave_out(nodes, settled, execution.device)
    if left_out:
        for name, lost in (("CPU", sum(node.cpus for node in left_out)), ("GPU", sum(node.gpus for node in left_out))):
            resources = {**resources, name: resources.get(name, 0) - lost}
        execution = choose_execution(config.shape, execution.device, resources, config.gpus)
    execution = execution._replace(
        precision=settled.precision,
        computed_with=settled.computed_with,
        left_out=tuple(node.id for node in left_out),
        cpus_left_out=sum(node.cpus for node in left_out),
    )
    if execution.networks:
        logger.info("the network runs in %d separate actors, on %s", execution.networks, execution.device)
    return execution, record


def _process(
    spec: ShardSpec,
    todo: Todo,
    record: JobRecord,
    timing: Timing,
    workers: int | None,
    execution: Execution,
    limit: FailureLimit,
) -> Counter[str]:
    """Run shards through a pool of workers and show the progress; return what was found of earlier outputs."""
    timing.device = execution.device
    timing.networks = execution.networks
    timing.workers = min(worker_count(workers, taken=execution.cpus + execution.cpus_left_out), len(todo.shards))
    if workers is None:
        share = todo.images / max(record.manifest.images, 1)
        worthwhile = worthwhile_workers(todo.images, int(record.manifest.bytes * share))
        timing.workers = min(timing.workers, worthwhile)
    colorizer = spec.colorizer.model_copy(update={"precision": execution.precision})
    spec = replace(spec, colorizer=colorizer, computed_with=execution.computed_with, device=execution.device)
    predict = start_networks(execution, spec.colorizer, spec.image_timeout_s) if execution.networks else None
    # Ray Data ends a job that makes no progress. The longest that it may rightly make none: each photograph of the
    # shards of a worker hangs, and then a place is waited for.
    longest_s = SHARDS_AT_ONCE * int(record.identity["images_per_shard"]) * spec.image_timeout_s
    context = ray.data.DataContext.get_current()
    context.execution_no_progress_timeout_s = max(session.NO_PROGRESS_S, longest_s) + spec.patience_s
    # Ray Data hands blocks out in their order.
    order = order_of_work(todo.shards, int(record.identity["images_per_shard"]), timing.workers)
    shards = ray.data.from_items([{"shard": shard} for shard in order], override_num_blocks=len(order))
    reports = shards.map_batches(
        ShardActor,
        fn_constructor_kwargs={"spec": spec, "predict": predict},
        batch_size=1,
        num_cpus=1,
        **elsewhere(execution.left_out),
        # While one shard is written down, the next is computed.
        compute=ray.data.ActorPoolStrategy(
            size=timing.workers,
            max_tasks_in_flight_per_actor=SHARDS_AT_ONCE,
            max_concurrent_calls_per_actor=SHARDS_AT_ONCE,
            enable_true_multi_threading=True,
        ),
    )
    found = Counter[str]()
    metrics = ColorizeMetrics(spec.dest, record.manifest.images)
    title = "verify" if spec.again is not None and spec.again.outputs == "same" else "colorize"
    already = record.manifest.images - todo.images
    progress = Progress(title, record.manifest.images, already=already, left_after=_LEFT_AFTER)
    with Listener(), progress:
        report: ShardReport
        for report in answers(reports, "report"):
            found.update(report.found)
            if report.tally.total:
                timing.add(report)
            rates = timing.rates()
            metrics.add(report.tally.counts, report.tally.reasons, report.tally.pixels, rates)
            progress.update(
                report.images,
                # Outputs that are looked at are no photographs that are made.
                per_second=None if title == "verify" else rates["images_per_second"],
                MP_per_s=f"{rates['megapixels_per_second'] or 0.0:.1f}",
                failed=timing.failed,
            )
            # What is retried has failed before: it is judged among all others, at the end.
            if spec.again is None:
                limit.watch(timing.failed, timing.images, spec.dest)
    metrics.end()
    return found
