"""docs/python.md does what it says: its blocks run in order, as a reader would run them."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from photographs import color_pixels, encoded, write_all

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs/python.md"
COLORIZING, TRAINING = PAGE.read_text(encoding="utf-8").split("## A network of your own\n")


def blocks_of(text, language):
    return re.findall(rf"```{language}\n(.*?)```", text, flags=re.DOTALL)


def test_the_python_page_colorizes(tmp_path, monkeypatch):
    """Up to the training no block raises, every assertion in them holds, and the files they name are there."""
    shutil.copytree(ROOT / "docs/sample", tmp_path / "sample")
    monkeypatch.chdir(tmp_path)
    blocks = blocks_of(COLORIZING, "python")
    assert len(blocks) >= 6
    namespace = {"__name__": "page"}
    for number, block in enumerate(blocks):
        exec(compile(block, f"{PAGE.name}, block {number}", "exec"), namespace)
    made = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()}
    assert {"color.jpg", "color.png", "other.png", "vivid.jpg"} <= made
    assert sum(name.startswith("colored/") for name in made) == 2


@pytest.mark.ray
@pytest.mark.slow
def test_the_python_page_trains_and_compares(tmp_path):
    """From color photographs to a dataset, a network, a photograph of its colors, and a page that compares it."""
    shutil.copytree(ROOT / "docs/sample", tmp_path / "sample")
    write_all(tmp_path, {f"Pictures/{k}.jpg": encoded(color_pixels(260, 300, seed=k)) for k in range(40)})
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    [prepare] = blocks_of(TRAINING, "bash")
    script = "\n".join(blocks_of(TRAINING, "python"))
    for command in (["bash", "-ec", prepare], [sys.executable, "-c", script]):
        done = subprocess.run(
            command, cwd=tmp_path, env=os.environ | {"PATH": path}, capture_output=True, text=True, timeout=500
        )
        assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1].endswith("/comparison/index.html")
    for name in ("runs/mine/checkpoint.json", "mine.jpg", "comparison/index.html", "comparison/table.csv"):
        assert (tmp_path / name).stat().st_size
