"""Shards through a pool of workers on Ray Data."""

from __future__ import annotations

import logging
from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import ExitStack, closing
from functools import partial
from typing import Final

import ray

from raycolor.cluster import session
from raycolor.cluster.errors import answers
from raycolor.cluster.nodes import look
from raycolor.cluster.notices import Listener
from raycolor.cluster.placement import cluster_resources, elsewhere, living_nodes, worker_count
from raycolor.cluster.pool import bound_data, growing, wait_for_room
from raycolor.cluster.prometheus import ColorizeMetrics
from raycolor.colorize import ahead
from raycolor.colorize.actor import ShardActor
from raycolor.colorize.config import ColorizeConfig
from raycolor.colorize.execution import Execution, settle_execution, settle_here
from raycolor.colorize.job_record import JobRecord
from raycolor.colorize.later_runs import Todo
from raycolor.colorize.local_worker import HeadStart
from raycolor.colorize.manifest import Manifest, order_of_work, rows_of_work
from raycolor.colorize.messages import GivenBack, ShardReport, ShardSpec, reports_of, worthwhile_workers
from raycolor.colorize.network_actor import RemoteNetwork, measure, start_networks
from raycolor.colorize.revisions import colorizer_of
from raycolor.colorize.runner import can_start_here
from raycolor.colorize.speeds import PHOTOGRAPHS, Speeds
from raycolor.colorize.summary import Timing, warm_page
from raycolor.errors import RaycolorError
from raycolor.sources import Reader
from raycolor.storage import ObjectStore

logger = logging.getLogger(__name__)

SHARDS_AT_ONCE: Final = 2  # in each worker


