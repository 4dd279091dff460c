"""Small finished jobs, and jobs that nobody may take for finished: for commands over a finished job."""

import json
from collections.abc import Iterable
from pathlib import Path

import photographs

from raycolor.colorize import driver
from raycolor.colorize.config import ColorizeConfig
from raycolor.colorize.job_record import JOB_KEY

REFUSED = [
    ("no job", "holds no job of raycolor colorize"),
    ("stopped", "shards have no outcomes"),
    ("later run", "a later run has begun"),
]
"""What `unfinish` leaves, and what has to be said of it."""


def colorize(source: Path, dest: Path, checkpoint: str, *, max_failed: str, **more: object) -> int:
    """Run a job without Ray; return its exit code."""
    places = {"source": str(source), "dest": str(dest), "checkpoint": checkpoint}
    return driver.run(ColorizeConfig(**places, ray=False, max_failed=max_failed, **more))


def make(folder: Path, checkpoint: str, names: Iterable[str], *, max_failed: str) -> Path:
    """Run a job over photographs of these names and an empty file; return its destination."""
    files = {name: photographs.encoded(photographs.gray_pixels(seed=i)) for i, name in enumerate(names)}
    (folder / "in").mkdir()
    photographs.write_all(folder / "in", {**files, "empty.jpg": b""})
    assert colorize(folder / "in", folder / "out", checkpoint, max_failed=max_failed) == 0
    return folder / "out"


def unfinish(dest: Path, kind: str) -> bool:
    """Make a finished job one of `REFUSED`; False if it is none of these kinds."""
    job = json.loads((dest / JOB_KEY).read_text())
    if kind == "no job":
        (dest / JOB_KEY).unlink()
    elif kind == "stopped":
        next((dest / "_raycolor" / "outcomes").iterdir()).unlink()
    elif kind == "later run":
        (dest / JOB_KEY).write_text(json.dumps({**job, "round": {"number": 1, "verify": True}}))
    else:
        return False
    return True
