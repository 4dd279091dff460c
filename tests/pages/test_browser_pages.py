"""The pages in a real browser (headless Chromium): they open without an error or a request, and their controls work."""

# ruff: noqa: E501 - scripts read better unbroken

import numpy as np
import photographs
import pytest
from browser import CHROMIUM, CONTRAST, Browser
from madesweep import EVIL, write_sweep

from raycolor.colorize.outcomes import Outcome, read_tables, write_outcomes
from raycolor.colorize.page import Selection, write_report
from raycolor.evaluate.comparison import Shown
from raycolor.evaluate.examples import Pick
from raycolor.evaluate.page import evaluation_page
from raycolor.pages.plots import Named, axis_of, named_points, word_color
from raycolor.pages.render import Figure
from raycolor.pages.tables import TableCell, TableHead
from raycolor.storage import open_store
from raycolor.tune.report import Reporter

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here: on Debian `apt install chromium`")

HIDING = "bad/exe\u202egpj.\x1b[2J\nצילום.jpg"


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    """One browser for all pages."""
    with Browser(tmp_path_factory.mktemp("profile")) as browser:
        yield browser


@pytest.fixture
def browse(browser, tmp_path):
    """Open a page, run a script in it and return what it returns; a message on the console or a request fails."""

    def run(page, script, *, width=1200, dark=False):
        path = tmp_path / "page.html"
        path.write_text(page, encoding="utf-8")
        seen = browser.look(path, script, width=width, dark=dark)
        assert seen.console == []
        assert seen.requests == []
        return seen.answer

    return run


def test_names_in_a_chart_cover_neither_each_other_nor_points(browse):
    """Checkpoints that are alike lie close together: every name can still be read."""
    near = [("gray", 0.0, 0.02), *((f"runs/unet-{k}", 20 + k / 10, 0.0142 + k / 1e5) for k in range(7))]
    points = [
        Named(name, (x, x - 0.5, x + 0.5), (y, y - 0.0003, y + 0.0003), word_color(k), name)
        for k, (name, x, y) in enumerate(near)
    ]
    scales = axis_of("colorfulness", [0.0, 24.0]), axis_of("mse", [0.014, 0.02])
    page = f"<!doctype html><title>x</title><link rel=icon href=data:,><div style='width:26rem'>{named_points(points, *scales)}</div>"
    covered = browse(
        page,
        """
        const names = [...document.querySelectorAll("svg text")].filter(text => /unet|gray/.test(text.textContent));
        const boxes = names.map(text => text.getBoundingClientRect());
        const over = (a, b) => a.left < b.right && b.left < a.right && a.top < b.bottom && b.top < a.bottom;
        return [names.length, boxes.flatMap((a, i) => boxes.slice(i + 1).filter(b => over(a, b))).length];
    """,
    )
    assert covered == [8, 0]


@pytest.fixture(scope="module")
def colorize_page(tmp_path_factory):
    """The page of a job with every status, a hostile name among its inputs."""
    folder = tmp_path_factory.mktemp("job")
    source, dest = open_store(folder / "in"), open_store(folder / "out")
    outcomes = []
    for i, key in enumerate(["<script>alert(1)<∕script>.jpg", *(f"box/photo-{i}.jpg" for i in range(7))]):
        source.put(key, photographs.encoded(photographs.gray_pixels(seed=i)))
        dest.put(key, photographs.encoded(photographs.color_pixels(seed=i)))
        kind = "gray" if i % 2 else "toned"
        outcomes.append(Outcome(key, "colorized", None, None, kind, 64, 48, 9, "e", key, 9, "ff", 0.1))
    outcomes += [Outcome(f"bad/{i}.jpg", "failed", "empty" if i else "truncated", "0 bytes") for i in range(3)]
    outcomes += [Outcome(HIDING, "failed", "empty", f"{HIDING}: 0 bytes")]
    outcomes += [Outcome("new.jpg", "skipped", "already_color", None, "color", 64, 48)]
    write_outcomes(dest, 0, outcomes)
    summary = {
        "counts": {"colorized": 8, "skipped": 1, "failed": 4}, "reasons": {"empty": 3, "truncated": 1, "already_color": 1},
        "pages": 41, "startup_seconds": 2.0, "megapixels": 0.1, "images_per_second": 3.2, "seconds": 12.0, "timeline": [[0.5, 2], [1.0, 4], [2.5, 13]],
        "checkpoint": {"name": "default", "weights_sha256": "ab" * 32}, "source": source.uri, "dest": dest.uri,
        "settings": {"saturation": 1.0, "a_setting_with_quite_a_long_name": "s3://bucket/" + "prefix/" * 12},
        "revisions": [{"number": 1, "images": 4, "differences": "saturation 1.0 -> 2.0, tta none -> flip", "checkpoint": {"name": "accurate", "weights_sha256": "ab" * 32}, "created": "2026-11-29T12:00:00+00:00"}],
    }  # fmt: skip
    selection = Selection()
    for table in read_tables(dest):
        selection.add(table)
    return write_report(summary, selection, dest=dest, original=source.get)


