"""Keeps some lines of Ray, which say nothing to a user, from the terminal."""

from __future__ import annotations

import io
import logging
import os
import re
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TextIO

logger = logging.getLogger(__name__)

# Printed once per worker of every Ray Data pool, an error by its letter only (ray#53727).
_NOISE = re.compile(
    rb"core_worker\.cc:\d+: Actor with class name: .* has constructor arguments in the object store"
    rb"|authentication_token_setup\.py:\d+ -- Token authentication is enabled"
    # A SIGTERM that comes while Ray starts; afterwards it is ours.
    rb"|\*\*\* SIGTERM received at time=|\A(\[.*\] logging\.cc:\d+: )?(PC: @ |    @ ) *0x[0-9a-f]+ "
)
# Printed by Ray's Python where a sweep's trials start nine processes each on a machine of two CPUs.
_PYTHON_NOISE = "worker processes have been started on node"
# Printed on standard output for every node and worker that dies, with the last lines of its log: 25 lines each.
_RAYLET = "(raylet)"
_NODE_LOST = "has been marked dead"


class _Output:
    """Python's standard output without what Ray says of its own processes; a lost node becomes one log line."""

    def __init__(self, inner: TextIO) -> None:
        self.inner = inner
        self._dropped = False

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)

    def write(self, text: str) -> int:
        dropped, self._dropped = self._dropped, _RAYLET in text
        if self._dropped and _NODE_LOST in text:
            logger.warning("Ray lost a node: other nodes do its work again")
        # `print` writes the end of a line on its own.
        return len(text) if self._dropped or (dropped and text == "\n") else self.inner.write(text)


class _Errors(io.TextIOWrapper):
    """Python's standard error without the known noise."""

    _dropped = False

    def write(self, text: str) -> int:
        dropped, self._dropped = self._dropped, _PYTHON_NOISE in text
        # `print` writes the end of a line on its own.
        return len(text) if self._dropped or (dropped and text == "\n") else super().write(text)


@contextmanager
def without_ray_output() -> Iterator[None]:
    """Pass everything that is written to file descriptor 2 on, line by line, but for the known noise.

    Standard output loses what Ray prints there of its own processes.

    Python's own `sys.stderr` goes past this filter, so that progress bars reach the terminal as they are.
    """
    reader, writer = os.pipe()
    original = os.dup(2)
    before, output = sys.stderr, sys.stdout
    before.flush()
    sys.stdout = _Output(output)
    sys.stderr = _Errors(os.fdopen(os.dup(original), "wb"), errors="backslashreplace", line_buffering=True)
    os.dup2(writer, 2)
    os.close(writer)

    def pass_on() -> None:
        with os.fdopen(reader, "rb") as lines:
            for line in lines:
                if not _NOISE.search(line):
                    os.write(original, line)

    thread = threading.Thread(target=pass_on, name="raycolor-stderr", daemon=True)
    thread.start()
    try:
        yield
    finally:
        sys.stderr.close()
        sys.stderr, sys.stdout = before, output
        os.dup2(original, 2)  # closes the pipe's last end: the thread reads the rest and stops
        thread.join(timeout=5)
        os.close(original)
