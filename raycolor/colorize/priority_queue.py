"""What the threads of one worker share: bytes of memory, and the one thread that computes."""

from __future__ import annotations

import heapq
import itertools
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, TypeVar

_Result = TypeVar("_Result")


class Budget:
    """So many bytes in several threads together; who wants more than there are has them alone."""

    def __init__(self, total: int) -> None:
        self._total = self._left = total
        self._changed = threading.Condition()

    @contextmanager
    def hold(self, wanted: int) -> Iterator[None]:
        """Wait for that many, and hold them during the body."""
        wanted = min(wanted, self._total)
        with self._changed:
            self._changed.wait_for(lambda: self._left >= wanted)
            self._left -= wanted
        try:
            yield
        finally:
            with self._changed:
                self._left += wanted
                self._changed.notify_all()


class PriorityQueue:
    """One thread that computes what others ask for, the lowest rank first and then the first asked.

    It is always the same thread: each would keep memory and caches of its own.

    Args:
        initializer: is called in that thread before anything else, with `initargs`.
        initargs: its arguments.
    """

    def __init__(self, initializer: Callable[..., object], *initargs: object) -> None:
        self._thread = ThreadPoolExecutor(1, "compute", initializer=initializer, initargs=initargs)
        self._asked: list[tuple[int, int, Callable[[], Any], Future[Any]]] = []
        self._numbers = itertools.count()
        self._lock = threading.Lock()
        self._waited = threading.local()

    def run(self, rank: int, work: Callable[..., _Result], *arguments: object) -> _Result:
        """Wait for a turn, compute, and return or raise what came of it."""
        asked, begun = time.monotonic(), []

        def begin() -> _Result:
            begun.append(time.monotonic())
            return work(*arguments)

        answer: Future[_Result] = Future()
        with self._lock:
            heapq.heappush(self._asked, (rank, next(self._numbers), begin, answer))
        # As many calls as there is work, but each takes the work that comes first by then.
        self._thread.submit(self._next)
        try:
            return answer.result()
        finally:
            self._waited.s = self.waited_s + (sum(begun) - asked if begun else 0.0)

    @property
    def waited_s(self) -> float:
        """Seconds that the calling thread has stood behind others since `forget`."""
        return float(getattr(self._waited, "s", 0.0))

    def forget(self) -> None:
        """Begin to count the calling thread's waits anew."""
        self._waited.s = 0.0

    def _next(self) -> None:
        with self._lock:
            _, _, begin, answer = heapq.heappop(self._asked)
        try:
            answer.set_result(begin())
        # Whatever it is, it belongs to the thread that waits for it.
        except BaseException as exc:  # noqa: BLE001
            answer.set_exception(exc)
