"""How a worker asks the networks of a job for color: which one, how much at a time, and what if it does not answer."""

from __future__ import annotations

import queue
import random
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Final, Protocol

import numpy as np
from numpy.typing import NDArray

from raycolor.colorize.messages import NetworkGoneError, PassFailedError
from raycolor.errors import RaycolorError

if TYPE_CHECKING:
    from raycolor.colorizer.predict import Predicted

_CALLS: Final = 4  # to one actor at a time: what comes meanwhile goes together in the next
_PLANES: Final = 16  # in one call: more save nothing
_PING_S: Final = 10.0  # without an answer, after which an actor is asked whether it is there
_SILENT_S: Final = 60.0  # without an answer to that: on a machine that is busy it may take seconds
_AGAIN_S: Final = 0.5  # after which one that is being started anew is asked again
_TICK_S: Final = 0.5
_DEATHS: Final = 2  # of actors that had a plane, after which it goes alone
_DEATHS_ALONE: Final = 3

Answers = Sequence["Predicted | RaycolorError"]
"""Color for each plane, or why there is none. Of a `PassFailedError` another plane of the pass may be the reason; by a
`NetworkGoneError` the actor says that it ends itself.
"""


class ActorGoneError(Exception):
    """An actor does not answer: it died, or cannot be reached. If `for_good`, it will never."""

    def __init__(self, why: str, *, for_good: bool = False) -> None:
        super().__init__(why)
        self.for_good = for_good


class Peer(Protocol):
    """An actor that holds a network. Each method returns at once; `done` is called later, in any thread, with a
    function that gives the answer or raises `ActorGoneError`.
    """

    def ping(self, done: Callable[[Callable[[], object]], None]) -> None:
        """Ask whether it is there."""
        ...

    def ask(self, planes: NDArray[np.float16], alone: bool, done: Callable[[Callable[[], Answers]], None]) -> None:
        """Ask for the color of planes (n, h, w); `alone` in a pass without others."""
        ...


@dataclass(eq=False)
class _Asked:
    """A plane, and who waits for its color."""

    plane: NDArray[np.float32]
    answer: Future[Predicted] = field(default_factory=Future)
    alone: bool = False
    deaths: int = 0


@dataclass(eq=False)
class _Actor:
    """What is known of an actor."""

    peer: Peer
    ready: bool = False
    dead: bool = False
    calls: set[_Call] = field(default_factory=set)
    heard: float = 0.0
    pinged: float | None = None
    """When, if no answer came yet."""
    ping_at: float = 0.0
    """Not before."""

    @property
    def load(self) -> int:
        return sum(len(call.planes) for call in self.calls)


@dataclass(eq=False)
class _Call:
    """Planes of one size that an actor has been asked for."""

    planes: list[_Asked]


