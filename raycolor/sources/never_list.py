"""Photographs that must not be colorized, whoever asks for it: their keys, with the reason why."""

from __future__ import annotations

import csv
import fnmatch
import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Final

from raycolor.errors import ConfigError, StorageError
from raycolor.sources.csv_cells import csv_bytes, guard, named_rows, unguard
from raycolor.storage.single import locate

_GLOB: Final = re.compile(r"[*?\[]")
_UNSAID: Final = "on the list of photographs that must not be colorized"


@dataclass(frozen=True)
class NeverList:
    """Keys, folders, archives and globs that are left alone; capital letters make no difference.

    A key that looks like a glob is taken for both, and what lies below a named folder or archive is left alone, too:
    rather one photograph too many than one too few.
    """

    reasons: dict[str, str] = field(repr=False)
    """Key or glob, in lower case -> why."""

    def to_csv(self) -> bytes:
        """Return the list as CSV of key and reason, sorted: two lists that say the same are the same bytes."""
        return csv_bytes([("key", "reason"), *((guard(key), guard(why)) for key, why in sorted(self.reasons.items()))])

    @property
    def sha256(self) -> str:
        """Hash of what it says."""
        return hashlib.sha256(self.to_csv()).hexdigest()

    def why(self, key: str) -> str | None:
        """Return why a photograph must not be colorized, or None if it may be."""
        lower = key.lower()
        parts = lower.split("/")
        for end in range(len(parts), 0, -1):
            found = self.reasons.get("/".join(parts[:end]))
            if found is not None:
                return found
        if self._globs is None or self._globs.match(lower) is None:
            return None
        return next(why for glob, why in self.reasons.items() if fnmatch.fnmatchcase(lower, glob))

    @cached_property
    def _globs(self) -> re.Pattern[str] | None:
        globs = [fnmatch.translate(key) for key in self.reasons if _GLOB.search(key)]
        return re.compile("|".join(globs)) if globs else None


def read_never_list(place: str, **options: Any) -> NeverList:
    """Read a list: CSV with a column `key` and, if there are reasons, `reason`; or one key or glob a line.

    Args:
        place: local path or s3://bucket/key; `.txt` is taken for lines.
        options: for S3, as `open_store` takes them.

    Raises:
        ConfigError: it cannot be read, is no such list, or names nothing; says the line.
    """
    where = f"--never {place}"
    store, name = locate(place, "--never ", **options)
    try:
        text = store.get(name).decode("utf-8-sig")
        rows = _lines(text) if name.lower().endswith(".txt") else _cells(text, where)
        reasons: dict[str, str] = {}
        for number, key, why in rows:
            key = key.strip("/ \t\r\n").lower()
            if not key:
                raise ConfigError(f"{where}: row {number} names no key: fill it in or remove it")
            reasons.setdefault(key, why.strip() or _UNSAID)
    except StorageError as exc:
        raise ConfigError(f"{where}: {exc.detail}: check the path") from exc
    except (UnicodeDecodeError, csv.Error) as exc:
        raise ConfigError(f"{where}: cannot be read as a list ({exc}): check the file") from exc
    if not reasons:
        raise ConfigError(f"{where}: names nothing: fill it in, or omit the flag")
    return NeverList(reasons)


def _lines(text: str) -> Iterator[tuple[int, str, str]]:
    """Yield number, key and no reason of each line."""
    yield from ((number, line, "") for number, line in enumerate(text.splitlines(), 1) if line.strip())


def _cells(text: str, where: str) -> Iterator[tuple[int, str, str]]:
    """Yield number, key and reason of each row of a CSV file."""
    header, rows = named_rows(text)
    if "key" not in header:
        raise ConfigError(f"{where}: has no column `key`: begin it with the line key,reason")
    for number, cells in rows:
        yield number, unguard(cells.get("key", "")), unguard(cells.get("reason", ""))
