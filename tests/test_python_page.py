"""docs/python.md does what it says: its blocks run in order in one namespace, as a reader would run them."""

import re
import shutil
from pathlib import Path

import labset

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs/python.md"


def test_the_python_page_runs(tmp_path, monkeypatch):
    """No block raises, every assertion in them holds, and the files they name are there."""
    shutil.copytree(ROOT / "docs/sample", tmp_path / "sample")
    labset.write_checkpoint(tmp_path / "runs/mine")  # stands for the training, which takes longer than a test may
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), flags=re.DOTALL)
    assert len(blocks) >= 7
    namespace = {"__name__": "page"}
    for number, block in enumerate(blocks):
        exec(compile(block, f"{PAGE.name}, block {number}", "exec"), namespace)
    made = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()}
    assert {"color.jpg", "color.png", "other.png", "vivid.jpg", "mine.jpg"} <= made
    assert sum(name.startswith("colored/") for name in made) == 2
