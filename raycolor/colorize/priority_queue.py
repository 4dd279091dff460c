"""The one thread of a worker that computes what its other threads ask for."""

from __future__ import annotations

import itertools
import queue
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar

_Result = TypeVar("_Result")


class PriorityQueue:
    """One thread that computes what others ask for, the lowest rank first and then the first asked.

    It is always the same thread: each would keep memory and caches of its own.

    Args:
        initializer: is called in that thread before anything else, with `initargs`.
        initargs: its arguments.
    """

    def __init__(self, initializer: Callable[..., object], *initargs: object) -> None:
        self._thread = ThreadPoolExecutor(1, "compute", initializer=initializer, initargs=initargs)
        self._asked: queue.PriorityQueue[tuple[int, int, Callable[[], Any], Future[Any]]] = queue.PriorityQueue()
        self._numbers = itertools.count()
        self._waited = threading.local()

    def run(self, rank: int, work: Callable[..., _Result], *arguments: object) -> _Result:
        """Wait for a turn, compute, and return or raise what came of it."""
        asked, begun = time.monotonic(), []

        def begin() -> _Result:
            begun.append(time.monotonic())
            return work(*arguments)

        answer: Future[_Result] = Future()
        self._asked.put((rank, next(self._numbers), begin, answer))
        # As many calls as there is work, but each takes the work that comes first by then.
        self._thread.submit(self._next)
        try:
            return answer.result()
        finally:
            self._waited.s = self.waited_s + (sum(begun) - asked if begun else 0.0)

    @property
    def waited_s(self) -> float:
        """Seconds that the calling thread has waited for others so far."""
        return float(getattr(self._waited, "s", 0.0))

    def _next(self) -> None:
        _, _, begin, answer = self._asked.get_nowait()
        try:
            answer.set_result(begin())
        # Whatever it is, it belongs to the thread that waits for it.
        except BaseException as exc:  # noqa: BLE001
            answer.set_exception(exc)
