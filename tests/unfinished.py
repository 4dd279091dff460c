"""Jobs that nobody may take for finished: what commands over a finished job have to refuse."""

import json
from pathlib import Path

from raycolor.colorize.job_record import JOB_KEY

REFUSED = [
    ("no job", "holds no job of raycolor colorize"),
    ("stopped", "shards have no outcomes"),
    ("later run", "a later run has begun"),
]
"""What `unfinish` leaves, and what has to be said of it."""


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
