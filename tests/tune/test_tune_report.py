"""Laws of a sweep's report: made from records alone, at any moment, text is text, and the best can be made again."""

import html
import io
import itertools
import json
import re
import shlex
from html.parser import HTMLParser

import numpy as np
import pyarrow.parquet as pq
import pytest
from madesweep import EVIL, SETTINGS, write_sweep

from raycolor.config import load_config
from raycolor.pages.plots import Dot, Line, axis_of, line_chart, number_text, ramp, scatter
from raycolor.train.config import TrainConfig
from raycolor.tune.page_content import Results
from raycolor.tune.records import Trial, trial_folder
from raycolor.tune.report import Reporter, configuration_yaml, pictured, reproduce


@pytest.fixture
def sweep(tmp_path):
    """A sweep of seven trials in every state, its dataset, and checkpoints of those that have one."""
    return write_sweep(tmp_path)


class Reader(HTMLParser):
    """Collects tags, attributes and text."""

    def __init__(self):
        super().__init__()
        self.tags, self.text = [], ""

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.text += data


def read(records):
    page = records.store.get("report/index.html").decode()
    reader = Reader()
    reader.feed(page)
    return page, reader


def test_the_report_of_a_sweep_in_the_middle(sweep, monkeypatch, tmp_path):
    """Every trial is in page and tables; the best is among those that ended well; five photographs by three trials."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    records, plan = sweep
    results = Reporter(records, plan).write(frozenset({5}))
    assert [trial.status for trial in results.trials][4:] == ["failed", "running", "waiting"]
    assert {trial.number for trial in results.good} == {0, 1, 2, 3}
    assert results.best.number == 0
    page, reader = read(records)
    images = [attrs["src"] for tag, attrs in reader.tags if tag == "img"]
    assert len(images) == 5 * (1 + 3 + 1)
    assert all(source.startswith("data:image/jpeg;base64,") for source in images)
    assert not re.search(r"(src|href)=\"(?!data:|#)", page)
    assert "://" not in html.unescape(page)
    assert "4 of 7 trials have ended" not in page
    assert "5 of 7 trials have ended" in page
    table = pq.read_table(io.BytesIO(records.store.get("report/trials.parquet"))).to_pydict()
    assert table["status"] == ["finished", "finished", "stopped", "finished", "failed", "running", "waiting"]
    assert table["mse"][0] == pytest.approx(0.1 / 3)
    assert records.store.get("report/curves.csv").count(b"\n") == 1 + 3 + 3 + 1 + 3 + 2 + 2
    summary = json.loads(records.store.get("report/summary.json"))
    assert summary["counts"] == {"finished": 3, "stopped": 1, "failed": 1, "running": 1, "waiting": 1}
    assert summary["best"]["trial"] == 0


def test_hostile_names_show_as_text(sweep):
    """Values, keys of photographs, and reasons of any characters make no tag and no attribute."""
    records, plan = sweep
    Reporter(records, plan).write()
    page, reader = read(records)
    assert len([tag for tag, _ in reader.tags if tag == "script"]) == 1
    assert not [attrs for _, attrs in reader.tags if "onload" in attrs]
    assert "<script>alert" not in page
    assert reader.text.count(EVIL) > 10
    tags = {tag for tag, _ in reader.tags}
    assert {"svg", "path", "text"} <= tags


def test_who_is_pictured(sweep):
    """The best, and the lowest, median and highest value of its first number, each trial once with all that it is."""
    records, plan = sweep
    shown = {trial.number: roles for trial, roles in pictured(Results(plan, records.trials()))}
    assert shown == {0: ["best", "lowest"], 2: ["median"], 3: ["highest"]}


def test_a_sweep_without_an_end_has_a_report(sweep):
    """Before the first epoch there is a page, and while no trial has ended the best of those begun is the best."""
    records, plan = sweep
    for number in range(7):
        records.store.delete(f"{trial_folder(number)}/outcome.json")
    results = Reporter(records, plan).write()
    assert results.best.number == 0
    assert "the same command goes on with it" in read(records)[0]
    for number in range(7):
        records.store.delete(f"{trial_folder(number)}/curve.csv")
    results = Reporter(records, plan).write()
    assert results.best is None
    assert "0 of 7 trials have ended" in read(records)[0]


def test_a_checkpoint_that_cannot_be_read_costs_pictures_only(sweep):
    """A damaged checkpoint leaves the page without pictures."""
    records, plan = sweep
    records.store.put(f"{trial_folder(0)}/weights.safetensors", b"broken")
    Reporter(records, plan).write()
    assert "<img" not in read(records)[0]


def test_the_command_makes_the_best_again(tmp_path):
    """Read by the command line, command and best.yaml both give exactly the trial's settings."""
    trial = Trial(0, {}, SETTINGS)
    words = shlex.split(reproduce(SETTINGS, "/data/it's here"))
    assert words[:3] == ["raycolor", "train", "gan"]
    sets = [word for before, word in itertools.pairwise(words) if before == "--set"]
    flags = {"method": words[2], "data": words[words.index("--data") + 1], "out": words[words.index("--out") + 1]}
    config = load_config(TrainConfig, sets=sets, flags=flags)
    assert config.data == "/data/it's here"
    assert config.model_dump(mode="json", exclude={"data", "out", "address"}) == SETTINGS
    (tmp_path / "best.yaml").write_text(configuration_yaml(trial))
    again = load_config(TrainConfig, file=str(tmp_path / "best.yaml"), flags={"data": "d", "out": "o"})
    assert again.model_dump(mode="json", exclude={"data", "out", "address"}) == SETTINGS


def test_scales_hold_their_values():
    """Every value lies on its axis; equal values, one value and words work too."""
    for values, log in [
        ([1, 1000, 30], True),
        ([5.0], False),
        ([0, 0], False),
        ([1e-9, 3e-9], True),
        ([3.1, 3.3], True),
    ]:
        axis = axis_of("x", values, log=log)
        assert all(0 <= axis.at(value) <= 1 for value in values)
    words = axis_of("x", ["b", "a", None])
    assert (words.words, words.at("a"), words.number(None)) == (("None", "a", "b"), 0.5, 0.0)
    for text in words.words:
        assert f">{text}</text>" in scatter([Dot("a", 1, ramp(0), "one")], words, axis_of("y", [1]))
    assert axis_of("epoch", [1, 2]).whole


def test_numbers_and_colors():
    """Numbers are written short, colors are of six digits, and a curve of one point is drawn too."""
    assert [number_text(value) for value in (0.0, 1e-5, 0.0123456, 99.999, 123456.0)] == [
        "0", "1e-5", "0.01235", "100", "1.23e5",
    ]  # fmt: skip
    assert all(re.fullmatch("#[0-9a-f]{6}", ramp(share)) for share in np.linspace(-1, 2, 7))
    svg = line_chart([Line([(1, 2)], ramp(0), "one <b>")], axis_of("x", [1]), axis_of("y", [2]))
    assert svg.count("<title>one &lt;b&gt;</title>") == 2
    assert ramp(0) in svg
