"""Shards done on this machine without Ray: the worker of the pool, in one child process."""

from __future__ import annotations

import logging
import os
import queue
import threading
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

from raycolor.child_process import Ask, Child, ChildDiedError, Work
from raycolor.colorize import ahead
from raycolor.colorize.attempts import LAST
from raycolor.colorize.config import ColorizeConfig
from raycolor.colorize.execution import Execution, settle_here
from raycolor.colorize.job_record import JobRecord
from raycolor.colorize.later_runs import Todo
from raycolor.colorize.manifest import order_of_work
from raycolor.colorize.messages import TRIES_WHEN_BROKEN, BrokenWorkerError, ShardReport, ShardSpec
from raycolor.colorize.summary import Timing, warm_page
from raycolor.errors import RaycolorError
from raycolor.machine import limit_instructions
from raycolor.progress import JsonLines, TextLines, logs_json
from raycolor.storage import ObjectStore

_TASK: Final = "raycolor.colorize.local_worker:make"
_MOST_DEATHS: Final = LAST + 2
"""Of children over one shard: at its last attempt no photograph is tried any more, so that the fault lies elsewhere."""
_EVENTS: Final = ("waiting", "waiting_end")


@dataclass(frozen=True)
class _Options:
    """What the child makes its worker from."""

    spec: ShardSpec
    json: bool
    """Whether log lines are JSON."""
    verbose: bool
    """Whether everything that it and its libraries say is passed on."""


class LocalWorker:
    """Does shards one after the other in a child process, which is started anew when a photograph ends it.

    A context manager.

    Args:
        spec: the job, with how it is computed.
    """

    def __init__(self, spec: ShardSpec) -> None:
        options = _Options(spec, logs_json(), logging.getLogger().isEnabledFor(logging.DEBUG))
        self._child = Child(_TASK, options, timeout_s=spec.longest_s, started=ahead.take(spec.computed_with))
        self._closed = False

    def __enter__(self) -> LocalWorker:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the child, also under a shard that another thread has it do."""
        self._closed = True
        self._child.close()

    def run(self, shard: int) -> ShardReport:
        """Do one shard, whatever its photographs do to the child.

        Raises:
            RaycolorError: as `ShardWorker.run`; also a child that does not start, or dies without end.
        """
        for death in range(_MOST_DEATHS):
            try:
                report: ShardReport = self._child.ask(shard)[0]
            except ChildDiedError as exc:
                # The mark of the shard's attempt stands: the next child is careful with it.
                if self._closed:
                    raise
                if death + 1 == _MOST_DEATHS:
                    raise RaycolorError(f"the worker dies over and over ({exc}): run the same command again") from exc
            except BrokenWorkerError as exc:
                self._child.close()
                if exc.attempts >= TRIES_WHEN_BROKEN:
                    raise
            else:
                return report
        raise AssertionError("unreachable")


class OneProcess:
    """Runs all shards of a small job, without Ray."""

    def __init__(self, config: ColorizeConfig) -> None:
        self._config = config

    def settle(self, record: JobRecord, revision: int, dest: ObjectStore) -> tuple[Execution, JobRecord]:
        """Decide how a revision is computed."""
        return settle_here(self._config, record, revision, dest)

    def reports(self, spec: ShardSpec, todo: Todo, timing: Timing) -> Generator[ShardReport]:
        """Do shards and yield what became of each."""
        timing.device, timing.networks, timing.workers = spec.device, 0, 1
        # The page is made in this process, which has nothing to do meanwhile.
        warm_page()
        with LocalWorker(spec) as worker:
            for shard in order_of_work(todo.shards, spec.images_per_shard, 1):
                yield worker.run(shard)

    def on_report(self, report: ShardReport, rates: dict[str, float | None]) -> None:
        """Do nothing: there is no Prometheus without Ray."""


class HeadStart:
    """Does the first shards of a large job while Ray starts. A context manager.

    Args:
        spec: the job, with how it is computed.
        order: its shards.
    """

    def __init__(self, spec: ShardSpec, order: Sequence[int]) -> None:
        self._worker, self._order = LocalWorker(spec), list(order)
        self._done: queue.SimpleQueue[ShardReport | BaseException] = queue.SimpleQueue()
        self._lock, self._begun, self._stopped = threading.Lock(), 0, False
        self._thread = threading.Thread(target=self._work, name="raycolor-head-start", daemon=True)

    def __enter__(self) -> HeadStart:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.rest()
        self._worker.close()
        self._thread.join()

    def rest(self) -> list[int]:
        """Begin no other shard, and return those that were not begun."""
        with self._lock:
            self._stopped = True
            return self._order[self._begun :]

    def reports(self) -> Iterator[ShardReport]:
        """Wait for the shards that were begun and yield the reports that `finished` has not; raises as it does."""
        self._thread.join()
        yield from self.finished()

    def finished(self) -> Iterator[ShardReport]:
        """Yield the reports of shards that are done by now, each once.

        Raises:
            RaycolorError: what ended the worker.
        """
        while not self._done.empty():
            found = self._done.get()
            if isinstance(found, BaseException):
                raise found
            yield found

    def _work(self) -> None:
        try:
            while (shard := self._take()) is not None:
                self._done.put(self._worker.run(shard))
        except BaseException as exc:  # noqa: BLE001 - raised again by `reports`
            self._done.put(exc)

    def _take(self) -> int | None:
        with self._lock:
            if self._stopped or self._begun == len(self._order):
                return None
            self._begun += 1
            return self._order[self._begun - 1]


def make(options: _Options, _ask: Ask) -> Work:
    """Be the task of the child: do a shard, return its report."""
    _listen_to(options)
    spec = options.spec
    limit_instructions(spec.computed_with)
    import cv2
    import torch

    from raycolor.colorize.shard import ShardWorker

    # As a worker of the pool: its results must not depend on how many threads a machine has.
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    worker = ShardWorker(spec)

    def work(shard: Any, _file: bytes) -> tuple[ShardReport, bytes]:
        return worker.run(int(shard)), b""

    return work


def _listen_to(options: _Options) -> None:
    """Pass on that a place is waited for; what else a worker says is for people who debug."""
    if options.verbose:
        logging.basicConfig(level=logging.DEBUG)
        return
    terminal = os.fdopen(os.dup(2), "w", buffering=1)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    os.close(nowhere)
    handler = logging.StreamHandler(terminal)
    handler.setFormatter(JsonLines() if options.json else TextLines())
    handler.addFilter(lambda record: getattr(record, "event", "") in _EVENTS)
    logging.getLogger("raycolor").addHandler(handler)
