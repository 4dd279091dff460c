"""The page of `raycolor review` in a real browser (headless Chromium): keys, renderings, hints, filters, a phone, the dark."""

# ruff: noqa: E501 - scripts read better unbroken

import shutil

import finished_jobs
import pytest
from browser import CHROMIUM, CONTRAST, Browser
from reviewing import served, session_of

from raycolor.colorize.review_list import read_decisions
from raycolor.storage import open_store

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here: on Debian `apt install chromium`")

NAMES = ["a/0.jpg", "a/<script>alert(1)<∕script>.jpg", "b/2.jpg", "c/'\"&amp;.jpg"]

TOOLS = """
const $ = id => document.getElementById(id);
const wait = async test => { for (let i = 0; i < 2400; i++) { if (test()) return; await new Promise(done => setTimeout(done, 50)); } throw new Error(`waited for ${test}; ${$("error").textContent}`); };
const key = name => document.activeElement.dispatchEvent(new KeyboardEvent("keydown", { key: name, bubbles: true, cancelable: true }));
const shown = () => $("key").textContent;
const loaded = () => wait(() => shown() && $("after").complete && $("after").naturalWidth && $("before").naturalWidth);
const decided = async name => { const before = $("counts").textContent; key(name); await wait(() => $("counts").textContent !== before); };
"""


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    """One browser for all pages."""
    with Browser(tmp_path_factory.mktemp("profile")) as browser:
        yield browser


@pytest.fixture(scope="module")
def made(tmp_path_factory, untrained):
    """A finished job of four photographs, hostile names among them, which no test may change."""
    return finished_jobs.make(tmp_path_factory.mktemp("job"), untrained, NAMES, max_failed="1")


@pytest.fixture
def look(browser, made, tmp_path):
    """Open the page over a copy of the job and run a script; a message on the console, or a request elsewhere, fails."""
    dest = shutil.copytree(made, tmp_path / "out")

    def look(script, **how):
        with session_of(dest, checkpoint=(), saturation=(0.5, 2.0)) as session, served(session) as address:
            seen = browser.look(address, f"return (async () => {{ {TOOLS} await loaded(); {script} }})();", **how)
        assert seen.console == []
        assert [url for url in seen.requests if not url.startswith((address, f"blob:{address[:16]}"))] == []
        return seen

    look.dest = dest
    return look


def test_keys_decide_and_go_on(look):
    """a, r and s write a decision and show the next; n and p move; names are text, whatever they hold."""
    seen = look(
        """
        const names = [shown()];
        await decided("a"); await wait(() => shown() !== names[0]); names.push(shown());
        key("n"); await wait(() => shown() !== names[1]); names.push(shown());
        key("p"); await wait(() => shown() === names[1]);
        await decided("r"); await wait(() => shown() !== names[1]);
        await decided("s"); await wait(() => shown() !== names[2]);
        return [names, $("counts").textContent, document.querySelectorAll("script").length];
        """
    )
    names, counts, scripts = seen.answer
    assert names == ["a/0.jpg", "a/<script>alert(1)<∕script>.jpg", "b/2.jpg"]
    assert (counts, scripts) == ("3 of 4 decided", 2)
    found = read_decisions(open_store(look.dest)).of
    assert {name: one.decision for name, one in found.items()} == dict(
        zip(names, ("approve", "reject", "skip"), strict=True)
    )


def test_the_next_page_follows_on_what_is_left(look, monkeypatch):
    """Pages of two, one photograph decided, the other passed over: the next page begins with the third."""
    monkeypatch.setattr("raycolor.review.photographs.PAGE", 2)
    monkeypatch.setattr("raycolor.review.server.PAGE", 2)
    seen = look(
        """
        const names = [shown()];
        await decided("s"); await wait(() => shown() !== names[0]); names.push(shown());
        key("n"); await wait(() => shown() !== names[1]); names.push(shown());
        return [names, $("where").textContent];
        """
    )
    assert seen.answer == [["a/0.jpg", "a/<script>alert(1)<∕script>.jpg", "b/2.jpg"], "2 to 3 of 3 photographs"]


def test_a_rendering_and_a_hint_are_shown_and_written(look):
    """3 shows the photograph at twice the saturation, a click puts a color there, and a approves just that."""
    seen = look(
        """
        const plain = $("after").src;
        key("3"); await wait(() => $("after").src.startsWith("blob:")); const vivid = $("after").src;
        key("h"); $("color").value = "#ff0000";
        const box = $("after").getBoundingClientRect();
        $("compare").dispatchEvent(new MouseEvent("click", { clientX: box.left + box.width / 2, clientY: box.top + box.height / 4, bubbles: true }));
        await wait(() => $("after").src !== vivid && $("after").src.startsWith("blob:"));
        const dots = document.querySelectorAll(".dot").length, pressed = [...$("choices").children].map(one => one.getAttribute("aria-pressed"));
        await decided("a");
        return [dots, pressed];
        """
    )
    assert seen.answer == [1, ["false", "false", "true"]]
    (one,) = read_decisions(open_store(look.dest)).of.values()
    assert (one.key, one.decision, one.saturation) == (NAMES[0], "approve", 2.0)
    (hint,) = one.hints
    # A mouse clicks whole pixels of the window.
    assert (abs(hint.x - 32) <= 1, abs(hint.y - 12) <= 1, hint.color) == (True, True, "#ff0000")


def test_the_slider_shows_the_original_and_filters_choose(look):
    """b shows the original, the slider a part of it; a folder and a decision narrow the list; typing there decides nothing."""
    seen = look(
        """
        key("b"); const whole = $("compare").style.getPropertyValue("--at");
        $("slider").value = 30; $("slider").dispatchEvent(new Event("input")); const part = $("compare").style.getPropertyValue("--at");
        const form = $("filters").elements;
        form.folder.focus(); key("r");
        form.folder.value = "b"; form.folder.dispatchEvent(new Event("change", { bubbles: true }));
        await wait(() => shown() === "b/2.jpg");
        const listed = $("strip").children.length;
        form.folder.value = "none"; form.folder.dispatchEvent(new Event("change", { bubbles: true }));
        await wait(() => !$("none").hidden);
        return [whole, part, listed, $("counts").textContent];
        """
    )
    assert seen.answer == ["100%", "30%", 1, "0 of 4 decided"]


@pytest.mark.parametrize(("width", "dark"), [(1200, False), (1200, True), (390, False), (390, True)])
def test_it_can_be_read_on_a_phone_and_in_the_dark(look, width, dark):
    """Nothing is wider than the window, every text has a contrast of 4.5 or more, and every picture has a name."""
    seen = look(CONTRAST, width=width, dark=dark)
    assert seen.answer["low"] == []
    assert seen.answer["dark"] == dark
    assert seen.answer["needed"] <= width
    assert seen.answer["unnamed"] == 0
