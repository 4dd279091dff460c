"""Find a network that is named as `package.module:factory`, without running it."""

from __future__ import annotations

import hashlib
import importlib.util
import re
import sys
from pathlib import Path
from typing import Final

from raycolor import __version__
from raycolor.errors import CheckpointError
from raycolor.models.checkpoints import PYTHON_METHOD, Checkpoint

_NAME: Final = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*:[^\W\d]\w*")


def named(source: str) -> Checkpoint:
    """Return a network of Python as a checkpoint, whose weights are the bytes of its module.

    Raises:
        CheckpointError: there is no such module, or this is no such name.
    """
    if not _NAME.fullmatch(source):
        raise CheckpointError(f"{source}: no such checkpoint: a network in Python is named package.module:factory")
    try:
        spec = importlib.util.find_spec(importable(source)[0])
    except (ImportError, ValueError, AttributeError) as exc:
        raise CheckpointError(f"{source}: cannot be imported ({exc}): run from its folder, or install it") from exc
    if spec is None or spec.origin is None or not Path(spec.origin).is_file():
        raise CheckpointError(f"{source}: there is no such module: run from its folder, or install it")
    data = Path(spec.origin).read_bytes()
    network = {"name": PYTHON_METHOD, "config": {"factory": source}}
    return Checkpoint(source, PYTHON_METHOD, network, {}, {}, {}, __version__, hashlib.sha256(data).hexdigest(), data)


def importable(source: str) -> tuple[str, str]:
    """Return module and function, after making the current folder importable, as `python -m` does."""
    if str(Path.cwd()) not in sys.path:
        sys.path.insert(0, str(Path.cwd()))
    module, _, name = source.partition(":")
    return module, name
