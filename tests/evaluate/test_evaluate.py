"""Laws of evaluate, on a real Ray."""

import csv
import functools
import io
import json
import re
from dataclasses import FrozenInstanceError

import numpy as np
import pytest
from labset import write_checkpoint, write_dataset_of

from raycolor import cli
from raycolor.evaluate import driver, evaluate
from raycolor.evaluate.check import check
from raycolor.evaluate.config import EvaluateConfig
from raycolor.evaluate.driver import compare
from raycolor.evaluate.table import table_csv
from raycolor.models import checkpoints
from raycolor.models.metrics import MetricSums
from raycolor.storage import open_store

pytestmark = pytest.mark.ray

EVIL = "<script>alert(1)<"


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Two checkpoints, a dataset with a hostile key, and one of another size without photographs to train on."""
    root = tmp_path_factory.mktemp("evaluate")
    scenes = write_dataset_of(
        root / "scenes", val=19, ids=lambda split, k: EVIL if (split, k) == ("val", 0) else f"{split}/{k}.jpg"
    )
    people = write_dataset_of(root / "people", train=0, val=3, size_px=44, seed=9)
    write_checkpoint(root / "one", seed=1, scale=0.2)
    write_checkpoint(root / "two", seed=2, scale=0.2)
    return root, scenes, people


def compared(root, checkpoint, data, **more):
    """Compare in this process' Ray, without a report."""
    config = EvaluateConfig(checkpoint=checkpoint, data=data, out=str(root / "unused"), precision="fp32", **more)
    return compare(check(config), cache_dir=str(root / "cache"))


def without_rate(data):
    rows = list(csv.DictReader(io.StringIO(data.decode())))
    for row in rows:
        row.pop("images_per_second")
    return rows


@pytest.fixture(scope="module")
def report(ray_local, made):
    """The report of both checkpoints on both datasets, by the command with one worker."""
    root = made[0]
    patch = pytest.MonkeyPatch()
    patch.setattr(driver, "compare", functools.partial(compare, cache_dir=str(root / "cache")))
    patch.chdir(root)
    given = ["one", "two", "--data", "scenes", "--data", "people", "--out", "report", "--precision", "fp32"]
    try:
        assert cli.run(["evaluate", *given, "--workers", "1"]) == 0
    finally:
        patch.undo()
    return root / "report"


def test_workers_change_no_figure(report, made, ray_local):
    """table.csv of two workers is that of one, but for the images per second."""
    root = made[0]
    data = [str(root / "scenes"), str(root / "people")]
    with pytest.MonkeyPatch().context() as patch:
        patch.chdir(root)
        two = compared(root, ["one", "two"], data, workers=2)
    assert without_rate(table_csv(two.rows)) == without_rate((report / "table.csv").read_bytes())


def test_python_gets_what_the_command_writes(report, made, ray_local, tmp_path):
    """`evaluate(config)` returns the rows of table.csv and where the page lies, and counts on its way."""
    root = made[0]
    counts = []
    config = EvaluateConfig(
        checkpoint=[str(root / "one"), str(root / "two")],
        data=[str(root / "scenes"), str(root / "people")],
        out=str(tmp_path),
        precision="fp32",
        workers=1,
    )
    with pytest.MonkeyPatch().context() as patch:
        patch.setattr(driver, "compare", functools.partial(compare, cache_dir=str(root / "cache")))
        result = evaluate(config, on_progress=lambda done, total: counts.append((done, total)))
    rows = without_rate(table_csv(result.rows))
    command = without_rate((report / "table.csv").read_bytes())
    assert [row | {"checkpoint": ""} for row in rows] == [row | {"checkpoint": ""} for row in command]
    assert (result.page, result.table) == (str(tmp_path / "index.html"), str(tmp_path / "table.csv"))
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(path.name for path in report.iterdir())
    assert counts[-1] == (22, 22)
    with pytest.raises(FrozenInstanceError, match="rows"):
        result.rows = []


def test_flip_is_measured_and_said(report, made, ray_local):
    """With the mirror image's colors the networks' figures are others, the floors' are the same, and a note says so."""
    root = made[0]
    flipped = compared(root, str(root / "one"), str(root / "scenes"), tta="flip", workers=1)
    rows = without_rate((report / "table.csv").read_bytes())
    assert any("mirror image" in note for note in flipped.notes)
    mse = [float(row["mse"]) for row in without_rate(table_csv(flipped.rows))]
    plain = [float(row["mse"]) for row in rows[:3]]
    assert mse[:2] == plain[:2]
    assert mse[2] != plain[2]


