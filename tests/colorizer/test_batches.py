"""Planes of many callers in passes of one network: what goes together, what goes first, and what an error costs."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from raycolor.colorizer.batches import Batcher
from raycolor.colorizer.predict import Predicted


def plane(value=0.0, height=2, width=2):
    """Return a plane that its color can be told by."""
    return np.full((height, width), value, np.float32)


class Device:
    """Computes passes one after the other; each waits for `gate`, and `passes` gets the shapes of its planes."""

    def __init__(self, places, *, ahead=1, open_=False, **options):
        self.passes, self.gate, self.busy = [], threading.Semaphore(10_000 if open_ else 0), threading.Lock()
        self.ask = Batcher(self.begin, places, ahead=ahead, **options)

    def begin(self, planes):
        assert len({one.shape for one in planes}) == 1
        self.passes.append([one.shape for one in planes])

        def wait():
            assert self.busy.acquire(blocking=False)
            try:
                assert self.gate.acquire(timeout=60)
                return [Predicted(np.full((1, 1, 2), one[0, 0]), None) for one in planes]
            finally:
                self.busy.release()

        return wait

    def wait_for(self, passes):
        """Wait until so many have begun."""
        deadline = time.monotonic() + 60
        while len(self.passes) < passes:
            assert time.monotonic() < deadline
            time.sleep(0.002)

    def go(self, passes=1):
        """Let passes end."""
        for _ in range(passes):
            self.gate.release()


def test_every_caller_gets_his_own():
    """Many threads, several sizes, one network, which no two of them use at a time."""
    device = Device(8, ahead=2, open_=True)
    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(lambda i: device.ask([plane(i, 2 + i % 3), plane(-i, 2)]), range(300)))
    assert [[float(one.ab[0, 0, 0]) for one in answer] for answer in answers] == [[i, -i] for i in range(300)]


def test_planes_of_one_size_wait_together():
    """What gathers while one pass runs goes into the next of its size, up to the places; no pass is padded for it."""
    device = Device(4, wait_s=0.0)
    first = device.ask.ask(plane())
    device.wait_for(1)
    others = [device.ask.ask(plane(i, 2 + i % 2)) for i in range(12)]
    device.go(5)
    for answer in [first, *others]:
        answer.result(60)
    assert [len(members) for members in device.passes] == [1, 4, 4, 2, 2]


def test_a_pass_that_is_not_full_begins_when_its_oldest_plane_is_old():
    """One plane alone is not kept waiting for others that never come, and not sent off before they could have."""
    device = Device(4, wait_s=0.3, open_=True)
    asked = time.monotonic()
    answers = [device.ask.ask(plane(i)) for i in range(3)]
    for answer in answers:
        answer.result(60)
    assert time.monotonic() - asked >= 0.3
    assert device.passes == [[(2, 2)] * 3]


def test_full_passes_overtake_hardly_filled_ones():
    """Of those that wait as long the fuller one goes first; the other comes as soon as it has waited that much more."""
    device = Device(4, wait_s=0.0)
    device.ask.ask(plane())
    device.wait_for(1)
    rare = device.ask.ask(plane(1, 7))
    common = [device.ask.ask(plane(2, 3)) for _ in range(4)]
    time.sleep(0.2)  # what was asked a moment earlier counts for nothing by now
    device.go(3)
    for answer in [rare, *common]:
        answer.result(60)
    assert [members[0] for members in device.passes] == [(2, 2), (3, 2), (7, 2)]


def test_a_rare_size_is_not_overtaken_for_ever():
    """While full passes of another size keep coming, a single plane gets its turn."""
    device = Device(4, wait_s=0.0)
    rare = device.ask.ask(plane(1, 7))
    device.wait_for(1)
    rare = device.ask.ask(plane(1, 7))
    for _ in range(100):
        for _ in range(4):
            device.ask.ask(plane(2, 3))
        time.sleep(0.002)
        device.go()
        device.wait_for(len(device.passes))
        if rare.done():
            break
    assert rare.done()


def test_the_next_pass_begins_before_the_first_has_ended():
    """With two ahead, a full pass is copied while another computes; a third waits."""
    device = Device(2, ahead=2, wait_s=60.0)
    answers = [device.ask.ask(plane(i)) for i in range(6)]
    device.wait_for(2)
    time.sleep(0.1)
    assert len(device.passes) == 2
    device.go(3)
    for answer in answers:
        answer.result(60)
    assert [len(members) for members in device.passes] == [2, 2, 2]


def test_one_that_goes_alone_shares_no_pass_and_comes_last():
    """It may be the one that ends the network: whoever else waits is served before."""
    device = Device(4, wait_s=0.0)
    device.ask.ask(plane())
    device.wait_for(1)
    alone = [device.ask.ask(plane(1, 7), alone=True) for _ in range(2)]
    other = device.ask.ask(plane(2, 7))
    device.go(4)
    for answer in [*alone, other]:
        answer.result(60)
    assert [len(members) for members in device.passes] == [1, 1, 1, 1]
    assert float(other.result().ab[0, 0, 0]) == 2.0


def test_an_error_reaches_those_who_shared_the_pass_and_no_other():
    """Whether the pass fails as it begins or as it ends; the next one works again."""

    def begin(planes):
        if planes[0][0, 0] == 1:
            raise ValueError("as it begins")
        if planes[0][0, 0] == 2:
            return lambda: [1 / 0]
        return lambda: [Predicted(one, None) for one in planes]

    ask = Batcher(begin, 4)
    with pytest.raises(ValueError, match="as it begins"):
        ask([plane(1)])
    with pytest.raises(ZeroDivisionError):
        ask([plane(2)])
    assert len(ask([plane(0), plane(0)])) == 2


def test_a_pass_that_hangs_is_found():
    """Those who wait for it are known, and no others; a late answer does no harm."""
    device = Device(2, ahead=2, wait_s=60.0)
    assert device.ask.hung(0.0) == []
    hanging = [device.ask.ask(plane(i)) for i in range(2)]
    later = [device.ask.ask(plane(i, 3)) for i in range(2)]
    device.wait_for(2)
    assert device.ask.hung(60.0) == []
    time.sleep(0.1)
    assert device.ask.hung(0.1) == hanging
    assert set(device.ask.owed()) == {*hanging, *later}
    for answer in hanging:
        answer.set_exception(ValueError("hung"))
    device.go(2)
    for answer in later:
        answer.result(60)
    assert not device.ask.owed()
