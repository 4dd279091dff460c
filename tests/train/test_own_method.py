"""A method of one's own: the guide of docs/own-network.md, followed word by word on a copy of the package."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import photographs
import pytest
from labset import write_dataset_of

ROOT = Path(__file__).parents[2]

TRAIN = """
from raycolor import Colorizer
from raycolor.train import train
from raycolor.train.config import TrainConfig

config = TrainConfig(method="dilated", data="dataset", out="run", epochs=2, crop_px=32, batch_size=4, precision="fp32",
                     network={"width": 8})
assert len(train(config, ray=False).curve) == 2
Colorizer("run")("gray.png").save("color.png")
"""


def follow(folder):
    """Write the files of the guide below a folder, and change others as its diff says."""
    page = (ROOT / "docs" / "own-network.md").read_text(encoding="utf-8")
    guide = page[page.index("## A method") :]
    for name, text in re.findall(r"```python\n# \./(\S+),.*?\n(.*?)```", guide, re.S):
        (folder / name).write_text(text)
    (diff,) = re.findall(r"```diff\n(.*?)```", guide, re.S)
    for name, changes in re.findall(r"--- (\S+)\n(.*?)(?=\n--- |\Z)", diff, re.S):
        text = (folder / name).read_text()
        for hunk in changes.strip("\n").split("\n@@\n"):
            lines = hunk.split("\n")
            old, new = ("\n".join(line[1:] for line in lines if line[0] in " " + sign) for sign in "-+")
            assert text.count(old) == 1, f"{name} has no longer {old!r}"
            text = text.replace(old, new)
        (folder / name).write_text(text)


@pytest.mark.slow
def test_a_method_of_ones_own_trains_and_colorizes(tmp_path):
    """The tests of networks run over it, it trains in one process, and its run folder is a checkpoint."""
    shutil.copytree(ROOT / "raycolor", tmp_path / "raycolor", ignore=shutil.ignore_patterns("weights"))
    (tmp_path / "tests" / "models").mkdir(parents=True)
    shutil.copy(ROOT / "tests" / "models" / "test_networks.py", tmp_path / "tests" / "models")
    follow(tmp_path)
    write_dataset_of(tmp_path / "dataset", train=8, val=4)
    photographs.write_all(tmp_path, {"gray.png": photographs.encoded(photographs.gray_pixels(), "png")})
    for command in (
        ["-c", TRAIN],
        ["-m", "pytest", "-q", "-c", "/dev/null", "tests/models/test_networks.py", "-k", "dilated"],
    ):
        done = subprocess.run(
            [sys.executable, *command], cwd=tmp_path, env={"PYTHONPATH": ".", "PATH": "/usr/bin:/bin"},
            capture_output=True, text=True, timeout=500,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
    assert "passed" in done.stdout
    assert (tmp_path / "color.png").read_bytes() != (tmp_path / "gray.png").read_bytes()
