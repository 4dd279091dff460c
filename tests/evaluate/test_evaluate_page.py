"""Laws of the page of an evaluation: self-contained, and text is text."""

import html
import json
import re
from html.parser import HTMLParser

import numpy as np
import pytest

from raycolor.evaluate.comparison import Shown
from raycolor.evaluate.examples import Pick
from raycolor.evaluate.page import evaluation_page
from raycolor.pages.plots import Named, axis_of, named_points
from raycolor.pages.render import Figure
from raycolor.pages.tables import TableCell, TableHead

EVIL = '</td><script>alert("x")</script>\' onload=y'


class Reader(HTMLParser):
    """Collects tags, attributes and text."""

    def __init__(self):
        super().__init__()
        self.tags, self.text = [], ""

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.text += data


@pytest.fixture(scope="module")
def page():
    pictures = [np.full((200, 200, 3), value, np.uint8) for value in (10, 90, 200)]
    scale = axis_of(EVIL, [0.0, 1.0])
    chart = named_points([Named(EVIL, (0.5, 0.4, 0.6), (0.1, 0.0, 0.2), "#123456", EVIL)], scale, scale, (0.9, EVIL))
    return evaluation_page(
        headings=["scenes: measured on the central 224 px of 3 photographs"],
        heads=[TableHead("method", number=False), TableHead("mse", "lower")],
        rows=[[TableCell(EVIL, EVIL, hint=EVIL, below=EVIL), TableCell("0.01", 0.01, True, "0 to 1", "± 0.002")]],
        methods=[EVIL],
        photographs=[Shown(EVIL, Pick(0, EVIL, {"mse": "best"}, {"mse": [0.01234]}), pictures)],
        metrics=[("mse", "mse", "Mean squared error.")],
        notes=[EVIL],
        figures={EVIL: [Figure(EVIL, chart)]},
        facts={"Checkpoints": {EVIL: EVIL}},
    )


@pytest.fixture(scope="module")
def read(page):
    reader = Reader()
    reader.feed(page)
    return reader


def test_hostile_names_show_as_text(page, read):
    """Keys and names of any characters make no tag and no attribute, and can be read."""
    scripts = [attrs for tag, attrs in read.tags if tag == "script"]
    assert len(scripts) == 1
    assert not [attrs for _, attrs in read.tags if "onload" in attrs]
    assert '</td><script>alert("x")' not in page
    assert EVIL in read.text
    article = next(attrs for tag, attrs in read.tags if tag == "article")
    assert json.loads(article["data-roles"]) == {"mse": "best"}
    assert json.loads(article["data-values"]) == {"mse": ["", "0.0123", ""]}


def test_the_page_needs_nothing_else(page, read):
    """Every picture is embedded, once; there is no address in it."""
    images = [attrs["src"] for tag, attrs in read.tags if tag == "img"]
    assert len(images) == len(set(images)) == 3
    assert all(source.startswith("data:image/jpeg;base64,") for source in images)
    assert not re.search(r"(src|href)=\"(?!data:|#)", page)
    assert "://" not in html.unescape(page)


def test_the_table_tells_values_intervals_and_the_best(page):
    """A cell is sorted by its number, the interval stands below, the best is bold."""
    assert '<td data-sort="0.01" class="number" title="0 to 1"><b>0.01</b>' in page
    assert '<span class="below soft">± 0.002</span>' in page
