"""Laws of the table: figures, files, the best of each column, and the photographs that are shown."""

import csv
import io
from dataclasses import replace

import numpy as np
import pytest

from raycolor.evaluate.examples import choose
from raycolor.evaluate.measure import Measured
from raycolor.evaluate.table import Row, best_rows, interval_text, table_csv, table_markdown
from raycolor.models.metrics import CELLS, FULL, MetricSums
from raycolor.pages.tables import COLUMNS

EVIL = "<script>alert(1)</script>|*x*"


def cell(value, half=0.0):
    return {"value": value, "low": value - half, "high": value + half}


def row(method, checkpoint="", dataset="scenes", **values):
    metrics = {name: cell(values.get(name, 0.5), 0.01) for name in FULL}
    known = {"parameters": 954434, "images_per_second": 137.2, "precision": "bf16", "input_px": 224}
    more = known if checkpoint else {}
    return Row(dataset, method, 500, metrics, 40.0, 224, checkpoint=checkpoint, **more)


@pytest.mark.parametrize(
    ("given", "text"),
    [
        (cell(0.018023, 0.00081), "0.01802 ± 0.00081"),
        (cell(23.1234, 0.214), "23.12 ± 0.21"),
        (cell(48.3, 11.2), "48 ± 11"),
        (cell(1234.5, 150.0), "1234 ± 150"),
        (cell(0.3912), "0.3912"),
        (cell(1.7e-5, 1e-6), "0"),
    ],
)
def test_half_the_interval_has_two_digits(given, text):
    """The value has as many decimals as its uncertainty; a single photograph has none; rounding reads 0."""
    assert interval_text(given) == text


def test_csv_holds_every_number_and_any_text():
    """Each metric with the ends of its interval; a hostile name comes back as it was."""
    rows = [row("gray", mse=0.02), row(EVIL + '",\n=1', checkpoint="a,b")]
    found = list(csv.DictReader(io.StringIO(table_csv(rows).decode())))
    assert [line["method"] for line in found] == ["gray", EVIL + '",\n=1']
    assert [float(found[0][name]) for name in ("mse", "mse_low", "mse_high")] == [0.02, 0.01, 0.03]
    assert set(FULL) <= set(found[0])
    assert (found[0]["images_per_second"], found[1]["images_per_second"]) == ("", "137.2")
    assert found[1]["checkpoint"] == "a,b"


def test_markdown_shows_text_as_text():
    """One line per row with as many cells as the head; neither HTML nor a bar of a name gets through."""
    rows = [row("gray"), row(EVIL, "a", mse=0.1), row("other", "b", mse=0.2)]
    heading, table, _ = table_markdown(rows, ["a | note"]).decode().split("\n\n")
    assert heading == "scenes: measured on the central 224 px of 500 photographs"
    lines = table.splitlines()
    count = lines[0].replace("\\|", "").count("|")
    assert [line.replace("\\|", "").count("|") for line in lines[:5]] == [count] * 5
    assert "<script>" not in "".join(lines)
    assert "&lt;script&gt;" in lines[3]
    assert "**0.100 ± 0.010**" in lines[3]
    assert "954,434 | 224 | 137 (bf16) | – |" in lines[3]
    theirs = replace(row("theirs", "c"), parameters=None, precision="", license="CC-BY-NC|4")
    assert "| – | 224 | 137 | CC-BY-NC\\|4 |" in table_markdown([theirs]).decode()
    assert table_csv([theirs]).decode().splitlines()[1].endswith("CC-BY-NC|4")
    assert "| – | – |" in lines[2]


def test_the_best_is_the_best_checkpoint_of_its_dataset():
    """Higher or lower as the metric has it; floors and colorfulness take no part, a lone checkpoint has no rival."""
    rows = [
        row("gray", mse=0.0, psnr_db=99),
        row("a", "a", mse=0.1, psnr_db=20, colorfulness=1),
        row("b", "b", mse=0.2, psnr_db=30, colorfulness=9),
        row("a", "a", dataset="people", mse=0.0),
    ]
    best = best_rows(rows)
    assert {(1, "mse"), (2, "psnr_db")} <= best
    assert {at for at, _ in best} == {1, 2}
    assert "colorfulness" not in {name for _, name in best}


def sums(**values):
    """Metrics of photographs `0`, `1`, ...; one ab cell holds everything."""
    count = len(next(iter(values.values())))
    area = np.zeros((count, CELLS * CELLS), np.float32)
    area[:, 0] = values.get("auc", np.ones(count))
    pixels = np.zeros_like(area)
    pixels[:, 0] = 1
    full = {name: list(values.get(name, np.zeros(count))) for name in (*FULL, "delta_e00_gray", "colorfulness_truth")}
    return MetricSums(True, [str(k) for k in range(count)], full, list(area), list(pixels))


def test_choose_takes_best_median_and_worst_of_the_networks_mean():
    """Low mse and high PSNR are good, colorfulness has most and least; floors do not count; each photograph once."""
    networks = [
        sums(mse=[1, 5, 3, 2, 9], psnr_db=[9, 1, 3, 4, 2], colorfulness=[5, 4, 3, 2, 1]),
        sums(mse=[2, 6, 3, 2, 9], psnr_db=[9, 1, 3, 4, 2], colorfulness=[5, 4, 3, 2, 1]),
    ]
    floors = [sums(mse=[9, 1, 1, 1, 0])] * 2
    picks = choose(Measured(5, [*floors, *networks], [], [], "cpu", "fp32"))
    assert len({pick.id for pick in picks}) == len(picks)
    roles = {(name, role): pick.id for pick in picks for name, role in pick.roles.items()}
    assert [roles["mse", role] for role in ("best", "median", "worst")] == ["0", "2", "4"]
    assert [roles["psnr_db", role] for role in ("best", "median", "worst")] == ["0", "2", "1"]
    assert [roles["colorfulness", role] for role in ("most", "median", "least")] == ["0", "2", "4"]
    assert next(pick for pick in picks if pick.id == "0").values["mse"] == [1, 2]
    assert {name for name, _ in roles} == set(FULL)


def test_columns_are_the_metrics_in_the_order_of_the_design():
    """Every metric of DESIGN.md 5, each explained; ST-LPIPS is never called LPIPS."""
    assert [column.key for column in COLUMNS] == [*FULL, "st_lpips"]
    assert all(len(column.meaning) > 20 for column in COLUMNS)
    assert "lpips" not in {column.key for column in COLUMNS}
