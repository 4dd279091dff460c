"""SIGTERM ends a command as Ctrl-C does: by an exception, so that whatever is held is given back on the way out."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


class Terminated(KeyboardInterrupt):
    """SIGTERM has come: what people, `docker stop`, schedulers and spot instances end a process with."""


def _terminate(number: int, frame: FrameType | None) -> None:
    raise Terminated


def _in_main_thread() -> bool:
    return threading.current_thread() is threading.main_thread()


def listen() -> None:
    """Make SIGTERM raise `Terminated` in the main thread; again after a library has put a handler of its own there."""
    if _in_main_thread():
        signal.signal(signal.SIGTERM, _terminate)


@contextmanager
def listening() -> Iterator[None]:
    """Do so during the body; what was there before is put back."""
    if not _in_main_thread():
        yield
        return
    before = signal.getsignal(signal.SIGTERM)
    listen()
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
