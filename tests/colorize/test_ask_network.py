"""A worker that asks several networks for color: whom it asks, and what becomes of planes whose network is gone."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from raycolor.colorize import ask_network
from raycolor.colorize.ask_network import ActorGoneError, Asking
from raycolor.colorize.messages import NetworkGoneError, PassFailedError
from raycolor.colorizer.predict import Predicted
from raycolor.errors import ConfigError


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch):
    """Nobody waits half a second to ask again: the order is tested, not the time."""
    monkeypatch.setattr(ask_network, "_AGAIN_S", 0.01)
    monkeypatch.setattr(ask_network, "_TICK_S", 0.01)


def plane(value=0.0, height=2):
    """Return a plane that its color can be told by."""
    return np.full((height, 2), value, np.float32)


def color(one):
    """Return what a network here gives for a plane."""
    return Predicted(np.full((1, 1, 2), one[0, 0], np.float32), None)


class Peer:
    """An actor that answers as it is told: at once, when `go` is called, never, or that it is gone."""

    def __init__(self, *, placed=True, answers=True, gone=None, judge=None):
        self.placed, self.answers, self.gone, self.judge = placed, answers, gone, judge
        self.calls, self.pings, self.owed = [], 0, []
        self.changed = threading.Condition()

    def _raise(self):
        raise self.gone

    def ping(self, done):
        self.pings += 1
        if self.gone:
            done(self._raise)
        elif self.placed:
            done(lambda: None)

    def ask(self, planes, alone, done):
        with self.changed:
            self.calls.append((planes, alone))
            self.changed.notify_all()
        if self.gone:
            done(self._raise)
        elif self.answers:
            done(lambda: [self._answer(one, len(planes)) for one in planes])
        else:
            self.owed.append((planes, done))

    def _answer(self, one, together):
        return color(one) if self.judge is None else self.judge(float(one[0, 0]), together) or color(one)

    def go(self):
        """Answer all that is owed."""
        owed, self.owed = self.owed, []
        for planes, done in owed:
            done(lambda planes=planes: [color(one) for one in planes])

    def wait_for(self, calls):
        """Wait until so many have come."""
        with self.changed:
            assert self.changed.wait_for(lambda: len(self.calls) >= calls, 60)

    @property
    def planes(self):
        return sum(len(planes) for planes, _ in self.calls)


def values(answers):
    return [float(one.ab[0, 0, 0]) for one in answers]


def test_every_photograph_gets_its_own_color():
    """Many threads, several actors and sizes."""
    ask = Asking([Peer(), Peer(), Peer()], 60)
    with ThreadPoolExecutor(16) as pool:
        found = list(pool.map(lambda i: values(ask([plane(i, 2 + i % 3), plane(-i)])), range(200)))
    assert found == [[i, -i] for i in range(200)]


def test_an_actor_without_a_place_is_not_asked():
    """It is asked from the moment that it answers."""
    late, there = Peer(placed=False), Peer()
    ask = Asking([late, there], 60)
    assert values(ask([plane(i) for i in range(50)])) == list(range(50))
    assert late.calls == []
    assert late.pings == 1


def test_what_waits_goes_together_in_the_next_call():
    """Calls on their way are few; what comes meanwhile is sent by size, several planes in each."""
    peer = Peer(answers=False)
    ask = Asking([peer], 60)
    with ThreadPoolExecutor(64) as pool:
        asked = [pool.submit(ask, [plane(i, 2 + i % 2)]) for i in range(4)]
        peer.wait_for(2)
        while peer.planes < 4:
            time.sleep(0.01)
        before = len(peer.calls)
        asked += [pool.submit(ask, [plane(i, 2 + i % 2)]) for i in range(4, 44)]
        while len(ask._waiting) + peer.planes < 44:
            time.sleep(0.01)
        while peer.planes < 44:
            time.sleep(0.05)
            peer.go()
        peer.go()
        assert [values(one.result(60)) for one in asked] == [[i] for i in range(44)]
    assert len(peer.calls) - before < 20
    assert all(len(planes) <= 16 for planes, _ in peer.calls)
    assert any(len(planes) > 4 for planes, _ in peer.calls)


def test_the_least_loaded_is_asked():
    """One that has not answered yet gets no more than another that has as much to do."""
    slow, fast = Peer(answers=False), Peer()
    ask = Asking([slow, fast], 60)
    with ThreadPoolExecutor(100) as pool:
        asked = [pool.submit(ask, [plane(i)]) for i in range(100)]
        while fast.planes + slow.planes < 100:
            time.sleep(0.01)
        slow.go()
        assert [values(one.result(60)) for one in asked] == [[i] for i in range(100)]
    assert fast.planes > slow.planes


def test_what_one_owes_that_dies_is_asked_of_another_at_once():
    """Nobody waits for its replacement, and every plane gets its color."""
    dying, other = Peer(answers=False), Peer(placed=False)
    ask = Asking([dying, other], 60)
    with ThreadPoolExecutor(8) as pool:
        asked = [pool.submit(ask, [plane(i)]) for i in range(4)]
        while dying.planes < 4:
            time.sleep(0.01)
        other.placed = True
        other_ready = ask._actors[1]
        ask._events.put(lambda now: ask._ponged(other_ready, lambda: None, now))
        dying.gone = ActorGoneError("its node is gone")
        for _, done in dying.owed:
            done(dying._raise)
        assert [values(one.result(60)) for one in asked] == [[i] for i in range(4)]
    assert other.planes == 4


def test_one_that_is_silent_is_taken_for_dead():
    """It lives as far as anybody knows, and answers nothing: another is asked. What it says later changes nothing."""
    silent, other = Peer(answers=False), Peer(answers=False)
    ask = Asking([silent], 60, silent_s=0.4)
    with ThreadPoolExecutor(1) as pool:
        asked = pool.submit(ask, [plane(7)])
        silent.wait_for(1)
        silent.placed = False
        other.answers = True
        ask._actors.append(type(ask._actors[0])(other))
        assert values(asked.result(60)) == [7]
    silent.go()
    assert values(ask([plane(3)])) == [3]


def test_one_that_is_started_anew_is_asked_again():
    """All of them are gone for a moment: the job goes on when one is back."""
    peer = Peer(gone=ActorGoneError("it is started anew"))
    ask = Asking([peer], 60)
    with ThreadPoolExecutor(1) as pool:
        asked = pool.submit(ask, [plane(5)])
        while peer.pings < 2:
            time.sleep(0.01)
        peer.gone = None
        assert values(asked.result(60)) == [5]


@pytest.mark.parametrize("gone", [ActorGoneError("no checkpoint", for_good=True), ActorGoneError("no checkpoint")])
def test_the_job_gives_up_when_none_lives(gone):
    """At once if none will ever, else after the timeout; in one line that says why."""
    ask = Asking([Peer(gone=gone), Peer(gone=gone)], 60 if gone.for_good else 0.5)
    with pytest.raises(NetworkGoneError, match=r"^no actor of the network answers.* \(no checkpoint\): run the same"):
        ask([plane()])


def test_an_idle_hour_is_no_silence():
    """A worker that had nothing to ask for longer than the timeout gives nothing up."""
    peer = Peer()
    ask = Asking([peer], 0.3, silent_s=0.2)
    ask([plane()])
    time.sleep(0.5)
    assert values(ask([plane(1)])) == [1]


def test_a_plane_that_a_pass_fails_with_is_asked_for_again_alone():
    """Its neighbors get their colors; it fails, by name, after the second time."""

    def judge(value, together):
        return PassFailedError("the network hung") if value == 13 or together > 1 else None

    peer = Peer(judge=judge)
    ask = Asking([peer], 60)
    with ThreadPoolExecutor(30) as pool:
        asked = [pool.submit(ask, [plane(i)]) for i in range(30)]
        for i, one in enumerate(asked):
            if i == 13:
                with pytest.raises(PassFailedError, match="the network hung"):
                    one.result(60)
            else:
                assert values(one.result(60)) == [i]
    assert all(len(planes) == 1 for planes, alone in peer.calls if alone)


def test_a_plane_that_ends_every_actor_fails_alone():
    """Actors that die over it are started anew; the others of its calls get their colors."""

    class Fragile(Peer):
        def ask(self, planes, alone, done):
            self.calls.append((planes, alone))
            if (planes[:, 0, 0] == 13).any():
                done(lambda: (_ for _ in ()).throw(ActorGoneError("SIGSEGV")))
            else:
                done(lambda: [color(one) for one in planes])

    ask = Asking([Fragile()], 60)
    with ThreadPoolExecutor(30) as pool:
        asked = [pool.submit(ask, [plane(i)]) for i in range(30)]
        for i, one in enumerate(asked):
            if i == 13:
                with pytest.raises(PassFailedError, match=r"died 5 times over it \(SIGSEGV\)"):
                    one.result(60)
            else:
                assert values(one.result(60)) == [i]


def test_what_no_photograph_is_the_reason_of_is_told_as_it_is():
    """A batch that is too large for the GPU stops the job by its own line."""
    ask = Asking([Peer(judge=lambda value, together: ConfigError("--gpu-batch 512: too large"))], 60)
    with pytest.raises(ConfigError, match="--gpu-batch 512"):
        ask([plane()])


def test_what_an_actor_that_ends_itself_hands_back_is_asked_of_another():
    """Over another plane it hung: the planes behind that are nobody's fault, however often it happens."""
    ending = Peer(judge=lambda value, together: NetworkGoneError("it hung, and is started anew"))
    ask = Asking([ending], 60)
    with ThreadPoolExecutor(4) as pool:
        asked = [pool.submit(ask, [plane(i)]) for i in range(4)]
        while len(ending.calls) < 20:
            time.sleep(0.01)
        ending.judge = None
        assert [values(one.result(60)) for one in asked] == [[i] for i in range(4)]