def test_rows_agree_with_a_direct_computation(report, made):
    """Two floors and two checkpoints per dataset, in this order; each value is the mean over the made photographs."""
    root, scenes, people = made
    rows = list(csv.DictReader(io.StringIO((report / "table.csv").read_text())))
    assert [(row["dataset"], row["method"]) for row in rows] == [
        (data, method) for data in ("scenes", "people") for method in ("gray", "mean color", "one", "two")
    ]
    assert [row["n"] for row in rows] == ["19"] * 4 + ["3"] * 4
    train = scenes["train"][2].astype(float)
    mean = train.mean((0, 2, 3)).reshape(1, 2, 1, 1)
    for at, (_, L, ab) in enumerate((scenes["val"], people["val"])):
        top = (L.shape[1] - 32) // 2
        place = (..., slice(top, top + 32), slice(top, top + 32))
        truth = ab[place].astype(float)
        assert float(rows[4 * at]["mse"]) == pytest.approx(np.mean((truth / 110) ** 2), rel=1e-4)
        assert float(rows[4 * at + 1]["mse"]) == pytest.approx(np.mean(((truth - mean) / 110) ** 2), rel=1e-4)
        close = np.hypot(*np.moveaxis(truth - mean, 1, 0)) <= 10
        assert float(rows[4 * at + 1]["accuracy_10"]) == pytest.approx(close.mean(), abs=1e-3)
        sums = whole(root / "one", L[place], ab[place])
        for name, cell in sums.result(seed=0).items():
            found = [float(rows[4 * at + 2][key]) for key in (name, f"{name}_low", f"{name}_high")]
            assert found == pytest.approx([cell["value"], cell["low"], cell["high"]], rel=2e-3, abs=1e-4), name
    assert {row["measured_px"] for row in rows} == {"32"}
    parameters = sum(value.numel() for value in checkpoints.load(root / "one").model().parameters())
    assert rows[2]["parameters"] == str(parameters)
    assert float(rows[2]["images_per_second"]) > 0
    assert (rows[2]["precision"], rows[0]["precision"]) == ("fp32", "")


def whole(folder, L, ab):
    """Measure a checkpoint on all photographs in one batch."""
    import torch

    network = checkpoints.load(folder).model()
    L_net = torch.tensor(L[:, None] / 2.55 / 50 - 1, dtype=torch.float32)
    sums = MetricSums()
    with torch.no_grad():
        sums.add(L_net, network(L_net), torch.tensor(ab / 110, dtype=torch.float32), [str(k) for k in range(len(L))])
    return sums


def test_the_report_is_whole(report):
    """A page with every chosen photograph and the hostile key as text, a Markdown table, and a summary."""
    page = (report / "index.html").read_text()
    assert "<script>alert(1)" not in page
    shown = set(re.findall(r'<span class="key soft">(.*?)</span>', page))
    assert shown <= {f"val/{k}.jpg" for k in range(19)} | {"&lt;script&gt;alert(1)&lt;"}
    assert page.count("<article") >= 6
    assert page.count("<img") == 4 * page.count("<article")
    assert "people has no photographs to train on: its mean color is that of scenes." in page
    assert (report / "table.md").read_text().count("\n| ") == 10
    summary = json.loads((report / "summary.json").read_text())
    assert summary["datasets"]["scenes"]["images"] == 19
    assert sorted(path.name for path in report.iterdir()) == ["index.html", "summary.json", "table.csv", "table.md"]


