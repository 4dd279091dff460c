"""Planes of many callers, gathered into passes of one size each for one network."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, InvalidStateError
from contextlib import suppress
from itertools import islice
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from raycolor.colorizer.predict import Begin, Predicted

WAIT_S: Final = 0.005
"""Longest that a plane waits for others of its size before a network that has nothing else to do."""
_HOLD: Final = 0.7
"""Share of a pass in which only full ones are begun behind it: what is not full may still grow."""


class _Waiting(NamedTuple):
    plane: NDArray[np.float32]
    answer: Future[Predicted]
    since: float


class _Pass(NamedTuple):
    members: list[_Waiting]
    since: float


class Batcher:
    """Gives a network passes over planes of one size, as full as what is asked for allows.

    Planes of one size wait together. A pass begins when it is full, or when its oldest plane has waited `wait_s` and
    the network has nothing to do, or soon. Of several that could begin the one comes first whose planes have waited
    longest, all together: full ones overtake those that are hardly filled, until these have waited that much longer.

    Args:
        begin: begins a pass; is called from one thread alone.
        places: planes in a pass.
        ahead: passes to begin before the first is waited for.
        wait_s: how long a plane waits for others, where the network has nothing else to do.
    """

    def __init__(self, begin: Begin, places: int, *, ahead: int = 1, wait_s: float = WAIT_S) -> None:
        self._begin, self._places, self._ahead, self._wait_s = begin, places, ahead, wait_s
        # By size; a plane that shares its pass with no other has a queue of its own.
        self._queues: dict[tuple[object, ...], deque[_Waiting]] = {}
        self._changed = threading.Condition()
        self._passes: deque[_Pass] = deque()
        self._pass_s = 0.0  # that the last one took
        threading.Thread(target=self._serve, name="network", daemon=True).start()

    def __call__(self, L_small: Sequence[NDArray[np.float32]]) -> list[Predicted]:
        """As `Predictor.predict`; raises what the network raised on these planes or their neighbors."""
        return [answer.result() for answer in [self.ask(plane) for plane in L_small]]

    def ask(self, plane: NDArray[np.float32], *, alone: bool = False) -> Future[Predicted]:
        """Ask for the color of one plane; `alone` in a pass without others, after all that wait."""
        answer: Future[Predicted] = Future()
        with self._changed:
            key = (plane.shape, answer) if alone else (plane.shape,)
            self._queues.setdefault(key, deque()).append(_Waiting(plane, answer, time.monotonic()))
            self._changed.notify()
        return answer

    def hung(self, limit_s: float) -> list[Future[Predicted]]:
        """Return the answers that a pass owes which takes longer than `limit_s`; none if there is no such pass."""
        with self._changed:
            oldest = self._passes[0] if self._passes else None
        if oldest is None or time.monotonic() - oldest.since < limit_s:
            return []
        return [one.answer for one in oldest.members]

    def owed(self) -> list[Future[Predicted]]:
        """Return all answers that are not there yet, of planes that wait and of passes under way."""
        with self._changed:
            asked = [*self._queues.values(), *(one.members for one in self._passes)]
            return [one.answer for some in asked for one in some if not one.answer.done()]

    def _serve(self) -> None:
        waits: deque[Callable[[], list[Predicted]]] = deque()
        while True:
            members = self._next()
            if members:
                with self._changed:
                    self._passes.append(_Pass(members, time.monotonic()))
                waits.append(self._started([one.plane for one in members]))
            # With nothing to begin, what is under way is waited for: meanwhile more gathers.
            if len(waits) == self._ahead or (waits and not members):
                self._finish(waits.popleft())

    def _started(self, planes: Sequence[NDArray[np.float32]]) -> Callable[[], list[Predicted]]:
        try:
            return self._begin(planes)
        # Whatever it is, it belongs to those who wait.
        except BaseException as exc:  # noqa: BLE001
            failed: Future[list[Predicted]] = Future()
            failed.set_exception(exc)
            return failed.result

    def _finish(self, wait: Callable[[], list[Predicted]]) -> None:
        """Answer those whose pass is the oldest under way."""
        members = self._passes[0].members
        try:
            for one, predicted in zip(members, wait(), strict=True):
                settle(one.answer, predicted)
        except BaseException as exc:  # noqa: BLE001
            for one in members:
                settle(one.answer, exc)
        with self._changed:
            now = time.monotonic()
            self._pass_s = now - self._passes.popleft().since
            if self._passes:
                # On the device it begins now.
                self._passes[0] = self._passes[0]._replace(since=now)

    def _next(self) -> list[_Waiting]:
        """Take the planes of the next pass; none is a sign to see what became of those under way."""
        with self._changed:
            while True:
                now = time.monotonic()
                begins = {key: self._begins(key) for key in self._queues}
                ready = [key for key, at in begins.items() if at <= now]
                if ready:
                    return self._take(max(ready, key=lambda key: self._urgency(key, now)))
                hold = self._hold()
                if self._passes and hold <= now:
                    return []
                wake = min([*begins.values(), *([hold] if self._passes else [])], default=None)
                self._changed.wait(None if wake is None else wake - now)

    def _hold(self) -> float:
        """Return when the pass under way is nearly over."""
        return self._passes[0].since + _HOLD * self._pass_s if self._passes else 0.0

    def _begins(self, key: tuple[object, ...]) -> float:
        """Return when a queue's next pass may begin, if nothing comes to it."""
        queue = self._queues[key]
        if len(queue) >= self._places:
            return 0.0
        return max(queue[0].since + (self._wait_s if len(key) == 1 else 0.0), self._hold())

    def _urgency(self, key: tuple[object, ...], now: float) -> tuple[bool, float]:
        return len(key) == 1, sum(now - one.since for one in islice(self._queues[key], self._places))

    def _take(self, key: tuple[object, ...]) -> list[_Waiting]:
        queue = self._queues[key]
        taken = [queue.popleft() for _ in range(min(self._places, len(queue)))]
        if not queue:
            del self._queues[key]
        return taken


def settle(answer: Future[Predicted], result: Predicted | BaseException) -> None:
    """Answer, unless that was done already: a pass may be given up for hung, and end after all."""
    with suppress(InvalidStateError):
        if isinstance(result, BaseException):
            answer.set_exception(result)
        else:
            answer.set_result(result)
