"""Keys: tell archives by name, split keys at archives, and make safe keys of members."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from fnmatch import fnmatchcase

from raycolor.storage.base import TEMP_PREFIX
from raycolor.storage.local import name_to_key

_ARCHIVE = re.compile(r"\.(tar|tar\.gz|tgz|zip)$", re.IGNORECASE)
_THROUGH_ARCHIVE = re.compile(r"\.(?:tar|tar\.gz|tgz|zip)(?=/)", re.IGNORECASE)
_DRIVE = re.compile(r"[A-Za-z]:")


def is_archive(key: str) -> bool:
    """Whether a key names an archive; only the name is looked at, as a request for each key would be slow."""
    return _ARCHIVE.search(key) is not None


def matches(key: str, patterns: Iterable[str]) -> bool:
    """Whether a key is one of some globs; capital letters make no difference: `*.jpg` takes `SCAN.JPG`."""
    lower = key.lower()
    return any(fnmatchcase(lower, pattern.lower()) for pattern in patterns)


def archive_part(key: str) -> str | None:
    """Return the archive that a key leads through (`a.tar` of `a.tar/x.jpg`), or None."""
    found = _THROUGH_ARCHIVE.search(key)
    return None if found is None else key[: found.end()]


def member_key(archive: str, name: str) -> str:
    """Return the key of a member, which always lies below the archive's key.

    A leading `/` and empty or `.` parts are dropped; `..` becomes `%2E%2E`, a drive's colon `%3A`, NUL `%00`; bytes
    that are no UTF-8 (given as surrogates) become `%XX`. Every other name stays as it is.
    """
    text = name_to_key(name).encode("utf-8", "replace").decode()
    parts = [part for part in text.split("/") if part not in ("", ".")]
    if parts and _DRIVE.match(parts[0]):
        parts[0] = parts[0].replace(":", "%3A", 1)
    safe = [
        "%2E%2E"
        if part == ".."
        # Names that start so are most often half-written files.
        else f"%2E{part[1:]}"
        if part.startswith(TEMP_PREFIX)
        else part.replace("\0", "%00")
        for part in parts
    ]
    return f"{archive}/{'/'.join(safe) or 'unnamed'}"


def unused(key: str, claim: Callable[[str], bool], first: int = 2) -> tuple[str, int]:
    """Return `name~2.ext`, `name~3.ext`, ... whichever `claim` takes first, and its number."""
    folder, slash, name = key.rpartition("/")
    stem, dot, extension = name.rpartition(".")
    if not stem:
        stem, dot, extension = name, "", ""
    number = first
    while not claim(f"{folder}{slash}{stem}~{number}{dot}{extension}"):
        number += 1
    return f"{folder}{slash}{stem}~{number}{dot}{extension}", number