def refused(arguments, capsys, root):
    """Run the command from `root`; return its exit code and its one line."""
    with pytest.MonkeyPatch().context() as patch:
        patch.chdir(root)
        patch.setattr(driver, "compare", functools.partial(compare, cache_dir=str(root / "no-cache")))
        code = cli.run(["evaluate", *arguments])
    error = [line for line in capsys.readouterr().err.splitlines() if line.startswith("raycolor: ")]
    assert len(error) == 1
    return code, error[0]


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["--data", "scenes", "--out", "r"], 2, "checkpoint is missing"),
        (["one", "--out", "r"], 2, "data is missing"),
        (["one", "--data", "scenes"], 2, "out is missing"),
        (["none", "--data", "scenes", "--out", "r"], 1, "none: no such checkpoint: name a folder, or one"),
        (["one", "one", "--data", "scenes", "--out", "r"], 2, "one: named twice"),
        (["one", "--data", "nowhere", "--out", "r"], 2, "nowhere: no such folder"),
        (["one", "--data", "one", "--out", "r"], 1, "one: not a dataset (no dataset.json)"),
        (["one", "--data", "people", "--split", "train", "--out", "r"], 1, "no photographs in split 'train' (it holds"),
        (["one", "--data", "people", "--out", "r"], 1, "no photographs in train, whose mean is the floor"),
        (["one", "--data", "scenes", "--out", "scenes/dataset.json"], 1, "scenes/dataset.json"),
        (["one", "--data", "scenes", "--out", "r", "--network-size", "96"], 2, "stores squares of 40 px"),
        (["one", "--data", "scenes", "--out", "r", "--network-size", "34"], 1, "one: takes multiples of 4 px, not 34"),
        (["one", "--data", "scenes", "--out", "r", "--workers", "99"], 2, "--workers 99: the cluster has 3 CPUs"),
        (["one", "--data", "scenes", "--out", "r", "--use-gpu"], 2, "--use-gpu: the cluster has no GPU"),
        (["one", "--data", "scenes", "--out", "r", "--network-size", "big"], 2, 'network_size = "big"'),
    ],
)
def test_bad_input_is_one_line(arguments, code, message, capsys, made, ray_local):
    """What, which value, how to mend it: before any worker is started."""
    found, error = refused(arguments, capsys, made[0])
    assert message in error
    assert found == code


def test_other_versions_and_other_networks_are_refused(capsys, made, ray_local, tmp_path):
    """A dataset of another format version, and the autoencoder, whose size is fixed."""
    root = made[0]
    write_dataset_of(tmp_path / "new")
    facts = json.loads((tmp_path / "new" / "dataset.json").read_text())
    (tmp_path / "new" / "dataset.json").write_text(json.dumps(facts | {"format_version": 99}))
    given = ["one", "--data", str(tmp_path / "new"), "--out", str(tmp_path / "r")]
    assert "format_version = 99: this raycolor reads 1" in refused(given, capsys, root)[1]
    write_checkpoint(tmp_path / "fixed", name="autoencoder", network={}, crop_px=224)
    given = [str(tmp_path / "fixed"), "--data", "scenes", "--network-size", "full", "--out", str(tmp_path / "r")]
    assert "fixed: takes 224 px only, not --network-size 40" in refused(given, capsys, root)[1]


@pytest.mark.parametrize(("split", "word"), [("train", "damaged"), ("val", "missing")])
def test_bad_shards_are_one_line(split, word, capsys, made, ray_local, tmp_path):
    """A shard whose bytes changed and one that is gone, whichever worker finds out."""
    write_dataset_of(tmp_path / "data", seed=len(word))
    path = tmp_path / "data" / split / "part-00000.parquet"
    if word == "damaged":
        path.write_bytes(path.read_bytes()[:-9] + b"123456789")
    else:
        path.unlink()
    given = ["one", "--data", str(tmp_path / "data"), "--out", str(tmp_path / "r")]
    code, error = refused(given, capsys, made[0])
    assert f"{split}/part-00000.parquet: shard is {word}" in error
    assert code == 1


@pytest.mark.slow
def test_everything_may_lie_in_s3(s3, ray_local, made):
    """Checkpoint, dataset and report in S3 give the same table as folders."""
    root = made[0]
    places = {name: open_store(s3.uri()) for name in ("one", "scenes", "report")}
    for name in ("one", "scenes"):
        for path in (root / name).rglob("*"):
            if path.is_file():
                places[name].put(path.relative_to(root / name).as_posix(), path.read_bytes())
    given = [places["one"].uri, "--data", places["scenes"].uri, "--out", places["report"].uri, "--precision", "fp32"]
    assert cli.run(["evaluate", *given]) == 0
    local = compared(root, str(root / "one"), str(root / "scenes"))
    names = ("dataset", "method", "checkpoint")
    strip = [{k: v for k, v in row.items() if k not in names} for row in without_rate(table_csv(local.rows))]
    found = without_rate(places["report"].get("table.csv"))
    assert [{k: v for k, v in row.items() if k not in names} for row in found] == strip
