"""Laws of the bulk job's page."""

import re

import numpy as np
import photographs
import pytest

from raycolor.colorize.outcomes import Outcome, read_tables, write_outcomes
from raycolor.colorize.page import Selection, write_report
from raycolor.storage import open_store

HOSTILE = '<script>alert("x")</script> & co.jpg'


@pytest.fixture
def job(tmp_path):
    """A finished job of some photographs, one with a hostile name, and failures."""
    source, dest = open_store(tmp_path / "in"), open_store(tmp_path / "out")
    outcomes = []
    for i, key in enumerate([HOSTILE.replace("/", "∕"), *(f"photo-{i}.jpg" for i in range(40))]):
        source.put(key, photographs.encoded(photographs.gray_pixels(seed=i)))
        dest.put(key, photographs.encoded(photographs.color_pixels(seed=i)))
        outcomes.append(Outcome(key, "colorized", None, None, "gray", 64, 48, 9, "e", key, 9, "ff", 0.1))
    outcomes += [Outcome(f"<i>{i}", "failed", "empty", "0 bytes & <nothing>") for i in range(9)]
    write_outcomes(dest, 0, outcomes)
    return source, dest


def page(job, **more):
    """Return the page of a job."""
    source, dest = job
    summary = {
        "counts": {"colorized": 41, "skipped": 0, "failed": 9},
        "reasons": {"empty": 9},
        "pages": 41,
        "startup_seconds": 2.0,
        "megapixels": 0.1,
        "images_per_second": 3.2,
        "seconds": 12.0,
        "checkpoint": {"name": "default", "weights_sha256": "ab" * 32},
        "source": getattr(source, "uri", "made"),
        "dest": dest.uri,
        "settings": {"saturation": 1.0},
        **more,
    }
    selection = Selection()
    for table in read_tables(dest):
        selection.add(table)
    return write_report(summary, selection, dest=dest, original=source.get)


def test_names_are_text_never_markup(job):
    """A key with tags in it shows as text, in captions, links, labels and failures."""
    html = page(job)
    assert "<script>alert" not in html
    assert "&lt;script&gt;alert" in html
    assert "<i>0" not in html
    assert "0 bytes &amp; &lt;nothing&gt;" in html


def test_names_hide_nothing(job):
    """Control and bidirectional characters of keys, details and places show as escapes."""
    source, dest = job
    write_outcomes(dest, 1, [Outcome("a\u202egpj.exe\n", "failed", "empty", "a\u2066b\x1b")])
    html = page((source, dest), source="s3://in/\u202e")
    assert "a\\u202egpj.exe\\n" in html
    assert "a\\u2066b\\x1b" in html
    assert not set(html) & set("\u202e\u2066\x1b")


def test_the_page_needs_nothing_else(job):
    """No request leaves the page: pictures, styles and scripts are inside; links lead to the outputs alone."""
    html = page(job)
    assert not re.findall(r"""(?:src|href)=["'](?!data:|\.\./)""", html)
    assert "@import" not in html
    assert "url(" not in html


def test_the_gallery_is_bounded_and_the_same_each_time(job):
    """24 pairs at most whatever the number of photographs, chosen by a fixed seed; five examples per reason."""
    html = page(job)
    assert html.count('class="compare"') == 24
    assert html.count('<div><span class="key">&lt;i&gt;') == 5
    assert html == page(job)


def test_the_list_of_inputs_is_bounded_and_holds_every_status(job):
    """At most 500 rows, however many inputs, each status with its own share; the page says of how many."""
    source, dest = job
    more = [Outcome(f"more/{i}", "failed", "truncated", "cut") for i in range(3000)]
    more += [Outcome(f"color/{i}", "skipped", "already_color", None, "color", 64, 48) for i in range(2)]
    write_outcomes(dest, 1, more)
    html = page((source, dest), reasons={"empty": 9, "truncated": 3000, "already_color": 2})
    assert html.count("<tr data-status=") == 41 + 2 + 250
    assert "293 of 3,052" in html


def test_a_page_of_2920_photographs_stays_under_6_mb(tmp_path):
    """Also where every photograph is noise, which no JPEG makes small, every name is long, and a tenth failed."""
    dest = open_store(tmp_path)
    noise = np.random.default_rng(0).integers(0, 256, (420, 420, 3), dtype=np.uint8)
    dest.put("noise.jpg", photographs.encoded(noise, quality=95))
    outcomes = []
    for i in range(2920):
        key = f"{'a long folder/' * 12}{i}.jpg"
        if i % 10:
            outcomes.append(Outcome(key, "colorized", None, None, "gray", 420, 420, 9, "e", "noise.jpg", 9, "ff", 0.1))
        else:
            outcomes.append(Outcome(key, "failed", "decode_error", "it does not say what it is " * 8))
    write_outcomes(dest, 0, outcomes)

    class AlwaysNoise:
        def get(self, key):
            return dest.get("noise.jpg")

    html = page((AlwaysNoise(), dest), reasons={"decode_error": 292})
    assert html.count('class="compare"') == 24
    assert 3e6 < len(html.encode()) < 6e6


def test_throughput_is_drawn_from_the_timeline(job):
    """With a timeline the page has a plot, without one it has none."""
    assert "<h2>Throughput</h2>" not in page(job)
    source, dest = job
    assert "<h2>Throughput</h2>" in page((source, dest), timeline=[[1.0, 4], [2.0, 12], [4.5, 28]])


def test_a_photograph_that_has_gone_is_left_out(job):
    """The page is made even when inputs have been moved since."""
    source, dest = job
    source.delete("photo-0.jpg")
    assert page((source, dest)).count('class="compare"') == 23


def test_the_least_confident_come_first(job):
    """The gallery begins with what got the lowest confidence, worst first, each shown once; flags can be chosen."""
    _, dest = job
    outcomes = [
        Outcome(
            f"photo-{i}.jpg", "colorized", None, None, "gray", 64, 48, 9, "e", f"photo-{i}.jpg", 9, "ff", 0.1,
            confidence=(i * 7 % 40) / 40, flags="dull" if i == 3 else None,
        )
        for i in range(40)
    ]  # fmt: skip
    write_outcomes(dest, 0, outcomes)
    html = page(job)
    shown = re.findall(r"figcaption><a[^>]*>([^<]+)</a>", html)
    expected = sorted(outcomes, key=lambda outcome: outcome.confidence)[:6]
    assert shown[:6] == [outcome.key for outcome in expected]
    assert len(shown) == len(set(shown)) == 24
    assert "<option>dull</option>" in html
    assert "confidence 0.00" in html