@pytest.fixture(scope="module")
def compare_page():
    """A comparison of two networks on one dataset."""
    rng = np.random.default_rng(0)
    picture = rng.integers(0, 255, (32, 32, 3), dtype=np.uint8)
    heads = [TableHead("method", number=False), TableHead("mse", "lower"), TableHead("PSNR dB", "higher")]
    rows = [
        [TableCell(name, name), TableCell(f"{mse}", mse, best=mse < 0.015), TableCell(f"{psnr}", psnr)]
        for name, mse, psnr in [("gray", 0.022, 22.0), ("default", 0.0139, 24.1), ("regression", 0.018, 22.7)]
    ]
    picks = [
        Pick(at, f"{role}.jpg", {"mse": role}, {"mse": [0.1, 0.2], "colorfulness": [5.0, 6.0]})
        for at, role in enumerate(("best", "median", "worst"))
    ] + [Pick(3, "dull.jpg", {"colorfulness": "least"}, {"mse": [1.0, 2.0], "colorfulness": [3.0, 4.0]})]
    points = [
        Named(name, (color, color - 1, color + 1), (mse, mse - 0.001, mse + 0.001), word_color(place), name)
        for place, (name, color, mse) in enumerate([("gray", 0.0, 0.022), ("default", 30.0, 0.0139)])
    ]
    scales = axis_of("colorfulness", [0.0, 41.0]), axis_of("mse", [0.012, 0.024])
    chart = named_points(points, *scales, (40.0, "photographs"))
    return evaluation_page(
        headings=["scenes: measured on the central 224 px of 3 photographs"],
        heads=heads,
        rows=rows,
        methods=["default", "regression"],
        photographs=[Shown("scenes", pick, [picture] * 4) for pick in picks],
        metrics=[("mse", "mse", "squared error"), ("colorfulness", "colorfulness", "how colorful")],
        notes=["a note"],
        figures={"scenes": [Figure("near and colorful", chart), Figure("the same once more", chart)]},
        facts={"Settings": {"split": "val"}},
    )


@pytest.fixture(scope="module")
def sweep_page(tmp_path_factory):
    """The report of a sweep in the middle; values, reasons and keys of photographs hold a script."""
    folder = tmp_path_factory.mktemp("sweep")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(folder / "cache"))
        records, plan = write_sweep(folder)
        Reporter(records, plan).write(frozenset({5}))
    return records.store.get("report/index.html").decode()


def test_a_key_hides_nothing(colorize_page, browse):
    """Bidirectional and control characters of a key are seen as escapes, and turn nothing around."""
    shown = browse(
        colorize_page,
        """return [...document.querySelectorAll("#outcomes td.key")].map(cell => cell.innerText)
             .filter(text => text.includes("exe"));""",
    )
    assert shown == ["bad/exe\\u202egpj.\\x1b[2J\\nצילום.jpg"]
    assert "\u202e" not in colorize_page


@pytest.mark.parametrize("dark", [False, True])
def test_a_phone_cuts_no_column(colorize_page, browse, dark):
    """At 390 px nothing of the page is wider than what is seen of it, and no table has to be moved sideways."""
    cut = browse(
        colorize_page,
        """const seen = document.documentElement.clientWidth;
           return [...document.body.querySelectorAll("*")].filter(element => element.checkVisibility() && !element.closest(".compare") && !element.ownerSVGElement)
             .filter(element => element.getBoundingClientRect().right > seen + 1 || (element.clientWidth && element.scrollWidth > element.clientWidth + 1))
             .map(element => [element.tagName, element.className, element.textContent.trim().slice(0, 40)]);""",
        width=390,
        dark=dark,
    )
    assert cut == []


def test_the_slider_shows_more_or_less_of_the_original(colorize_page, browse):
    """Moving the range input moves the edge between before and after, and nothing runs from a hostile name."""
    answer = browse(
        colorize_page,
        """const box = document.querySelector(".compare"), input = box.querySelector("input");
           const edge = () => { const clip = getComputedStyle(box.querySelector(".before")).clipPath; return clip; };
           const first = edge(); input.value = 80; input.dispatchEvent(new Event("input")); const second = edge();
           input.focus();
           return { first, second, at: box.style.getPropertyValue("--at"), keyboard: document.activeElement === input, title: document.title };""",
    )
    assert answer["at"] == "80%"
    assert answer["first"] != answer["second"]
    assert answer["keyboard"]


