"""Tell whether two places overlap, also through links: a job must not write where it reads."""

from __future__ import annotations

import os
import posixpath
from pathlib import Path

from raycolor.errors import ConfigError
from raycolor.storage.base import RECORDS

_FOLDERS_KNOWN = 10_000


def check_overlap(source: str, dest: str) -> None:
    """Refuse a destination that could overwrite the source, however the two are spelled or linked.

    Args:
        source: a folder, file, prefix or object.
        dest: a folder or prefix, which need not be there.

    Raises:
        ConfigError: they are the same place, the source lies inside the destination, or records would go into it.
    """
    if place_holds(dest, source, or_is=True):
        if place_holds(source, dest, or_is=True):
            raise ConfigError(f"DEST {dest}: is the SOURCE itself, and inputs are never changed: give another place")
        raise ConfigError(
            f"DEST {dest}: holds the SOURCE {source}, whose files could be overwritten: give another place"
        )
    if not dest.startswith("s3://") and LinkGuard(dest, source).leads_into_source(Path(dest, RECORDS)):
        raise ConfigError(f"DEST {dest}: its folder {RECORDS} leads into the SOURCE {source}: remove that link")


def place_holds(outer: str, inner: str, *, or_is: bool = False) -> bool:
    """Whether a place lies inside another one, or, with `or_is`, is that place itself.

    Folders are compared as they are on disk: links, `..`, bind mounts and letters that a file system takes for the
    same make no difference. Of a link, both where it stands and where it leads count.
    """
    if outer.startswith("s3://") or inner.startswith("s3://"):
        if not (outer.startswith("s3://") and inner.startswith("s3://")):
            return False
        above, below = _s3_place(outer), _s3_place(inner)
        return below.startswith(above) and (or_is or below != above)
    real_outer, known = os.path.realpath(outer), _identity(outer)
    paths = {Path(os.path.realpath(inner))}
    folder, name = os.path.split(inner.rstrip("/"))
    if name not in ("", ".", ".."):
        paths.add(Path(os.path.realpath(folder), name))
    for path in paths:
        for place in (path, *path.parents) if or_is else path.parents:
            if str(place) == real_outer or (known is not None and _identity(place) == known):
                return True
    return False


def _s3_place(uri: str) -> str:
    bucket, _, prefix = uri.removeprefix("s3://").partition("/")
    return f"{bucket}{posixpath.normpath('/' + prefix.lstrip('/'))}".rstrip("/") + "/"


def _identity(path: str | Path) -> tuple[int, int] | None:
    """Return device and inode of a folder, or None if there is no such folder."""
    try:
        status = Path(path).stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino


class LinkGuard:
    """Tells whether a folder of a local destination leads into the source by a link.

    Safe to use from several threads. A folder known to be right costs one `stat`: a link put in its place is noticed.
    """

    def __init__(self, dest: str, source: str) -> None:
        self._dest, self._source = dest, source
        self._right: dict[str, tuple[int, int]] = {}

    def leads_into_source(self, folder: Path) -> bool:
        """Whether a folder, which need not be there, really lies in the source and not in the destination."""
        here = _identity(folder)
        if here is not None and self._right.get(str(folder)) == here:
            return False
        real, real_dest = Path(os.path.realpath(folder)), os.path.realpath(self._dest)
        dest, source = _identity(self._dest), _identity(self._source)
        for place in (real, *real.parents):
            found = _identity(place)
            if str(place) == real_dest or (found is not None and found == dest):
                break
            if found is not None and found == source:
                return True
        if here is not None:
            if len(self._right) >= _FOLDERS_KNOWN:
                self._right.clear()
            self._right[str(folder)] = here
        return False


def key_inside(outer: str, inner: str) -> str | None:
    """Return the key prefix under which `inner` lies in `outer`, or None if it does not."""
    prefix = outer.rstrip("/") + "/"
    place = inner.rstrip("/") + "/"
    return place[len(prefix) :] if place.startswith(prefix) and place != prefix else None
