"""Laws of what a bulk job says about time, rates and failures."""

import random

import pytest

from raycolor.colorize.messages import ShardReport
from raycolor.colorize.outcomes import Outcome, Tally
from raycolor.colorize.summary import FailureLimit, Timing, next_steps
from raycolor.errors import TooManyFailedError


def report(started, ended, images=4, failed=0):
    """Return the report of a shard of photographs of a million pixels on two pages."""
    tally = Tally()
    for i in range(images):
        if i < failed:
            tally.add(Outcome(str(i), "failed", "empty"))
        else:
            tally.add(Outcome(str(i), "colorized", width=1000, height=500, pages=2, pixels=1_000_000))
    return ShardReport(0, tally, started, ended)


@pytest.mark.parametrize("shards", [1, 3, 400, 401, 5000])
def test_the_curve_runs_forward(shards):
    """Whatever the order in which shards are reported: neither time nor count falls, and the end is all of them."""
    generator = random.Random(shards)
    reports = [report(at, at + generator.uniform(0.1, 9.0), images=2) for at in range(100, 100 + shards)]
    generator.shuffle(reports)
    timing = Timing(begun=90.0)
    for one in reports:
        timing.add(one)
    timeline = timing.timeline()
    assert len(timeline) <= 400
    assert timeline == sorted(timeline)
    assert [images for _, images in timeline] == sorted({images for _, images in timeline})
    assert timeline[0][0] > 0
    assert timeline[-1] == (round(max(one.ended for one in reports) - 100, 2), 2 * shards)


def test_seconds_and_rates_agree():
    """Rate times the seconds from first to last is what was done; the time before is start-up and in no rate."""
    timing = Timing(begun=100.0)
    for one in (report(112.0, 114.0), report(110.0, 118.0), report(118.0, 120.0)):
        timing.add(one)
    rates = timing.rates()
    assert rates["startup_seconds"] == 10.0
    assert rates["colorizing_seconds"] == 10.0
    assert rates["images_per_second"] * rates["colorizing_seconds"] == timing.images == 12
    assert rates["megapixels_per_second"] * rates["colorizing_seconds"] == timing.pixels / 1e6 == 12


def test_pages_are_counted_once():
    """Pixels of all pages, each at its own size; a record of an earlier raycolor counts its first."""
    tally = Tally()
    for so_far in (4, 8):
        tally.add(Outcome("a", "colorized", width=30, height=20, pages=3, pixels=1000))
        tally.add(Outcome("b", "colorized", width=30, height=20))
        tally.add(Outcome("c", "skipped", "already_color"))
        assert (tally.pages, tally.pixels) == (so_far, 400 * so_far)


@pytest.mark.parametrize(
    ("limit", "failed", "total", "stops"),
    [
        ("5%", 499, 499, False), ("5%", 25, 500, False), ("5%", 26, 500, True), ("0", 1, 500, True),
        ("0", 1, 499, False), ("30", 30, 9000, False), ("30", 31, 9000, True), ("100%", 500, 500, False),
    ],
)  # fmt: skip
def test_failures_are_watched_once_500_have_an_outcome(limit, failed, total, stops):
    """Before, a few bad photographs in front stop nothing; then the job stops and says why and how to go on."""
    watch = FailureLimit.parse(limit)
    if not stops:
        watch.watch(failed, total, "out")
        return
    message = f"--max-failed {limit} allows .*out/_raycolor/failed.csv.*higher --max-failed continues"
    with pytest.raises(TooManyFailedError, match=message):
        watch.watch(failed, total, "out")


@pytest.mark.parametrize(("failed", "told"), [(0, "outcomes.csv"), (3, "failed.csv says why 3 of 1,003 failed")])
def test_the_last_lines_say_what_to_do_next(failed, told):
    """The page, what failed if anything did, and the flag that goes on from there."""
    counts = {"colorized": 1000, "skipped": 0, "failed": failed}
    lines = next_steps({"dest": "out/", "counts": counts, "images": 1000 + failed})
    assert lines[:2] == ["photographs  out/", "page         out/_raycolor/report.html"]
    assert told in lines[2]
    assert ("--retry-failed" in lines[3]) == bool(failed)
