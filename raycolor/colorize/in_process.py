"""A colorizer in the worker's own process: the photographs of all its threads, computed one after the other."""

from __future__ import annotations

import os
import socket
import sys
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Final, NoReturn, TypeVar

import numpy as np
import simplejpeg
import torch

from raycolor.colorize.messages import TRIES_WHEN_BROKEN, BrokenWorkerError
from raycolor.colorize.priority_queue import PriorityQueue
from raycolor.colorizer.hint_list import Hint
from raycolor.colorizer.photograph import Colorized, FileColorizer, Prepared

EXIT_HUNG, EXIT_BROKEN = 70, 71
TEST_PICTURE: Final = simplejpeg.encode_jpeg(np.full((64, 64, 1), 128, np.uint8), 90, "GRAY")
"""Plain gray: a worker that cannot colorize it can colorize nothing."""
START_S: Final = 200.0  # for compiled code and a small photograph, a hundred times what a machine that is busy takes
_LARGE_BYTES: Final = 64_000_000  # of one photograph's pixels

_Made = TypeVar("_Made")


class InProcessColorizer:
    """Runs `FileColorizer.colorize` for several threads; a photograph that hangs ends the process.

    Args:
        colorizer: does the work.
        timeout_s: seconds after which an image has hung: the shard's next attempt will use a child process.
        staged: the network runs elsewhere, and while it is asked other photographs are computed.

    Raises:
        BrokenWorkerError: a plain gray photograph hangs, as it does in a network that never ends.
    """

    def __init__(self, colorizer: FileColorizer, *, timeout_s: float, staged: bool) -> None:
        self._colorizer, self._timeout_s, self._staged = colorizer, timeout_s, staged
        # One process, one CPU.
        self._queue = PriorityQueue(torch.set_num_threads, torch.get_num_threads())
        # Compiled code and network take a second to load: now, before there is a shard that has to wait. A worker in
        # which nothing works says so by its first photograph, with all that is known then.
        warming = threading.Thread(target=self._warm_up, daemon=True)
        warming.start()
        warming.join(START_S)
        if warming.is_alive():
            raise BrokenWorkerError(
                f"the worker on {socket.gethostname()} cannot colorize anything: a plain gray photograph took more "
                f"than {START_S:.0f} s: does the network ever end?",
                attempts=TRIES_WHEN_BROKEN,  # another process would not fare better
            )

    def _warm_up(self) -> None:
        with suppress(Exception):
            self._queue.run(0, self._colorizer.prepare if self._staged else self._colorizer.colorize, TEST_PICTURE)

    @property
    def waited_s(self) -> float:
        """Seconds that the calling thread has waited for others so far."""
        return self._queue.waited_s

    def colorize(self, rank: int, data: bytes, hints: Sequence[Hint] = ()) -> Colorized:
        """Colorize one photograph, those of a lower rank first; as `FileColorizer.colorize`."""
        if not self._staged:
            return self._queue.run(rank, lambda: self._watched(self._colorizer.colorize, data, hints))
        prepared = self._queue.run(rank, self._prepare, data, hints)
        if isinstance(prepared, Colorized):
            return prepared
        predicted = self._colorizer.predict(prepared.network_input)
        return self._queue.run(rank, lambda: self._watched(self._colorizer.finish, prepared, predicted))

    def _prepare(self, data: bytes, hints: Sequence[Hint]) -> Prepared | Colorized:
        prepared = self._watched(self._colorizer.prepare, data, hints)
        if isinstance(prepared, Prepared) and sum(page.nbytes for page in prepared.photo.pages) > _LARGE_BYTES:
            # Pixels are held until color comes: of large ones only one at a time.
            return self._watched(self._colorizer.finish, prepared, self._colorizer.predict(prepared.network_input))
        return prepared

    def _watched(self, work: Callable[..., _Made], *arguments: object) -> _Made:
        """Do some work, and end this process if it hangs."""
        why = f"an image took more than {self._timeout_s:.0f} s"
        watch = threading.Timer(self._timeout_s, end_worker, [why, EXIT_HUNG])
        watch.daemon = True
        watch.start()
        try:
            return work(*arguments)
        finally:
            watch.cancel()


def end_worker(why: str, code: int) -> NoReturn:
    """End this process, whatever its threads do; its shard is done again by another one."""
    sys.stderr.write(f"raycolor: {why}: this worker ends and the shard is retried\n")
    sys.stderr.flush()
    os._exit(code)
