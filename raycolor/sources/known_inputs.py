"""Compare a new listing of a source with the inputs that a job has: which are new, which have changed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from types import TracebackType
from typing import Final

from raycolor.sources.key_set import KeySet, Scratch, hashed
from raycolor.sources.location import Input, Location

_MENDED: Final = Location(reason="not_an_image", detail="an archive, whole now: its members are inputs", skipped=True)

_Row = tuple[str, int, str, str | None, int]  # name, size, etag, reason, part


class KnownInputs(Scratch):
    """Inputs of a manifest in a temporary file: 200 MB of memory whatever their number.

    An input stays the same one while its object (place, key, version) and, in an archive, its name stay: it keeps the
    key that the manifest gave it, though a new listing may have numbered it otherwise (`name~2.ext`). What is new never
    takes a key that is in use.

    Attributes:
        counts: how many inputs of the listing are `new` and how many have `changed`.
    """

    tables = (
        """CREATE TABLE inputs (key BLOB PRIMARY KEY, name TEXT, object BLOB, place BLOB, size INTEGER, etag TEXT,
            reason TEXT, part INTEGER, seen INTEGER) WITHOUT ROWID""",
        "CREATE INDEX places ON inputs (place)",
        "CREATE TABLE opened (object BLOB PRIMARY KEY, etag TEXT) WITHOUT ROWID",
        """CREATE TABLE changes (key BLOB PRIMARY KEY, part INTEGER, size INTEGER, etag TEXT, location TEXT)
            WITHOUT ROWID""",
    )

    def __init__(self) -> None:
        super().__init__()
        self.counts: Counter[str] = Counter()
        self._archives, self._names = KeySet(), KeySet()

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, tb: TracebackType | None) -> None:
        for keys in (self._archives, self._names):
            keys.__exit__(kind, value, tb)
        super().__exit__(kind, value, tb)

    def know(self, inputs: Iterable[Input], root: str, part: int) -> None:
        """Add a part of the manifest; `root` is the store of inputs without a location."""
        rows = []
        for info in inputs:
            place = info.location
            object_, whole = _addresses(info, root)
            rows.append(
                (hashed(info.key), info.key, hashed(object_), hashed(whole), info.size, info.etag, place.reason, part)
            )
            if info.etag and (place.kind or place.reason):
                self._archives.add(f"{object_}\0{info.etag}")
        self._file.executemany(
            "INSERT OR IGNORE INTO inputs VALUES (?, ?, ?, ?, ?, ?, ?, ?, 0)",
            rows,
        )

    def has_archive(self, archive: Input, root: str) -> bool:
        """Whether an archive has the same etag as before, so that its members are known."""
        object_, _ = _addresses(archive, root)
        return bool(archive.etag) and f"{object_}\0{archive.etag}" in self._archives

    def compare(
        self, listing: Iterable[Input], root: str, manifest_root: str, take: Callable[[str], bool]
    ) -> Iterator[Input]:
        """Yield the new inputs of a listing under keys that are free, and note those that have changed.

        Args:
            listing: the inputs as the source names them now.
            root: the source's store now.
            manifest_root: that of the manifest; a place in another one is written out.
            take: whether a change of this key is to be noted for `changed`; `counts` has all others.
        """
        for info in listing:
            place = info.location
            object_, whole = _addresses(info, root)
            if place.kind:
                self._file.execute("INSERT OR IGNORE INTO opened VALUES (?, ?)", [hashed(object_), info.etag])
            row = self._find(info.key, object_, whole, place)
            if row is None:
                self.counts["new"] += 1
                yield _placed(info._replace(key=self._free(info.key)), info.key, root, manifest_root)
                continue
            name, size, etag, reason, part = row
            # What a list names and its source no longer has keeps the color it got.
            gone = place.reason == "not_found" and reason is None
            if not gone and _differs(info, size, etag, reason):
                self._note(name, part, _placed(info._replace(key=name), info.key, root, manifest_root), take)
        for name, part, size, etag in self._mended():
            self._note(name, part, Input(name, size, etag, _MENDED), take)

    def changed(self, part: int, inputs: list[Input]) -> list[Input] | None:
        """Return the inputs of a manifest part with their changes, or None if nothing has changed."""
        if self._file.execute("SELECT 1 FROM changes WHERE part = ? LIMIT 1", [part]).fetchone() is None:
            return None
        return [self._now(info) for info in inputs]

    def _now(self, info: Input) -> Input:
        query = "SELECT size, etag, location FROM changes WHERE key = ?"
        row = self._file.execute(query, [hashed(info.key)]).fetchone()
        if row is None:
            return info
        size, etag, location = row
        return Input(info.key, size, etag, Location.from_text(location))

    def _note(self, name: str, part: int, info: Input, take: Callable[[str], bool]) -> None:
        if not take(name):
            self.counts["changed"] += 1
            return
        self.counts["taken"] += 1
        self._file.execute(
            "INSERT OR REPLACE INTO changes VALUES (?, ?, ?, ?, ?)",
            [hashed(name), part, info.size, info.etag, info.location.to_text()],
        )

    def _find(self, key: str, object_: str, whole: str, place: Location) -> _Row | None:
        columns = "name, size, etag, reason, part"
        row: _Row | None = self._file.execute(
            f"SELECT {columns} FROM inputs WHERE key = ? AND (object = ? OR reason IS NOT NULL OR ?)",
            [hashed(key), hashed(object_), place.reason is not None],
        ).fetchone()
        if row is None:
            row = self._file.execute(f"SELECT {columns} FROM inputs WHERE place = ?", [hashed(whole)]).fetchone()
        if row is not None:
            self._file.execute("UPDATE inputs SET seen = 1 WHERE key = ?", [hashed(row[0])])
        return row

    def _mended(self) -> Iterator[tuple[str, int, int, str]]:
        """Yield the rows of broken archives that could be read to their end this time, with their new etag."""
        yield from self._file.execute(
            "SELECT name, part, size, opened.etag FROM inputs JOIN opened USING (object) WHERE reason IS NOT NULL "
            "AND seen = 0"
        ).fetchall()

    def _free(self, key: str) -> str:
        """Return a key that neither the manifest nor another new input has."""
        while True:
            name = self._names.free_name(key)
            if self._file.execute("SELECT 1 FROM inputs WHERE key = ?", [hashed(name)]).fetchone() is None:
                return name


def _addresses(info: Input, root: str) -> tuple[str, str]:
    """Return the address of the object that holds an input, and of the input in it."""
    place = info.location
    object_ = f"{(place.uri or root).rstrip('/')}/{info.object}\0{place.version or ''}"
    return object_, f"{object_}\0{place.kind or ''}\0{place.start}"


def _differs(info: Input, size: int, etag: str, reason: str | None) -> bool:
    """Whether an input has changed, by size and etag."""
    if info.location.reason != reason:
        return True
    if info.etag and etag:
        return info.etag != etag
    return bool(info.size and size) and info.size != size


def _placed(info: Input, listed_key: str, root: str, manifest_root: str) -> Input:
    """Return an input with its full location, if its key and the manifest's root do not give it."""
    place = info.location
    if info.key != listed_key and place.reason is None and place.object is None:
        place = replace(place, object=listed_key)
    if root != manifest_root and place.uri is None and place.reason is None:
        place = replace(place, uri=root, object=place.object or listed_key)
    return info._replace(location=place)
