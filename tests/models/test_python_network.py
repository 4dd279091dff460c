"""A network written in Python colorizes like a checkpoint: the example of docs/own-network.md is run."""

import hashlib
import importlib
import re
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from raycolor.colorizer.config import ColorizerConfig
from raycolor.colorizer.photograph import FileColorizer
from raycolor.errors import CheckpointError
from raycolor.models import checkpoints

ROOT = Path(__file__).parents[2]


@pytest.fixture
def module(tmp_path, monkeypatch):
    """Write a module of its own name into the current folder, and return the name."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.path", ["", *sys.path])

    def write(name, text):
        (tmp_path / f"{name}.py").write_text(text)
        return name

    return write


def test_the_example_of_the_documentation_colorizes(module):
    """Under thirty lines, with its own name and the hash of its file in the output; two runs give the same bytes."""
    text = re.search(
        r"```python\n(.*?)```", (ROOT / "docs" / "own-network.md").read_text(encoding="utf-8"), re.S
    ).group(1)
    assert len(text.splitlines()) < 30
    module("toning", text)
    photograph = next((ROOT / "docs" / "sample").glob("*.jpg")).read_bytes()
    colorizer = FileColorizer(ColorizerConfig(checkpoint="toning:network"))
    made = colorizer.colorize(photograph)
    assert made.data == FileColorizer(ColorizerConfig(checkpoint="toning:network")).colorize(photograph).data
    assert b"toning:network" in made.data
    assert hashlib.sha256(text.encode()).hexdigest().encode() in made.data
    ab = colorizer.predict([np.full((32, 48), 100, np.float32)])[0].ab
    assert np.allclose(ab, [0, -30], atol=1e-3)


@pytest.mark.parametrize(
    ("text", "name", "words"),
    [
        ("", "missing_module:network", "there is no such module"),
        ("", "written:network", "has no attribute 'network'"),
        ("def network(): return 3", "written:network", "returns int"),
        ("def network(): return lambda planes: [1]", "written:network", "must return"),
        ("", "written:", "named package.module:factory"),
    ],
)
def test_what_is_no_network_is_one_line(module, monkeypatch, text, name, words):
    """What was found, and how to mend it."""
    monkeypatch.delitem(sys.modules, "written", raising=False)
    module("written", text)
    importlib.invalidate_caches()
    with pytest.raises(CheckpointError, match=words):
        checkpoints.load(name).model().color(torch.zeros(1, 1, 32, 32))
