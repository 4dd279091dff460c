"""Laws of progress lines."""

import logging

import pytest

from raycolor.progress import Progress, duration_text, printable


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


def test_no_time_left_before_the_third_shard(caplog):
    """The first two say too little; the rate is the one that was told, without start-up, in line and fields alike."""
    now = [0.0]
    with Progress("colorize", 40, left_after=3, interval_s=0, terminal=False, clock=lambda: now[0]) as progress:
        now[0] = 100.0
        for shard in range(1, 4):
            progress.update(4, per_second=2.0)
            progress.update(failed=1)
            assert progress.rate() == progress.fields()["per_second"] == 2.0
            assert (progress.fields()["seconds_left"] is None) == (shard < 3)
            assert ("left" in progress.line()) == (shard == 3)
    assert progress.line() == "colorize: images 12/40 | 2.0/s | failed 1 | 14 s left"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("box/photo 1.jpg", "box/photo 1.jpg"),
        ("Fotografía\u202fñ 写真 صورة.jpg", "Fotografía\u202fñ 写真 صورة.jpg"),
        ("نامه\u200cها.jpg", "نامه\u200cها.jpg"),
        ("a\nfailed 9.jpg", "a\\nfailed 9.jpg"),
        ("\x1b[2J\x9b.jpg", "\\x1b[2J\\x9b.jpg"),
        ("exe\u202egpj.exe", "exe\\u202egpj.exe"),
        ("\u2067a\u2069\u061c\u200f", "\\u2067a\\u2069\\u061c\\u200f"),
        ("\ufeffa\u2028\udc80", "\\ufeffa\\u2028\\udc80"),
    ],
)
def test_what_hides_or_moves_text_is_shown_as_an_escape(text, shown):
    """Control, bidirectional and invisible characters; letters of every language, and the joiners they need, stay."""
    assert printable(text) == shown


def test_reach_says_how_far_it_is():
    """A caller that counts for itself gives totals, not differences; the total may grow."""
    progress = Progress("prepare", None, "photographs", terminal=False)
    progress.reach(3, 10, left_out=1)
    progress.reach(7, 12, left_out=2)
    assert (progress.done, progress.total, progress.notes) == (7, 12, {"left_out": 2})
