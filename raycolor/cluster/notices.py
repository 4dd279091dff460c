"""What workers have to say while a job runs; their own log does not reach the driver's terminal."""

from __future__ import annotations

import contextlib
import logging
import threading
from types import TracebackType
from typing import Any, Final, NamedTuple

import ray

logger = logging.getLogger(__name__)

_NAME: Final = "raycolor-notices"
_LOOK_EVERY_S: Final = 1.0
_WAITING, _WAITING_END = "waiting", "waiting_end"


class Notice(NamedTuple):
    """One line, as a log record's `event` and `fields` have it."""

    event: str
    text: str
    fields: dict[str, Any]


class Notices:
    """Collects the lines of all workers; when many wait for one storage, each wait is reported once."""

    def __init__(self) -> None:
        self._lines: list[Notice] = []
        self._told_s: dict[str, float] = {}

    def tell(self, notice: Notice) -> None:
        """Take one line, or drop it if another worker has sent the same."""
        place = notice.fields["place"]
        if notice.event == _WAITING:
            if notice.fields["waited_s"] <= self._told_s.get(place, -1.0):
                return
            self._told_s[place] = notice.fields["waited_s"]
        elif self._told_s.pop(place, None) is None:
            return
        self._lines.append(notice)

    def take(self) -> list[Notice]:
        """Return what came since the last call."""
        lines, self._lines = self._lines, []
        return lines


class ToDriver(logging.Handler):
    """Sends a worker's lines about waiting to the driver; the actor in between is started when there is a first one."""

    def __init__(self) -> None:
        super().__init__()
        self._actor: Any = None

    def emit(self, record: logging.LogRecord) -> None:
        """Send one record."""
        event = getattr(record, "event", "")
        if event not in (_WAITING, _WAITING_END):
            return
        # A job that works without being heard is better than one that ends.
        with contextlib.suppress(ray.exceptions.RayError, ValueError):
            if self._actor is None:
                kind = ray.remote(Notices)
                self._actor = kind.options(name=_NAME, get_if_exists=True, num_cpus=0).remote()
            self._actor.tell.remote(Notice(event, record.getMessage(), record.fields))  # type: ignore[attr-defined]


class Listener:
    """Logs in the driver what the workers of its job report, during the body of a `with`."""

    def __enter__(self) -> Listener:
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._listen, name="raycolor-notices", daemon=True)
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, tb: TracebackType | None) -> None:
        self._stop.set()
        self._thread.join()

    def _listen(self) -> None:
        while not self._stop.wait(_LOOK_EVERY_S):
            # A ValueError: no worker has anything to say.
            with contextlib.suppress(ray.exceptions.RayError, ValueError):
                actor: Any = ray.get_actor(_NAME)
                notices: list[Notice] = ray.get(actor.take.remote(), timeout=5)
                for notice in notices:
                    logger.warning("%s", notice.text, extra={"event": notice.event, "fields": notice.fields})
