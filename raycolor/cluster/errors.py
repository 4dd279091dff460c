"""Errors in Ray jobs: Ray's own in one line, and ours, which workers return as data."""

from __future__ import annotations

import pickle
from collections.abc import Generator
from typing import Any

import ray.data
from ray.data.exceptions import ExecutionTimeoutError

from raycolor.errors import RaycolorError


def last_line(exc: BaseException) -> str:
    """Return the last line of what Ray says of an error, its cause; the lines before are a stack of Ray's own."""
    lines = [line.strip() for line in str(exc).splitlines() if line.strip()]
    if not lines:
        return type(exc).__name__
    # Of this one the rest is advice to programmers.
    return lines[0] if isinstance(exc, ExecutionTimeoutError) else lines[-1]


def answers(dataset: ray.data.Dataset, column: str) -> Generator[Any]:
    """Yield what workers put into a column as pickles.

    Raises:
        RaycolorError: a worker put one there: an exception of its own would be retried, and end in a traceback.
    """
    for row in dataset.iter_rows():
        answer = pickle.loads(row[column])
        if isinstance(answer, RaycolorError):
            raise answer
        yield answer
