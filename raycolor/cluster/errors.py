"""What Ray raises, in one line."""

from __future__ import annotations

from ray.data.exceptions import ExecutionTimeoutError


def last_line(exc: BaseException) -> str:
    """Return the last line of what Ray says of an error, its cause; the lines before are a stack of Ray's own."""
    lines = [line.strip() for line in str(exc).splitlines() if line.strip()]
    if not lines:
        return type(exc).__name__
    # Of this one the rest is advice to programmers.
    return lines[0] if isinstance(exc, ExecutionTimeoutError) else lines[-1]
