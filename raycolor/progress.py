"""What people are shown: progress as a bar or lines, log lines as text or JSON, and text that hides nothing."""

from __future__ import annotations

import datetime
import json
import logging
import sys
import time
import unicodedata
from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from rich.progress import Progress as RichProgress
    from rich.progress import TaskID

logger = logging.getLogger(__name__)

_HIDDEN: Final = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})
_JOINERS: Final = "\u200c\u200d"  # words of many languages, and emoji, are spelled with them


def printable(text: str) -> str:
    """Return text as one line that shows what it holds: control, bidirectional and invisible characters as escapes.

    A key may move the cursor, begin a new line of a log, or read `gpj.exe` where `exe.jpg` stands. For people alone:
    records keep keys as they are. Escapes are Python's and JavaScript's: `\\n`, `\\x1b`, `\\u202e`.
    """
    if text.isprintable():
        return text
    return "".join(_shown(char) for char in text)


def _shown(char: str) -> str:
    if char in _JOINERS or unicodedata.category(char) not in _HIDDEN:
        return char
    return char.encode("unicode_escape").decode("ascii")


class TextLines(logging.Formatter):
    """Write the message of each log record; raycolor's own, which hold keys, as one printable line."""

    def formatMessage(self, record: logging.LogRecord) -> str:
        """Return the line."""
        message = super().formatMessage(record)
        return printable(message) if record.name.partition(".")[0] == "raycolor" else message


class JsonLines(logging.Formatter):
    """Write each log record as one line of JSON: `time` (UTC), `level`, `event`, `message`, `logger`, `fields`.

    A record says its event and fields as `extra={"event": ..., "fields": {...}}`; without, the event is `log`.
    """

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        time_utc = datetime.datetime.fromtimestamp(record.created, datetime.UTC)
        line: dict[str, object] = {
            "time": time_utc.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "level": record.levelname.lower(),
            "event": getattr(record, "event", "log"),
            "message": record.getMessage(),
            "logger": record.name,
            "fields": getattr(record, "fields", {}),
        }
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        # A field that JSON has no word for is still better told as text than lost.
        text = json.dumps(line, default=str, ensure_ascii=False)
        # Outside of strings JSON has none of these; inside `\\u202e` means the character itself.
        return text if text.isprintable() else "".join(_json_shown(char) for char in text)


def _json_shown(char: str) -> str:
    return char if _shown(char) == char else json.dumps(char)[1:-1]


def logs_json() -> bool:
    """Whether log lines are JSON now: then nothing else belongs on standard error."""
    return any(isinstance(handler.formatter, JsonLines) for handler in logging.getLogger().handlers)


def duration_text(seconds: float) -> str:
    """Write a duration as people say it: `42 s`, `3 min 05 s`, `2 h 07 min`."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


class Progress:
    """Count finished units of a known or growing total, and show it.

    On a terminal a rich bar is drawn on standard error; elsewhere (logs, `ray job submit`) one line per
    `interval_s` is logged, so that a log of a long job stays readable. Where logs are JSON, the line's `fields` hold
    the same numbers: `title`, `unit`, `done`, `total`, `already`, `per_second`, `seconds_left` and the notes.

    Args:
        title: what is being done, for example `colorize`.
        total: units in all; None while unknown.
        unit: plural of what is counted, for example `images`.
        already: units that an earlier run had finished: they count as done, not in the rate.
        left_after: updates that finish units before the time left is told: a rate of the first few is a guess.
        interval_s: seconds between lines where there is no terminal.
        clock: monotonic seconds, replaced in tests.
    """

    def __init__(
        self,
        title: str,
        total: int | None,
        unit: str = "images",
        *,
        already: int = 0,
        left_after: int = 1,
        interval_s: float = 10.0,
        clock: Callable[[], float] = time.monotonic,
        terminal: bool | None = None,
    ) -> None:
        self.title, self.total, self.unit = title, total, unit
        self.done, self.already = already, already
        self.notes: dict[str, object] = {}
        self._left_after = left_after
        self._rate: float | None = None
        self._interval_s, self._clock = interval_s, clock
        self._terminal = sys.stderr.isatty() and not logs_json() if terminal is None else terminal
        self._bar: RichProgress | None = None
        self._task: TaskID | None = None
        self._started = self._last_line = clock()

    def __enter__(self) -> Progress:
        self._started = self._last_line = self._clock()
        if self._terminal:
            self._open_bar()
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, tb: TracebackType | None) -> None:
        if self._bar is not None:
            self._bar.stop()
        else:
            self._log("progress_end")

    def update(self, count: int = 0, *, per_second: float | None = None, **notes: object) -> None:
        """Add `count` finished units; `notes` (for example failed=3) are shown behind the rate.

        Args:
            count: units finished since the last update.
            per_second: the rate, where the caller knows it better than the clock does: of a job without its start-up.
            notes: what else to show.
        """
        self.done += count
        self._rate = per_second if per_second is not None else self._rate
        if count:
            self._left_after -= 1
        self.notes.update(notes)
        if self._bar is not None and self._task is not None:
            notes_text, left = " ".join(self._notes_texts()), self._left_text()
            self._bar.update(self._task, completed=self.done, total=self.total, notes=notes_text, left=left)
        elif self._clock() - self._last_line >= self._interval_s:
            self._last_line = self._clock()
            self._log("progress")

    def reach(self, done: int, total: int, **notes: object) -> None:
        """Note that `done` of `total` units are finished; `notes` as in `update`."""
        self.total = total
        self.update(done - self.done, **notes)  # type: ignore[arg-type]

    def rate(self) -> float:
        """Finished units per second, without those of an earlier run: as was told, or since the start."""
        if self._rate is not None:
            return self._rate
        return (self.done - self.already) / max(self._clock() - self._started, 1e-9)

    def seconds_left(self) -> float | None:
        """Seconds until all units are finished at this rate; None while that cannot be said."""
        rate = self.rate()
        if self.total is None or rate <= 0 or (self._left_after > 0 and self.done < self.total):
            return None
        return max(self.total - self.done, 0) / rate

    def fields(self) -> dict[str, object]:
        """The numbers of `line` for machines; what is not known yet is None."""
        left = self.seconds_left()
        return {
            "title": self.title,
            "unit": self.unit,
            "done": self.done,
            "total": self.total,
            "already": self.already,
            "per_second": round(self.rate(), 3),
            "seconds_left": None if left is None else round(left, 1),
            **self.notes,
        }

    def line(self) -> str:
        """One line: `colorize: images 1,024/2,920 | 21.3 img/s | failed 3 | 1 min 29 s left`."""
        total = "" if self.total is None else f"/{self.total:,}"
        parts = [f"{self.title}: {self.unit} {self.done:,}{total}", f"{self.rate():.1f}/s", *self._notes_texts()]
        if left := self._left_text():
            parts.append(left)
        return " | ".join(parts)

    def _left_text(self) -> str:
        left = self.seconds_left()
        return f"{duration_text(left)} left" if left else ""

    def _log(self, event: str) -> None:
        logger.info("%s", self.line(), extra={"event": event, "fields": self.fields()})

    def _notes_texts(self) -> list[str]:
        return [f"{name} {value}" for name, value in self.notes.items()]

    def _open_bar(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, TextColumn
        from rich.progress import Progress as RichProgress

        self._bar = RichProgress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn(self.unit),
            TextColumn("{task.fields[notes]}"),
            TextColumn("{task.fields[left]}"),
            console=Console(stderr=True),
        )
        self._task = self._bar.add_task(self.title, total=self.total, completed=self.done, notes="", left="")
        self._bar.start()
