"""Laws of progress lines."""

import logging

import pytest

from raycolor.progress import Progress, duration_text


@pytest.mark.parametrize(("seconds", "text"), [(0, "0 s"), (59.4, "59 s"), (185, "3 min 05 s"), (7620, "2 h 07 min")])
def test_durations_read_as_people_say_them(seconds, text):
    """Seconds, minutes and hours, each where it is the natural unit."""
    assert duration_text(seconds) == text


def test_a_log_gets_one_line_per_interval(caplog):
    """Without a terminal a line appears each interval and at the end, not with each update."""
    now = [0.0]
    with caplog.at_level(logging.INFO), Progress("colorize", 40, already=10, terminal=False, clock=lambda: now[0]) as p:
        for _ in range(20):
            now[0] += 1.0
            p.update(1, failed=2)
    assert [record.message for record in caplog.records] == [
        "colorize: images 20/40 | 1.0/s | failed 2 | 20 s left",
        "colorize: images 30/40 | 1.0/s | failed 2 | 10 s left",
        "colorize: images 30/40 | 1.0/s | failed 2 | 10 s left",
    ]
