"""What the page asks for, without a server: pictures of photographs, renderings by other settings, and decisions."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from raycolor import codecs
from raycolor.codecs.thumbnail import photo_thumbnail
from raycolor.colorize.config import REVIEW_KEY
from raycolor.colorize.finished import finished_shards, reader_of
from raycolor.colorize.hints import hints_of
from raycolor.colorize.job_record import JobRecord
from raycolor.colorize.manifest import Manifest
from raycolor.colorize.review_list import Decision, Verdict, add_decision, now, read_decisions
from raycolor.colorizer.hint_list import Hint, make_hint
from raycolor.errors import ConfigError
from raycolor.review.photographs import Filter, Photographs, Row
from raycolor.review.renderings import Rendering, renderer
from raycolor.storage import ObjectStore

LARGE_PX: Final = 1400
SMALL_PX: Final = 220
_HELD_BYTES: Final = 96_000_000
_FOLDERS: Final = 500


class _Held:
    """Bytes that were made lately, up to a bound. Safe to use from several threads."""

    def __init__(self, most: int) -> None:
        self._most, self._size = most, 0
        self._kept: OrderedDict[Hashable, bytes] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, name: Hashable, make: Callable[[], bytes]) -> bytes:
        """Return what is held by a name; it is made where there is nothing."""
        with self._lock:
            if name in self._kept:
                self._kept.move_to_end(name)
                return self._kept[name]
        data = make()
        with self._lock:
            self._size += len(data) - len(self._kept.pop(name, b""))
            self._kept[name] = data
            while self._size > self._most and len(self._kept) > 1:
                self._size -= len(self._kept.popitem(last=False)[1])
        return data


@dataclass(frozen=True)
class Choice:
    """A rendering that the page offers; None for the job's own."""

    checkpoint: str | None
    saturation: float | None
    name: str


