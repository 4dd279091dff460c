"""The scripts of docs/training, run as docs/results.md runs them, on made photographs."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import cv2
import photographs
import pytest
import torch
from labset import write_dataset_of

from raycolor.models import checkpoints
from raycolor.models.build import build_model

SCRIPTS = Path(__file__).parents[2] / "docs" / "training"
SMALL = {"head": "bins", "widths": [16, 16, 8, 8], "convs": 1, "output_stride": 4, "frozen_blocks": 2}


def run(script: str, *given: object) -> str:
    """Run a script as a user does, and return what it prints."""
    command = [sys.executable, str(SCRIPTS / script), *map(str, given)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> Path:
    """Make a folder with two networks, a Lab dataset and a few color photographs."""
    folder = tmp_path_factory.mktemp("recipe")
    for seed, name in enumerate("ab"):
        torch.manual_seed(seed)
        network = build_model("unet", SMALL, pretrained=False).eval()
        torch.nn.init.normal_(network.head.conv.weight, std=0.5)
        torch.nn.init.normal_(network.head.conv.bias)  # it begins with gray
        checkpoints.save(
            folder / name, network, method="unet", training={"crop_px": 64}, dataset={"image_size": 64}, metrics={}
        )
    write_dataset_of(folder / "dataset", train=32, size_px=64)
    (folder / "color").mkdir()
    for number in range(3):
        cv2.imwrite(str(folder / "color" / f"{number}.png"), photographs.color_pixels(64, 96, number))
    return folder


def state(folder: Path) -> dict[str, torch.Tensor]:
    return {key: weight.float() for key, weight in checkpoints.load(str(folder)).weights.items()}


@pytest.mark.slow
def test_averaging_takes_a_share_of_each(trained, tmp_path):
    """Every weight lies between the two, at the share that was asked for."""
    run("average.py", tmp_path / "mean", trained / "a", trained / "b", 0.25)
    one, other, mean = state(trained / "a"), state(trained / "b"), state(tmp_path / "mean")
    assert all(torch.allclose(mean[key], 0.75 * one[key] + 0.25 * other[key], atol=1e-5) for key in one)


@pytest.mark.slow
def test_counting_anew_changes_what_normalization_saw_and_no_weight(trained, tmp_path):
    """Layers that were frozen keep theirs; the size is that asked for; the same photographs give the same bytes."""
    for name in ("one", "two"):
        run("recount.py", trained / "a", trained / "dataset", tmp_path / name, 96, 16)
    before, after = state(trained / "a"), state(tmp_path / "one")
    changed = {key for key in before if not torch.equal(before[key], after[key])}
    assert {key.rsplit(".", 1)[1] for key in changed} <= {"running_mean", "running_var", "num_batches_tracked"}
    assert {key.split(".")[0] for key in changed} == {"encoder", "levels"}
    assert not [key for key in changed if re.match(r"encoder\._(bn0|blocks\.[01])\.", key)]
    assert checkpoints.load(str(tmp_path / "one")).model().input_px == 96
    assert len({(tmp_path / name / checkpoints.WEIGHTS_FILE).read_bytes() for name in ("one", "two")}) == 1


@pytest.mark.slow
def test_a_member_comes_out_of_an_ensemble_as_it_went_in(trained, tmp_path):
    """To be trained further."""
    run("ensemble.py", "--mirror", tmp_path / "both", trained / "a", trained / "b")
    run("ensemble.py", "--member", 1, tmp_path / "both", tmp_path / "b")
    went_in, came_out = state(trained / "b"), state(tmp_path / "b")
    assert went_in.keys() == came_out.keys()
    assert all(torch.equal(went_in[key], came_out[key]) for key in went_in)


@pytest.mark.slow
def test_ways_of_reading_are_compared_at_one_chroma(trained, tmp_path):
    """A row for gray and for each way; twice the chroma is twice the saturation, for one network and for two."""
    run("ensemble.py", tmp_path / "both", trained / "a", trained / "b")
    for checkpoint in (trained / "a", tmp_path / "both"):
        tables = [
            [line.split(" | ") for line in run("reading.py", checkpoint, chroma, trained / "color").splitlines()[2:]]
            for chroma in (5, 10)
        ]
        assert [len(table) for table in tables] == [18, 18]
        assert "gray" in tables[0][0][1]
        for faint, vivid in zip(*(table[1:] for table in tables), strict=True):
            assert faint[1:3] == vivid[1:3]
            assert float(vivid[3]) == pytest.approx(2 * float(faint[3]), abs=0.02)
            assert 0 <= float(vivid[5].strip(" |")) <= 1


@pytest.mark.slow
def test_the_truth_is_measured_through_colorize(trained):
    """The truth has no error, gray has no color, and a network some of both."""
    table = run("truth.py", trained / "a", "--data", trained / "color", "--workers", 1).splitlines()
    rows = {cells[2]: [float(cell.split(" ±")[0] or 0) for cell in cells[3:6]] for cells in cells_of(table[2:])}
    assert rows["truth"][0] == 0
    assert rows["gray"][0] > 1
    assert rows["gray"][1:] == [0, 0]
    assert min(rows["a"]) > 0


def cells_of(lines: list[str]) -> list[list[str]]:
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