class RayPool:
    """Runs shards on a cluster, or on a Ray of this machine, which is started when it is needed.

    Where that takes its time, a worker without Ray does the first shards meanwhile; not with --ray.

    Args:
        config: this run's settings.
        ends: what ends Ray at the end of the run.
    """

    def __init__(self, config: ColorizeConfig, ends: ExitStack) -> None:
        self._config, self._ends = config, ends
        self._connected = self._page_warmed = self._came_late = False
        self._settled: tuple[Execution, JobRecord]
        self._dest: ObjectStore
        self._revision = 0
        self._metrics: ColorizeMetrics | None = None

    def settle(self, record: JobRecord, revision: int, dest: ObjectStore) -> tuple[Execution, JobRecord]:
        """Decide how a revision is computed, by this machine alone if no other has to do with it."""
        self._dest, self._revision = dest, revision
        if self._config.ray is None and not self._connected and can_start_here(self._config, record, revision):
            self._settled = settle_here(self._config, record, revision, dest)
        else:
            ahead.drop()
            self._settle_on_ray(record)
        return self._settled

    def _settle_on_ray(self, record: JobRecord) -> None:
        if not self._connected:
            config = self._config
            self._ends.enter_context(session.connect(config.address, scale_to=config.scale_to, gpus=config.gpus or 0))
            self._connected = True
            if self._may_grow:
                # What the first node has also decides how the job computes.
                wait_for_room()
        measure_here = partial(self._measure, record)
        self._settled = settle_execution(
            self._config, record, self._revision, self._dest, cluster_resources(), look, measure_here
        )

    def _measure(self, record: JobRecord, avoid: Sequence[str]) -> Speeds:
        """Measure what photographs of the job cost."""
        config, made_by = self._config, record.made_by(self._revision)
        colorizer = colorizer_of(record, self._revision) if self._revision or config.redo else config
        logger.info("measuring %s on a GPU and on a CPU", made_by.checkpoint["name"])
        reader = Reader(record.root or record.source, config.source_options(), config.max_file_bytes)
        return measure(colorizer, reader, Manifest(self._dest, record.manifest).shard(0)[:PHOTOGRAPHS], avoid)

    def reports(self, spec: ShardSpec, todo: Todo, timing: Timing) -> Generator[ShardReport]:
        """Do shards and yield what became of each."""
        yield from self._everywhere(spec, todo, timing)
        if self._metrics is not None:
            self._metrics.end()

    def _everywhere(self, spec: ShardSpec, todo: Todo, timing: Timing) -> Iterator[ShardReport]:
        """Do shards on Ray, and the first ones here if it has to start."""
        shards = todo.shards
        if self._connected:
            yield from self._on_ray(spec, todo, shards, timing)
            return
        with HeadStart(spec, order_of_work(shards, spec.images_per_shard, 1)) as head:
            self._settle_on_ray(self._settled[1])
            # They may have lasted all the while; those that have not begun are Ray's.
            rest = head.rest()
            yield from head.finished()
            if rest:
                for report in self._on_ray(spec, todo, rest, timing):
                    yield from head.finished()
                    yield report
            yield from head.reports()

    def _on_ray(self, spec: ShardSpec, todo: Todo, shards: list[int], timing: Timing) -> Iterator[ShardReport]:
        execution, record = self._settled
        timing.device, timing.networks = execution.device, execution.networks
        predict = start_networks(execution, spec.colorizer, spec.image_timeout_s) if execution.networks else None
        self._metrics = ColorizeMetrics(spec.dest, record.manifest.images)
        workers = set[str]()
        with Listener():
            while shards:
                first, most = self._sizes(todo, shards)
                timing.workers = max(first, len(workers))
                given_back: list[GivenBack] = []
                # Ended while Ray is there, whatever happens: by a later collection of garbage it would start another.
                with closing(answers(self._pool(spec, predict, shards, first, most), "reports")) as rows:
                    for report in reports_of(_taken_back(rows, given_back)):
                        workers |= {report.worker} - {""}
                        timing.workers = max(first, len(workers))
                        yield report
                shards = [shard for one in given_back for shard in one.shards]
                if shards:
                    self._leave_out({one.node for one in given_back})

    def _pool(
        self, spec: ShardSpec, predict: RemoteNetwork | None, shards: list[int], first: int, most: int
    ) -> ray.data.Dataset:
        """Return what workers say of shards."""
        rows = rows_of_work(order_of_work(shards, spec.images_per_shard, first), first)
        # Nothing ends before a worker is through with a row.
        bound_data(SHARDS_AT_ONCE * max(map(len, rows)) * spec.longest_s)
        # While one shard is written down, the next is computed.
        pool = growing(first, min(most, max(first, len(rows))), SHARDS_AT_ONCE)
        # Ray Data hands blocks out in their order.
        blocks = ray.data.from_items([{"shards": row} for row in rows], override_num_blocks=len(rows))
        return blocks.map_batches(
            ShardActor,
            fn_constructor_kwargs={"spec": spec, "predict": predict},
            batch_size=1,
            num_cpus=1,
            **elsewhere(self._settled[0].left_out),
            compute=pool,
        )

    def _leave_out(self, nodes: set[str]) -> None:
        """Go on without nodes that came while the job ran and would make other bytes.

        Raises:
            RaycolorError: no other node had a CPU for an hour.
        """
        execution, record = self._settled
        came = sum(int(node["Resources"].get("CPU", 0)) for node in living_nodes() if node["NodeID"] in nodes)
        left_out, cpus = (*execution.left_out, *sorted(nodes)), execution.cpus_left_out + came
        self._settled = execution._replace(left_out=left_out, cpus_left_out=cpus), record
        self._came_late = True
        wait_for_room(left_out=left_out)

    @property
    def _may_grow(self) -> bool:
        """Whether more CPUs may come: to a cluster that was joined, not to this machine."""
        return session.joins(self._config.address)

    def _sizes(self, todo: Todo, shards: list[int]) -> tuple[int, int]:
        """Return how many workers there are to begin with, and the most that there may be."""
        config, (execution, record) = self._config, self._settled
        taken, wanted = execution.cpus + execution.cpus_left_out, config.workers
        if wanted is not None and self._came_late:
            # They were enough when the job began; nodes have gone since, and others came that get no work.
            wanted = min(wanted, worker_count(None, taken=taken))
        first = min(worker_count(wanted, taken=taken), len(shards))
        if config.workers is not None:
            return first, first
        share = todo.images / max(record.manifest.images, 1)
        worthwhile = worthwhile_workers(todo.images, int(record.manifest.bytes * share))
        first = min(first, worthwhile)
        return first, max(first, min(worthwhile, config.scale_to or worthwhile)) if self._may_grow else first

    def on_report(self, report: ShardReport, rates: dict[str, float | None]) -> None:
        """Tell Prometheus."""
        if not self._page_warmed:
            # Ray's start is over, and this process has nothing to do until the last shard.
            self._page_warmed = True
            warm_page()
        if self._metrics is not None:
            self._metrics.add(report.tally.counts, report.tally.reasons, report.tally.pixels, rates)


def _taken_back(
    rows: Iterable[list[ShardReport | RaycolorError | GivenBack]], given_back: list[GivenBack]
) -> Iterator[list[ShardReport | RaycolorError]]:
    """Yield rows of answers, with what was given back in the list instead, and a line for each node that did so."""
    for row in rows:
        for found in row:
            if isinstance(found, GivenBack):
                if found.node not in {one.node for one in given_back}:
                    logger.warning(
                        "node %s gets no work: it came while the job ran, and %s: the job goes on without it",
                        found.name,
                        found.why,
                        extra={"event": "unfit_node", "fields": {"node": found.name, "why": found.why}},
                    )
                given_back.append(found)
        yield [found for found in row if not isinstance(found, GivenBack)]
