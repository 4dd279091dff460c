"""One shard of the bulk job: read, colorize, write, and record what became of every input."""

from __future__ import annotations

import hashlib
import itertools
import logging
import os
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass, replace
from functools import partial
from typing import NoReturn

import numpy as np
import simplejpeg
import torch

from raycolor.child_process import ChildDiedError, ChildStartError
from raycolor.colorize.attempts import LAST, ONE_BY_ONE, Attempts
from raycolor.colorize.isolation import IsolatedColorizer
from raycolor.colorize.job_folder import ATTEMPTS
from raycolor.colorize.manifest import Manifest
from raycolor.colorize.messages import BrokenWorkerError, NetworkGoneError, ShardReport, ShardSpec
from raycolor.colorize.outcomes import Outcome, Tally, write_outcomes
from raycolor.colorize.outputs import KeyRefusedError, Outputs, name_output
from raycolor.colorize.priority_queue import Budget, PriorityQueue
from raycolor.colorize.redo import Standing, standing
from raycolor.colorizer.photograph import Colorized, FileColorizer, Prepared
from raycolor.colorizer.predict import Predict, Predicted
from raycolor.errors import ImageError, OutageError, RaycolorError, Reason, StorageError
from raycolor.progress import printable
from raycolor.sources import Input, Reader, SkippedInputError
from raycolor.storage import open_store

logger = logging.getLogger(__name__)

EXIT_HUNG, EXIT_BROKEN = 70, 71
_LANES = 8  # photographs on their way: enough to hide 100 ms of a store behind 40 ms of computing
_HELD_BYTES = 64_000_000  # of their files
_TOGETHER = 64  # more than a worker has shards at a time
_LARGE_BYTES = 64_000_000  # of one photograph's pixels


@dataclass(frozen=True)
class _Attempt:
    """One shard in one process."""

    rank: int
    """Shards begun before it in this process: their photographs are computed first."""
    number: int
    """How often the shard was begun, this time included."""
    process: Callable[[Input], Colorized]
    """Reads an input and colorizes it."""
    colorize: Callable[[bytes], Colorized]
    owned: frozenset[str]
    """Outputs of before that are made again."""


