"""Keeps some lines of Ray, which say nothing to a user, from the terminal."""

from __future__ import annotations

import io
import os
import re
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

# Printed once per worker of every Ray Data pool, an error by its letter only (ray#53727).
_NOISE = re.compile(
    rb"core_worker\.cc:\d+: Actor with class name: .* has constructor arguments in the object store"
    rb"|authentication_token_setup\.py:\d+ -- Token authentication is enabled"
)
# Printed by Ray's Python where a sweep's trials start nine processes each on a machine of two CPUs.
_PYTHON_NOISE = "worker processes have been started on node"


class _Errors(io.TextIOWrapper):
    """Python's standard error without the known noise."""

    _dropped = False

    def write(self, text: str) -> int:
        dropped, self._dropped = self._dropped, _PYTHON_NOISE in text
        # `print` writes the end of a line on its own.
        return len(text) if self._dropped or (dropped and text == "\n") else super().write(text)


@contextmanager
def without_chatter() -> Iterator[None]:
    """Pass everything that is written to file descriptor 2 on, line by line, but for the known noise.

    Python's own `sys.stderr` goes past this filter, so that progress bars reach the terminal as they are.
    """
    reader, writer = os.pipe()
    original = os.dup(2)
    before = sys.stderr
    before.flush()
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
        sys.stderr = before
        os.dup2(original, 2)  # closes the pipe's last end: the thread reads the rest and stops
        thread.join(timeout=5)
        os.close(original)