@dataclass
class Session:
    """One person's look at one job. Safe to use from several threads; whoever made it closes it."""

    dest: ObjectStore
    record: JobRecord
    who: str
    choices: tuple[Choice, ...]
    endpoint_url: str | None
    """S3 server other than AWS, also of the originals."""
    decided: int = 0
    """Decisions of this session."""
    _seen: str | None = None
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def __post_init__(self) -> None:
        shards = finished_shards(self.dest, self.record)
        self.photographs = Photographs(outcome for shard in shards for outcome in shard.outcomes)
        self._manifest = Manifest(self.dest, self.record.manifest)
        self._reader = reader_of(self.record, self.endpoint_url)
        self._originals, self._pictures = _Held(_HELD_BYTES), _Held(_HELD_BYTES)
        self._renderer, self._rendering = renderer(), threading.Lock()
        self.refresh()

    def close(self) -> None:
        """End the child and forget all."""
        self._renderer.close()
        self.photographs.close()

    def refresh(self) -> None:
        """Take in what others have decided meanwhile.

        Raises:
            ConfigError: review.csv was edited into something else.
        """
        with self._lock:
            there = self.dest.stat(REVIEW_KEY)
            if there is not None and there.etag != self._seen:
                self.photographs.take(read_decisions(self.dest).of.values())
                self._seen = there.etag

    def page(self, wanted: Filter, offset: int) -> dict[str, Any]:
        """Return a page of photographs, as JSON."""
        self.refresh()
        rows, count = self.photographs.page(wanted, offset)
        return {"rows": [row._asdict() for row in rows], "count": count, "counts": self.photographs.counts()}

    def start(self) -> dict[str, Any]:
        """Return what the page needs once."""
        return {
            "choices": [choice.name for choice in self.choices],
            "flags": self.photographs.flags(),
            "folders": self.photographs.folders(_FOLDERS),
            "place": self.dest.uri,
            "who": self.who,
        }

    def picture(self, row: Row, kind: str, side_px: int) -> bytes:
        """Return a small JPEG of the original (`before`) or of the output (`after`).

        Raises:
            ImageError: it cannot be read.
        """

        def make() -> bytes:
            data = self._original(row) if kind == "before" or row.output_key is None else self.dest.get(row.output_key)
            return photo_thumbnail(data, side_px)

        return self._pictures.get((row.id, kind, side_px), make)

    def rendering(self, row: Row, choice: int, hints: list[Any]) -> bytes:
        """Return a JPEG of a photograph by another choice, with hints.

        Raises:
            RaycolorError: it cannot be made.
        """
        checkpoint, saturation = self._settings(row, choice)
        config = self.record.colorizer_of(0).model_copy(update={"checkpoint": checkpoint, "saturation": saturation})
        wanted = Rendering(config, self._hints(row, hints), LARGE_PX)

        def make() -> bytes:
            photograph = self._original(row)
            with self._rendering:
                return self._renderer.ask(wanted, photograph)[1]

        return self._pictures.get((row.id, checkpoint, saturation, wanted.hints), make)

    def known_hints(self, row: Row) -> list[list[Any]]:
        """Return the hints that an output was made with: x and y as shares of the picture, and the color."""
        hints = hints_of(self.dest, self.record, row.revision).of(row.key)
        if not hints:
            return []
        width, height = self._size(row)
        return [[hint.x / width, hint.y / height, hint.color] for hint in hints]

    def decide(self, row: Row, verdict: Verdict, choice: int, hints: list[Any]) -> Decision:
        """Write a decision.

        Raises:
            ConfigError: hints that are none, or a review.csv that is no such list any more.
            StorageError: it cannot be written.
        """
        decision = Decision(row.key, verdict, who=self.who, when=now())
        if verdict == "approve":
            placed = self._hints(row, hints)
            standing = hints_of(self.dest, self.record, row.revision).of(row.key)
            # What stands already needs no settings.
            if choice or placed != standing:
                checkpoint, saturation = self._settings(row, choice)
                local = Path(checkpoint)
                checkpoint = str(local.absolute()) if local.exists() else checkpoint
                decision = decision._replace(checkpoint=checkpoint, saturation=saturation, hints=placed)
        add_decision(self.dest, decision)
        with self._lock:
            self.decided += 1
        self.photographs.take([decision])
        return decision

    def _settings(self, row: Row, choice: int) -> tuple[str, float]:
        """Return checkpoint and saturation of a choice; the first is what stands."""
        own, chosen = self.record.colorizer_of(0 if choice else row.revision), self.choices[choice]
        saturation = own.saturation if chosen.saturation is None else chosen.saturation
        return chosen.checkpoint or own.checkpoint, saturation

    def _hints(self, row: Row, hints: list[Any]) -> tuple[Hint, ...]:
        """Return hints in pixels of the photograph; those that stand are not rounded anew."""
        if not hints:
            return ()
        width, height = self._size(row)
        known = hints_of(self.dest, self.record, row.revision).of(row.key)
        found = []
        for one in hints:
            if not isinstance(one, list) or len(one) != 3:
                raise ConfigError("a hint must be [x, y, color]")
            across, down = _share(one[0], "x"), _share(one[1], "y")
            x, y = min(int(across * width), width - 1), min(int(down * height), height - 1)
            hint = make_hint(x, y, one[2], "hint")
            near = (old for old in known if old.color == hint.color and abs(old.x - x) <= 1 and abs(old.y - y) <= 1)
            found.append(next(near, hint))
        return tuple(found)

    def _size(self, row: Row) -> tuple[int, int]:
        """Return width and height of a photograph, upright."""
        header = codecs.read_header(self._original(row))
        size = header.width, header.height
        return size if header.orientation < 5 else size[::-1]

    def _original(self, row: Row) -> bytes:
        return self._originals.get(row.id, lambda: self._manifest.read(self._reader, row.key))


def _share(value: object, name: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
        raise ConfigError(f"hint: {name} {value!r}: must lie within the picture, 0 to 1")
    return float(value)
