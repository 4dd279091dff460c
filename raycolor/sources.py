"""What a bulk job reads: a folder or prefix, a single file, and which of its objects count."""

from __future__ import annotations

from collections.abc import Iterator
from fnmatch import fnmatchcase
from pathlib import Path

from raycolor.errors import ConfigError
from raycolor.storage import ObjectInfo, ObjectStore, open_store


def open_source(source: str) -> tuple[ObjectStore, str | None]:
    """Open a source; a single local file becomes its folder and its one key.

    Raises:
        ConfigError: there is nothing at that place.
    """
    if "://" not in source and Path(source).is_file():
        path = Path(source)
        return open_store(path.parent, must_exist=True), path.name
    return open_store(source, must_exist=True), None


def list_inputs(
    source: ObjectStore, dest: ObjectStore, only: str | None, include: tuple[str, ...], exclude: tuple[str, ...]
) -> Iterator[ObjectInfo]:
    """Yield what a job has to colorize: everything below the source that no pattern leaves out.

    Args:
        source: where the photographs are.
        dest: left out where it lies inside the source.
        only: the one key to take, or None.
        include: globs of keys to take; none means all.
        exclude: globs of keys to leave out.
    """
    inside = key_inside(source.uri, dest.uri)
    for info in source.list(only or ""):
        if only is not None and info.key != only:
            continue
        if inside is not None and info.key.startswith(inside):
            continue
        if include and not any(fnmatchcase(info.key, pattern) for pattern in include):
            continue
        if any(fnmatchcase(info.key, pattern) for pattern in exclude):
            continue
        yield info


def check_places(source: str, dest: str) -> None:
    """Refuse a destination that could overwrite the source.

    Raises:
        ConfigError: they are the same place, or the source lies inside the destination.
    """
    if source.rstrip("/") == dest.rstrip("/"):
        raise ConfigError(f"DEST {dest}: is the SOURCE itself, and inputs are never changed: give another place")
    if key_inside(dest, source) is not None:
        raise ConfigError(
            f"DEST {dest}: holds the SOURCE {source}, whose files could be overwritten: give another place"
        )


def key_inside(outer: str, inner: str) -> str | None:
    """Return the key prefix under which `inner` lies in `outer`, or None if it does not."""
    prefix = outer.rstrip("/") + "/"
    place = inner.rstrip("/") + "/"
    return place[len(prefix) :] if place.startswith(prefix) and place != prefix else None