class ShardWorker:
    """Processes shards; holds the loaded network between them.

    `run` may be called from several threads: while one shard waits for its last photographs to be written, and tells
    what became of them, the next is read and computed.

    A marker under `attempts/` says that a shard was begun. Who finds one there knows that an earlier attempt died, be
    it killed or brought down by an image, and reads and works in a child process then: an image on which the child dies
    or hangs is that image's failure, and costs no other. See `colorize/attempts.py` for workers that die all the same.

    A few photographs are on their way at a time: one computes, others are read, written, or wait for a network that
    runs elsewhere.

    Args:
        spec: the job.
        predict: the network, where it runs elsewhere; by default it is loaded here.
    """

    def __init__(self, spec: ShardSpec, predict: Predict | None = None) -> None:
        self.spec = spec
        self.source = Reader(spec.source, spec.source_options, spec.max_file_bytes)
        self.dest = open_store(spec.dest, **spec.dest_options)
        self.outputs = Outputs(self.dest, spec.source)
        self.manifest = Manifest(self.dest, spec.totals)
        self.colorizer = FileColorizer(spec.options, predict)
        self._predict = predict
        # One process, one CPU.
        self._turns = PriorityQueue(torch.set_num_threads, torch.get_num_threads())
        self._files = Budget(_HELD_BYTES)
        self._ranks = itertools.count()
        self._archive = threading.Lock()
        # Who works in a child process does so alone: another shard might bring this process down meanwhile, and a child
        # loads a network of its own.
        self._alone = Budget(_TOGETHER)
        self._test_picture = simplejpeg.encode_jpeg(np.full((64, 64, 1), 128, np.uint8), 90, "GRAY")
        self._warm_up()

    def run(self, shard: int) -> ShardReport:
        """Process one shard and write its completion record, last of all.

        Raises:
            StorageError: the destination cannot be written: then nothing else can be done either.
            OutageError: source or destination did not answer as long as the job's patience.
            NetworkGoneError: the network elsewhere does not answer.
            BrokenWorkerError: nothing can be colorized in this process.
        """
        rank, attempts = next(self._ranks), Attempts(self.dest, shard, self.spec.run)
        with self._alone.hold(_TOGETHER if attempts.begun else 1):
            return self._run(shard, rank, attempts)

    def _run(self, shard: int, rank: int, attempts: Attempts) -> ShardReport:
        attempts.begin()
        started = time.time()
        inputs = list(self.manifest.shard(shard))
        try:
            before = self._standing(shard, inputs)
            todo = [info for info in inputs if info.key not in before.kept]
            # Members of a packed archive are unpacked from its front, one after the other, for one shard at a time.
            packed = any(self.source.in_order(info) for info in todo)
            with self._archive if packed else nullcontext():
                made = self._outcomes(todo, rank, attempts, 1 if packed else _LANES, before.owned)
            before.drop_outputs(self.dest, made)
            rows = before.kept | {outcome.key: outcome for outcome in made}
            write_outcomes(self.dest, shard, [rows[info.key] for info in inputs], before.round)
        except OutageError:
            # No photograph brought this attempt down.
            with suppress(RaycolorError):
                attempts.withdraw()
            raise
        attempts.end()
        tally = Tally()
        for outcome in made:
            tally.add(outcome)
        looked_at = self.spec.again is not None and self.spec.again.outputs == "same"
        images = len(inputs) if looked_at else len(made)
        return ShardReport(shard, tally, started, time.time(), images, before.found)

    def _standing(self, shard: int, inputs: Sequence[Input]) -> Standing:
        """Return what an earlier run made of a shard and what of that stays."""
        if self.spec.again is None:
            return Standing()
        return standing(self.dest, shard, inputs, self.spec.again, self._files)

    def _warm_up(self) -> None:
        """Load compiled code and prepare the network, about a second, before there is a shard that has to wait."""
        once = self.colorizer.colorize if self._predict is None else self.colorizer.prepare
        # A worker in which nothing works says so by its first photograph, with all that is known then.
        with suppress(Exception):
            self._turns.run(0, once, self._test_picture)

    def _outcomes(
        self, inputs: Sequence[Input], rank: int, attempts: Attempts, lanes: int, owned: frozenset[str]
    ) -> list[Outcome]:
        """Process inputs; outcomes in their order."""
        if attempts.begun == 1:
            here = partial(self._here, rank)
            attempt = _Attempt(rank, 1, lambda info: here(self.source.get(info)), here, owned)
            return self._abreast(inputs, attempt, lanes)
        with IsolatedColorizer(
            self.spec.options,
            timeout_s=self.spec.image_timeout_s,
            predict=self._predict,
            reader=self.source,
            # A place that does not answer is waited for in the child, too.
            read_timeout_s=self.spec.image_timeout_s + self.spec.patience_s,
        ) as child:
            attempt = _Attempt(rank, attempts.begun, child.read_and_colorize, child.colorize, owned)
            if attempts.begun < ONE_BY_ONE:
                return [self._image(self.source.sized(info), attempt) for info in inputs]
            return [self._written_down(info, attempt, attempts) for info in inputs]

    def _written_down(self, info: Input, attempt: _Attempt, attempts: Attempts) -> Outcome:
        """Process one input, and write down what became of it before the next one may end this process."""
        if info.key in attempts.done:
            return attempts.done[info.key]
        why = attempts.given_up(info.key)
        if why is not None:
            outcome = Outcome(info.key, "failed", "internal_error", why, input_bytes=info.size, input_etag=info.etag)
        else:
            attempts.at(info.key)
            outcome = self._image(self.source.sized(info), attempt)
        if attempts.begun < LAST:
            attempts.add(outcome)
        return outcome

    def _abreast(self, inputs: Sequence[Input], attempt: _Attempt, lanes: int) -> list[Outcome]:
        """Process inputs in a few threads."""
        with ThreadPoolExecutor(lanes, "photograph") as pool:
            pending = [pool.submit(self._lane, info, attempt) for info in inputs]
            try:
                return [outcome.result() for outcome in pending]
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                raise

    def _lane(self, info: Input, attempt: _Attempt) -> Outcome:
        info = self.source.sized(info)
        with self._files.hold(info.size):
            return self._image(info, attempt)

    def _image(self, info: Input, attempt: _Attempt) -> Outcome:
        """Process one input; whatever it is, it ends in an outcome."""
        begun = time.monotonic()
        self._turns.forget()
        bare = Outcome(info.key, "failed", input_bytes=info.size, input_etag=info.etag)

        def seconds() -> float:
            return time.monotonic() - begun - self._turns.waited_s

        def failed(reason: Reason, detail: str) -> Outcome:
            return replace(bare, reason=reason, detail=detail, seconds=seconds())

        try:
            result = attempt.process(info)
        except SkippedInputError as exc:
            return replace(failed(exc.reason, exc.detail), status="skipped")
        except ImageError as exc:
            outcome = failed(exc.reason, exc.detail)
            return replace(outcome, status="skipped", source_kind="color") if exc.reason == "already_color" else outcome
        except (NetworkGoneError, OutageError):
            raise
        except ChildDiedError as exc:
            self._check_worker(attempt)
            return failed("internal_error", str(exc))
        except ChildStartError as exc:
            raise BrokenWorkerError(f"{exc} (on {socket.gethostname()})", attempt.number) from exc
        # The outermost boundary of one image: a defect of ours must cost this image, never the job.
        except Exception as exc:
            logger.warning("%s: internal error", printable(info.key), exc_info=exc)
            self._check_worker(attempt)
            return failed("internal_error", f"{type(exc).__name__}: {exc}")
        output_key = name_output(info.key, result.extension)
        try:
            self.outputs.put(output_key, result.data, own=output_key in attempt.owned)
        except KeyRefusedError as exc:
            return failed(exc.reason, f"output: {exc.detail}")
        except StorageError as exc:
            self._check_dest_works(len(result.data))
            return failed(exc.reason, f"output: {exc.detail}")
        return replace(
            bare,
            status="colorized",
            detail=result.note,
            source_kind=result.source_kind,
            width=result.width,
            height=result.height,
            output_key=output_key,
            output_bytes=len(result.data),
            output_sha256=hashlib.sha256(result.data).hexdigest(),
            seconds=seconds(),
            confidence=result.confidence,
            flags=",".join(result.flags) or None,
            pages=result.pages,
            pixels=result.pixels,
        )

    def _check_worker(self, attempt: _Attempt) -> None:
        """Tell a photograph that brings raycolor down from a worker in which nothing works any more.

        The latter may have lost its files: a full or unmounted disk, a folder of Ray's that went with a node.

        Raises:
            BrokenWorkerError: not even a plain gray photograph can be colorized.
        """
        try:
            attempt.colorize(self._test_picture)
        except NetworkGoneError:
            raise
        except Exception as exc:
            why = f"{type(exc).__name__}: {exc}"
            raise BrokenWorkerError(
                f"the worker on {socket.gethostname()} cannot colorize anything ({why}): mend that and run the same "
                "command again",
                attempt.number,
            ) from exc

    def _check_dest_works(self, size: int) -> None:
        """Tell a key that the destination does not take (say, too long a name) from a destination that takes nothing.

        Raises:
            StorageError: an object of the same size under a plain name cannot be written either: then the job has to
                stop, for a recorded failure would not be tried again.
        """
        probe = f"{ATTEMPTS}probe-{os.getpid()}-{threading.get_ident()}"
        self.dest.put(probe, bytes(size))
        self.dest.delete(probe)

    def _here(self, rank: int, data: bytes) -> Colorized:
        """Colorize in this process, when it is the turn of shards of this rank."""
        if self._predict is None:
            return self._turns.run(rank, self._colorize, data)
        prepared = self._turns.run(rank, self._prepare, data)
        if isinstance(prepared, Colorized):
            return prepared
        return self._turns.run(rank, self._finish, prepared, self.colorizer.predict(prepared.L_small))

    def _colorize(self, data: bytes) -> Colorized:
        with self._watch():
            return self.colorizer.colorize(data)

    def _prepare(self, data: bytes) -> Prepared | Colorized:
        with self._watch():
            prepared = self.colorizer.prepare(data)
        if isinstance(prepared, Prepared) and sum(page.nbytes for page in prepared.photo.pages) > _LARGE_BYTES:
            # Pixels are held until color comes: of large ones only one at a time.
            return self._finish(prepared, self.colorizer.predict(prepared.L_small))
        return prepared

    def _finish(self, prepared: Prepared, predicted: Sequence[Predicted]) -> Colorized:
        with self._watch():
            return self.colorizer.finish(prepared, predicted)

    @contextmanager
    def _watch(self) -> Iterator[None]:
        """End this process if the body hangs: the next attempt will use a child process."""
        watch = threading.Timer(self.spec.image_timeout_s, _give_up, [self.spec.image_timeout_s])
        watch.daemon = True
        watch.start()
        try:
            yield
        finally:
            watch.cancel()


def end_worker(why: str, code: int) -> NoReturn:
    """End this process, whatever its threads do; its shard is done again by another one."""
    sys.stderr.write(f"raycolor: {why}: this worker ends and the shard is retried\n")
    sys.stderr.flush()
    os._exit(code)


def _give_up(timeout_s: float) -> None:
    end_worker(f"an image took more than {timeout_s:.0f} s", EXIT_HUNG)
