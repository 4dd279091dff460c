"""One shard of the bulk job: its inputs processed, and what became of each recorded."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext, suppress
from functools import partial

from raycolor.colorize.attempts import LAST, ONE_BY_ONE, Attempts
from raycolor.colorize.in_process import InProcessColorizer
from raycolor.colorize.isolation import IsolatedColorizer
from raycolor.colorize.manifest import Manifest
from raycolor.colorize.memory_budget import MemoryBudget
from raycolor.colorize.messages import ShardReport, ShardSpec
from raycolor.colorize.outcomes import Outcome, Tally, find_shard, write_outcomes
from raycolor.colorize.outputs import Outputs
from raycolor.colorize.process_input import InputProcessor
from raycolor.colorize.redo import Standing, standing
from raycolor.colorizer.photograph import FileColorizer
from raycolor.colorizer.predict import Predict
from raycolor.errors import OutageError, RaycolorError
from raycolor.sources import Input, Reader
from raycolor.storage import open_store

_THREADS = 8  # photographs on their way: enough to hide 100 ms of a store behind 40 ms of computing
_HELD_BYTES = 64_000_000  # of their files
_TOGETHER = 64  # more than a worker has shards at a time


class ShardWorker:
    """Processes shards; holds the loaded network between them.

    `run` may be called from several threads: while one shard waits for its last photographs to be written, and tells
    what became of them, the next is read and computed.

    A marker under `attempts/` says that a shard was begun. Who finds one there knows that an earlier attempt died, be
    it killed or brought down by an image, and reads and works in a child process then: an image on which the child dies
    or hangs is that image's failure, and costs no other. See `colorize/attempts.py` for workers that die all the same.

    Args:
        spec: the job.
        predict: the network, where it runs elsewhere; by default it is loaded here.
    """

    def __init__(self, spec: ShardSpec, predict: Predict | None = None) -> None:
        self.spec = spec
        self.source = Reader(spec.source, spec.source_options, spec.max_file_bytes, spec.never)
        self.dest = open_store(spec.dest, **spec.dest_options)
        self.outputs = Outputs(self.dest, spec.source)
        self.manifest = Manifest(self.dest, spec.totals)
        self.colorizer = FileColorizer(spec.colorizer, predict)
        self._predict = predict
        self._here = InProcessColorizer(self.colorizer, timeout_s=spec.image_timeout_s, staged=predict is not None)
        self._files = MemoryBudget(_HELD_BYTES)
        # Shards begun before it in this process: their photographs are computed first.
        self._ranks = itertools.count()
        self._archive = threading.Lock()
        # Who works in a child process does so alone: another shard might bring this process down meanwhile, and a child
        # loads a network of its own.
        self._alone = MemoryBudget(_TOGETHER)

    def run(self, shard: int) -> ShardReport:
        """Process one shard and write its completion record, last of all.

        Raises:
            StorageError: the destination cannot be written: then nothing else can be done either.
            OutageError: source or destination did not answer as long as the job's patience.
            NetworkGoneError: the network elsewhere does not answer.
            BrokenWorkerError: nothing can be colorized in this process.
        """
        again, attempts = self.spec.again, Attempts(self.dest, shard, self.spec.run)
        rank = next(self._ranks)
        with self._alone.hold(_TOGETHER if attempts.begun else 1):
            attempts.begin()
            started = time.time()
            inputs = list(self.manifest.shard(shard))
            try:
                before = standing(self.dest, shard, inputs, again, self._files) if again else Standing()
                todo = [info for info in inputs if info.key not in before.kept]
                made = self._process(todo, rank, attempts, before.owned)
                settled = before.settle(made, again)
                before.drop_outputs(self.dest, settled)
                rows = before.kept | {outcome.key: outcome for outcome in settled}
                write_outcomes(self.dest, shard, [rows[info.key] for info in inputs], before.round)
            except OutageError:
                # No photograph brought this attempt down.
                with suppress(RaycolorError):
                    attempts.withdraw()
                raise
            attempts.end()
        tally = Tally()
        tally.add(*made)
        images = len(inputs) if again is not None and again.outputs == "same" else len(made)
        return ShardReport(shard, tally, started, time.time(), images, before.found)

    def done_before(self, shard: int) -> ShardReport | None:
        """Return the report of a shard that a worker of this run has finished and then died; None if there is none.

        Only of a job's first pass: the records of later ones tell by their round what is done.
        """
        record = find_shard(self.dest, shard) if self.spec.again is None else None
        if record is None:
            return None
        tally, now = Tally(), time.time()
        tally.add(*record.outcomes)
        return ShardReport(shard, tally, now, now, tally.total)

    def _process(self, inputs: Sequence[Input], rank: int, attempts: Attempts, owned: frozenset[str]) -> list[Outcome]:
        """Process inputs, in this process or in a child; outcomes in their order."""
        processor = partial(
            InputProcessor,
            waited_s=lambda: self._here.waited_s,
            outputs=self.outputs,
            dest=self.dest,
            owned=owned,
            attempt=attempts.begun,
        )
        if attempts.begun == 1:
            here = partial(self._here.colorize, rank)
            hints = self.spec.hints
            colorize = processor(lambda info: here(self.source.get(info), hints.of(info.key)), here)
            return self._in_threads(inputs, colorize)
        with IsolatedColorizer(
            self.spec.colorizer,
            timeout_s=self.spec.image_timeout_s,
            predict=self._predict,
            reader=self.source,
            hints=self.spec.hints,
            # A place that does not answer is waited for in the child, too.
            read_timeout_s=self.spec.image_timeout_s + self.spec.patience_s,
        ) as child:
            in_child = processor(child.read_and_colorize, child.colorize)
            if attempts.begun < ONE_BY_ONE:
                return [in_child.process(self.source.sized(info)) for info in inputs]
            return [self._written_down(info, in_child, attempts) for info in inputs]

    def _in_threads(self, inputs: Sequence[Input], processor: InputProcessor) -> list[Outcome]:
        """Process a few inputs at a time: one computes, others are read, written, or wait for a network elsewhere."""
        # Members of a packed archive are unpacked from its front, one after the other, for one shard at a time.
        packed = any(self.source.in_order(info) for info in inputs)

        def process(given: Input) -> Outcome:
            info = self.source.sized(given)
            with self._files.hold(info.size):
                return processor.process(info)

        with self._archive if packed else nullcontext(), ThreadPoolExecutor(1 if packed else _THREADS) as pool:
            pending = [pool.submit(process, info) for info in inputs]
            try:
                return [outcome.result() for outcome in pending]
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                raise

    def _written_down(self, info: Input, processor: InputProcessor, attempts: Attempts) -> Outcome:
        """Process one input, and record its outcome before the next one may end this process."""
        if info.key in attempts.done:
            return attempts.done[info.key]
        why = attempts.given_up(info.key)
        if why is not None:
            outcome = Outcome(info.key, "failed", "internal_error", why, input_bytes=info.size, input_etag=info.etag)
        else:
            attempts.at(info.key)
            outcome = processor.process(self.source.sized(info))
        if attempts.begun < LAST:
            attempts.add(outcome)
        return outcome
