"""Workers that die over a shard again and again, and files that are not read."""

import json

import photographs
import pytest

from raycolor.child_process import Child, ChildStartError
from raycolor.colorize.attempts import LAST, ONE_BY_ONE, Attempts
from raycolor.colorize.isolation import IsolatedColorizer
from raycolor.colorize.job_folder import ATTEMPTS
from raycolor.colorize.messages import BrokenWorkerError
from raycolor.colorize.outcomes import read_outcomes
from raycolor.colorize.shard import ShardWorker
from raycolor.sources import Reader

FILES = {f"{i}.jpg": photographs.encoded(photographs.gray_pixels(40 + i, 60, seed=i)) for i in range(4)}


class KilledError(BaseException):
    """Stands for SIGKILL: nothing of the worker's own comes after it."""


def begin_until_done(worker, colorize, most=40):
    """Begin a shard anew after each death, as Ray does; returns how often it was begun."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(IsolatedColorizer, "read_and_colorize", lambda self, info: colorize(info))
        patch.setattr(worker.colorizer, "colorize", lambda data, hints: colorize(None))
        for number in range(1, most):
            try:
                worker.run(0)
            except KilledError:
                continue
            return number
    pytest.fail("begun for ever")


def test_a_photograph_over_which_workers_die_is_one_failure(job):
    """Whatever kills the worker itself, Ray's memory monitor say: others of the shard are colorized, and it ends."""
    worker = job(FILES)
    colorize = worker.colorizer.colorize

    def deadly(info):
        if info is None or info.key == "2.jpg":
            raise KilledError
        return colorize(FILES[info.key])

    assert begin_until_done(worker, deadly) < LAST
    outcomes = {outcome.key: outcome for outcome in read_outcomes(worker.dest)}
    assert {key for key, outcome in outcomes.items() if outcome.status == "colorized"} == {"0.jpg", "1.jpg", "3.jpg"}
    assert outcomes["2.jpg"].reason == "internal_error"
    assert "workers died over it 2 times" in outcomes["2.jpg"].detail
    assert list(worker.dest.list(ATTEMPTS)) == []


def test_a_shard_is_not_begun_for_ever(job):
    """Where every photograph ends its worker, the remainder fails with a reason at the last attempt."""
    worker = job({f"{i}.jpg": data for i, data in enumerate([*FILES.values()] * 1)})

    def deadly(info):
        raise KilledError

    assert begin_until_done(worker, deadly) <= LAST
    outcomes = list(read_outcomes(worker.dest))
    assert len(outcomes) == len(FILES)
    assert {(outcome.status, outcome.reason) for outcome in outcomes} == {("failed", "internal_error")}
    assert all("workers died over" in outcome.detail for outcome in outcomes)


def test_at_the_last_attempt_nothing_is_tried(job):
    """What was written down stays, and the rest says how often workers died."""
    worker = job(FILES)
    colorize = worker.colorizer.colorize
    attempts = Attempts(worker.dest, 0, worker.spec.run)
    attempts.begun = ONE_BY_ONE
    with pytest.MonkeyPatch.context() as patch:
        done = []
        patch.setattr(
            IsolatedColorizer,
            "read_and_colorize",
            lambda self, info: done.append(info.key) or colorize(FILES[info.key]) if len(done) < 2 else fail(),
        )

        def fail():
            raise KilledError

        with pytest.raises(KilledError):
            worker.run(0) if attempts.begin() else None
        key = f"{ATTEMPTS}shard-000000"
        known = json.loads(worker.dest.get(key))
        assert [row["key"] for row in known["done"]] == done
        worker.dest.put(key, json.dumps({**known, "begun": LAST - 1, "at": None}).encode())
        worker.run(0)
    outcomes = list(read_outcomes(worker.dest))
    assert [outcome.status for outcome in outcomes] == ["colorized", "colorized", "failed", "failed"]
    assert f"died over its shard {LAST - 1} times" in outcomes[-1].detail


def test_deaths_with_the_driver_are_no_photographs_fault(job):
    """Of an earlier run's attempts one counts: a driver may be killed as often as it likes."""
    worker = job(FILES)
    for run in range(20):
        attempts = Attempts(worker.dest, 0, f"run {run}")
        attempts.begin()
        attempts.at("0.jpg")
    worker.run(0)
    assert {outcome.status for outcome in read_outcomes(worker.dest)} == {"colorized"}


def test_a_child_that_does_not_start_is_no_photographs_failure(job, monkeypatch):
    """The worker is broken: nothing is recorded, and another is given the shard."""

    def refuse(self, *request, **options):
        raise ChildStartError("a child process does not start")

    worker = job(FILES)
    worker.dest.put(f"{ATTEMPTS}shard-000000", b"1")
    monkeypatch.setattr(Child, "ask", refuse)
    with pytest.raises(BrokenWorkerError, match="does not start") as caught:
        worker.run(0)
    assert caught.value.attempts == 2
    assert list(read_outcomes(worker.dest)) == []


@pytest.mark.parametrize("begun_before", [False, True])
@pytest.mark.parametrize("told", [True, False])
def test_what_is_too_large_is_not_read(job, monkeypatch, told, begun_before):
    """By its size in the listing, or by asking where a list tells none; in the first attempt and in later ones."""
    worker = job(FILES)
    worker.source = Reader(worker.spec.source, max_bytes=len(FILES["1.jpg"]))
    shard, get = worker.manifest.shard, worker.source.store().get
    read = []
    if not told:
        monkeypatch.setattr(worker.manifest, "shard", lambda n: [info._replace(size=0) for info in shard(n)])
    monkeypatch.setattr(worker.source.store(), "get", lambda key, **of: read.append(key) or get(key, **of))
    if begun_before:
        worker.dest.put(f"{ATTEMPTS}shard-000000", b"1")
    worker.run(0)
    outcomes = {outcome.key: outcome for outcome in read_outcomes(worker.dest)}
    large = {key for key, data in FILES.items() if len(data) > len(FILES["1.jpg"])}
    assert large
    assert {key for key, outcome in outcomes.items() if outcome.reason == "too_large"} == large
    assert all("--max-file-bytes" in outcomes[key].detail for key in large)
    assert {outcome.key: outcome.input_bytes for outcome in outcomes.values()} == {k: len(v) for k, v in FILES.items()}
    # From the second attempt on the child reads.
    assert set(read) == (set() if begun_before else set(FILES) - large)


def test_reading_happens_in_the_child_from_the_second_attempt_on(job):
    """What ends a process while it is read costs one input, and not the worker."""
    worker = ShardWorker(job(FILES).spec)

    def deadly(info):
        raise KilledError

    worker.source.get = deadly
    worker.dest.put(f"{ATTEMPTS}shard-000000", b"1")
    worker.run(0)
    assert {outcome.status for outcome in read_outcomes(worker.dest)} == {"colorized"}