class Asking:
    """A `Predict` for many threads, answered by several actors.

    The least loaded of the actors that are ready is asked. One is ready once it has answered, so that none is waited
    for that has no place yet. What one owes that dies, or is silent for a minute, is asked of another at once. A plane
    that a pass failed with is asked for again alone, as it may not be the reason; the second time it is.

    Args:
        peers: the actors.
        timeout_s: longest wait while none of them lives.
        silent_s: without an answer, after which one is taken for dead.
    """

    def __init__(self, peers: Sequence[Peer], timeout_s: float, *, silent_s: float = _SILENT_S) -> None:
        self._actors = [_Actor(peer) for peer in peers]
        self._timeout_s, self._silent_s = timeout_s, silent_s
        self._ping_s = min(_PING_S, silent_s / 2)
        # All that happens is done by one thread, one thing after the other.
        self._events: queue.SimpleQueue[Callable[[float], None]] = queue.SimpleQueue()
        self._waiting: deque[_Asked] = deque()
        self._alive = 0.0
        self._why = "none has been given a place: is there a node with what it needs, a CPU and perhaps a GPU?"
        threading.Thread(target=self._serve, name="ask-network", daemon=True).start()

    def __call__(self, L_small: Sequence[NDArray[np.float32]]) -> list[Predicted]:
        """Ask, and wait.

        Raises:
            NetworkGoneError: no actor lives, and none came within the timeout.
            PassFailedError: the network fails on one of these planes, and not on others.
            RaycolorError: what no photograph is the reason of.
        """
        asked = [_Asked(plane) for plane in L_small]
        self._events.put(partial(self._begin, asked))
        return [one.answer.result() for one in asked]

    def _serve(self) -> None:
        while True:
            busy = self._waiting or any(actor.calls for actor in self._actors)
            try:
                self._events.get(timeout=_TICK_S if busy else None)(time.monotonic())
                while True:
                    self._events.get_nowait()(time.monotonic())
            except queue.Empty:
                pass
            now = time.monotonic()
            for actor in self._actors:
                self._watch(actor, now)
            self._give_up(now)
            self._send()

    def _begin(self, asked: list[_Asked], now: float) -> None:
        if not self._waiting and not any(actor.calls for actor in self._actors):
            # Whoever was silent had not been asked.
            self._alive = now
            for actor in self._actors:
                actor.heard = now
        self._waiting.extend(asked)

    def _watch(self, actor: _Actor, now: float) -> None:
        """Ask an actor whether it is there, where that is in doubt, and take back what a silent one owes."""
        if actor.pinged is not None:
            if actor.ready and now - actor.pinged > self._silent_s:
                self._lost(actor, f"it has been silent for {self._silent_s:.0f} s")
        elif (
            not actor.dead
            and now >= actor.ping_at
            and (not actor.ready or (actor.calls and now - actor.heard > self._ping_s))
        ):
            actor.pinged = now
            actor.peer.ping(lambda result: self._events.put(partial(self._ponged, actor, result)))

    def _ponged(self, actor: _Actor, result: Callable[[], object], now: float) -> None:
        actor.pinged = None
        try:
            result()
        except ActorGoneError as exc:
            self._gone(actor, exc, now)
        else:
            actor.ready = True
            self._heard(actor, now)

    def _heard(self, actor: _Actor, now: float) -> None:
        actor.heard = self._alive = now

    def _gone(self, actor: _Actor, exc: ActorGoneError, now: float) -> None:
        actor.dead = actor.dead or exc.for_good
        actor.ping_at = now + _AGAIN_S
        self._lost(actor, str(exc))

    def _lost(self, actor: _Actor, why: str) -> None:
        """Ask others for what an actor owes."""
        self._why, actor.ready = why, False
        for call in list(actor.calls):
            self._take_back(actor, call, why)

    def _take_back(self, actor: _Actor, call: _Call, why: str) -> None:
        actor.calls.discard(call)
        for one in reversed(call.planes):
            one.deaths += 1
            if one.deaths >= _DEATHS + _DEATHS_ALONE:
                failed = f"the network's actor died {one.deaths} times over it ({why})"
                one.answer.set_exception(PassFailedError(failed))
                continue
            one.alone = one.alone or one.deaths >= _DEATHS
            self._waiting.appendleft(one)

    def _answered(self, actor: _Actor, call: _Call, result: Callable[[], Answers], now: float) -> None:
        if call not in actor.calls:
            return  # another has been asked meanwhile
        try:
            answers = result()
        except ActorGoneError as exc:
            self._take_back(actor, call, str(exc))
            self._gone(actor, exc, now)
            return
        actor.calls.discard(call)
        self._heard(actor, now)
        for one, answer in zip(call.planes, answers, strict=True):
            if isinstance(answer, NetworkGoneError):
                # It ends, over another plane.
                self._why, actor.ready, actor.ping_at = str(answer), False, now + _AGAIN_S
                self._waiting.appendleft(one)
            elif isinstance(answer, PassFailedError) and not one.alone:
                one.alone = True
                self._waiting.append(one)
            elif isinstance(answer, RaycolorError):
                one.answer.set_exception(answer)
            else:
                one.answer.set_result(answer)

    def _give_up(self, now: float) -> None:
        """End the wait of all, if no actor lives any more."""
        over = all(actor.dead for actor in self._actors)
        none = not any(actor.ready for actor in self._actors)
        if self._waiting and (over or (none and now - self._alive > self._timeout_s)):
            since = "" if over else f" for {self._timeout_s:.0f} s"
            gone = f"no actor of the network answers{since} ({self._why}): run the same command again"
            while self._waiting:
                self._waiting.popleft().answer.set_exception(NetworkGoneError(gone))

    def _send(self) -> None:
        """Ask for what waits, as long as there is somebody to ask."""
        while self._waiting:
            free = [actor for actor in self._actors if actor.ready and len(actor.calls) < _CALLS]
            planes = self._together() if free else []
            if not planes:
                return
            actor = min(free, key=lambda one: (one.load, random.random()))
            call = _Call(planes)
            actor.calls.add(call)
            stack = np.stack([one.plane for one in planes]).astype(np.float16)
            actor.peer.ask(stack, planes[0].alone, partial(self._note, actor, call))

    def _note(self, actor: _Actor, call: _Call, result: Callable[[], Answers]) -> None:
        self._events.put(partial(self._answered, actor, call, result))

    def _together(self) -> list[_Asked]:
        """Take what goes into the next call: planes of the size that has waited longest, or one that goes alone.

        Of these there is one at a time, when nothing else waits: if it ends an actor, that costs as few as can be.
        """
        first = next((one for one in self._waiting if not one.alone), None)
        if first is None:
            if any(call.planes[0].alone for actor in self._actors for call in actor.calls):
                return []
            return [self._waiting.popleft()]
        taken: list[_Asked] = []
        left: deque[_Asked] = deque()
        for one in self._waiting:
            fits = not one.alone and one.plane.shape == first.plane.shape and len(taken) < _PLANES
            (taken if fits else left).append(one)
        self._waiting = left
        return taken
