"""A set of keys on disk: which keys have been seen, and which names are free."""

from __future__ import annotations

import contextlib
import hashlib
import sqlite3
import tempfile
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Self

from raycolor.sources.keys import unused

_CACHE_KIB = 65_536


class Scratch:
    """A temporary SQLite file, made when first used. A context manager."""

    tables: tuple[str, ...]

    def __init__(self) -> None:
        self._folder: tempfile.TemporaryDirectory[str] | None = None

    @cached_property
    def _file(self) -> sqlite3.Connection:
        self._folder = tempfile.TemporaryDirectory(prefix="raycolor-keys-")
        return scratch(self._folder.name, *self.tables)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, tb: TracebackType | None) -> None:
        if self._folder is not None:
            self._file.close()
            with contextlib.suppress(OSError):
                self._folder.cleanup()


class KeySet(Scratch):
    """Keys by their 128-bit hash, in a temporary file: 64 MB of memory whatever their number.

    Two different keys share a hash with a probability of 1e-21 among a hundred million keys.
    """

    tables = ("CREATE TABLE keys (hash BLOB PRIMARY KEY, last INTEGER) WITHOUT ROWID",)

    def add(self, key: str) -> bool:
        """Add a key; False if it was there."""
        return self._file.execute("INSERT OR IGNORE INTO keys VALUES (?, 1)", [hashed(key)]).rowcount == 1

    def __contains__(self, key: object) -> bool:
        found = self._file.execute("SELECT 1 FROM keys WHERE hash = ?", [hashed(str(key))])
        return found.fetchone() is not None

    def free_name(self, key: str) -> str:
        """Add a key, or, where it is taken, the first free one of `name~2.ext`, `name~3.ext`, ...; return it."""
        if self.add(key):
            return key
        # Where the last search ended is kept, so that a million members of one name take a million steps.
        (last,) = self._file.execute("SELECT last FROM keys WHERE hash = ?", [hashed(key)]).fetchone()
        name, number = unused(key, self.add, last + 1)
        self._file.execute("UPDATE keys SET last = ? WHERE hash = ?", [number, hashed(key)])
        return name


def scratch(folder: str, *statements: str) -> sqlite3.Connection:
    """Open a temporary SQLite file."""
    file = sqlite3.connect(Path(folder) / "keys", isolation_level=None, check_same_thread=False)
    # No journal, no waiting for the disk.
    for pragma in ("journal_mode=OFF", "synchronous=OFF", f"cache_size=-{_CACHE_KIB}", "locking_mode=EXCLUSIVE"):
        file.execute(f"PRAGMA {pragma}")
    for statement in statements:
        file.execute(statement)
    file.execute("BEGIN")
    return file


def hashed(key: str) -> bytes:
    """Return the 128-bit hash of a key."""
    return hashlib.blake2b(key.encode("utf-8", "surrogatepass"), digest_size=16).digest()