def test_filters_choose_inputs(colorize_page, browse):
    """Each filter alone and two together leave the rows that fit, and say how many."""
    answer = browse(
        colorize_page,
        """const form = document.getElementById("filters"), rows = [...document.querySelectorAll("#outcomes tbody tr")];
           const set = values => { form.reset(); for (const name in values) form.elements[name].value = values[name];
             form.dispatchEvent(new Event("input")); return rows.filter(row => row.checkVisibility()).length; };
           return { all: set({}), failed: set({ status: "failed" }), empty: set({ reason: "empty" }), toned: set({ kind: "toned" }),
             both: set({ status: "colorized", key: "PHOTO-3" }), none: set({ status: "skipped", kind: "gray" }),
             text: (set({ status: "failed" }), document.getElementById("shown").textContent) };""",
    )
    assert answer == {
        "all": 13, "failed": 4, "empty": 3, "toned": 4, "both": 1, "none": 0, "text": "4 shown.",
    }  # fmt: skip


def test_the_table_sorts_by_numbers_both_ways(compare_page, browse):
    """A click on a head sorts by that column, a second one turns it round; the state is told to screen readers."""
    answer = browse(
        compare_page,
        """const button = document.querySelectorAll("#table thead button")[1];
           const names = () => [...document.querySelectorAll("#table tbody th")].map(cell => cell.textContent.trim());
           const out = []; for (let i = 0; i < 2; i++) { button.click(); out.push([button.parentElement.getAttribute("aria-sort"), names()]); }
           return out;""",
    )
    assert answer == [
        ["ascending", ["default", "regression", "gray"]],
        ["descending", ["gray", "regression", "default"]],
    ]


def test_the_grid_shows_the_chosen_metric(compare_page, browse):
    """The select leaves the photographs that are best, median or worst by it."""
    answer = browse(
        compare_page,
        """const select = document.querySelector(".grid select");
           const shown = value => { select.value = value; select.dispatchEvent(new Event("change"));
             return [...document.querySelectorAll(".photo")].filter(photo => photo.checkVisibility()).length; };
           return [shown("mse"), shown("colorfulness"), shown("")];""",
    )
    assert answer == [3, 1, 4]


def test_the_trials_sort_and_hostile_names_are_text(sweep_page, browse):
    """Trials sort by a metric with those that have none last, both ways; a name that is a script is words to read."""
    answer = browse(
        sweep_page,
        """const heads = [...document.querySelectorAll("#trials thead button")], text = cell => cell.textContent.trim();
           const at = heads.findIndex(head => text(head).startsWith("mse")), column = n => [...document.querySelectorAll(`#trials tbody tr > :nth-child(${n})`)].map(text);
           const out = []; for (let i = 0; i < 2; i++) { heads[at].click(); out.push([heads[at].parentElement.getAttribute("aria-sort"), column(1), column(at + 1)]); }
           const evil = column(4).filter(word => word.includes("script"));
           return { out, evil: [...new Set(evil)], alts: [...document.images].filter(image => image.alt.includes("<script>")).length,
             scripts: document.scripts.length };""",
    )
    (up, first, rising), (down, second, falling) = answer["out"]
    assert (up, down) == ("ascending", "descending")
    numbers = [text for text in rising if text]
    assert len(numbers) > 3
    assert numbers == sorted(numbers, key=float)
    assert [text for text in falling if text] == numbers[::-1]
    assert rising[len(numbers) :] == falling[len(numbers) :] == [""] * (7 - len(numbers))
    assert sorted(first) == sorted(second)
    assert answer["evil"] == [EVIL]
    assert answer["alts"] == 5
    assert answer["scripts"] == 1


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("width", [1200, 360], ids=["desk", "phone"])
@pytest.mark.parametrize("name", ["colorize_page", "compare_page", "sweep_page"])
def test_readable_everywhere(request, browse, name, width, dark):
    """Contrast AA in both color schemes, no sideways scrolling at either width, a text for every picture."""
    answer = browse(request.getfixturevalue(name), CONTRAST, width=width, dark=dark)
    assert answer["dark"] == dark
    assert answer["low"] == []
    assert answer["needed"] <= width
    assert answer["unnamed"] == 0
