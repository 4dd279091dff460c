"""List the members of an archive of any kind."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from raycolor.errors import DecodeError, ImageError
from raycolor.sources.location import ArchiveKind, Location
from raycolor.sources.streams import RangedBytes, UnpackedBytes, fetcher
from raycolor.sources.tars import BLOCK, Member, is_tar_header, tar_members
from raycolor.sources.zips import zip_members
from raycolor.storage import ObjectStore

# Headers stand between the photographs. Over a network a request costs as much time as some megabytes.
_CHUNK_LOCAL: Final = 1 << 14
_CHUNK_REMOTE: Final = 1 << 20
_CHUNK_GZIP: Final = 8 << 20


def archive_members(store: ObjectStore, key: str, size: int, version: str | None) -> Iterator[Member] | None:
    """Return an iterator over an archive's members, or None if the file's content is no archive.

    What keeps it from being read to its end comes as a last member without a name, for the outcome of the archive
    itself.

    Args:
        store: where the archive is.
        key: its key there.
        size: its size in bytes.
        version: the version to read, or None.
    """
    fetch = fetcher(store, key, version)
    chunk = _CHUNK_REMOTE if store.uri.startswith("s3://") else _CHUNK_LOCAL
    try:
        head = fetch(0, BLOCK)
    except ImageError as exc:
        return iter([_broken(exc)])
    kind = _kind(head)
    if kind is None:
        return None
    file = RangedBytes(fetch, size, _CHUNK_GZIP if kind == "tgz" else chunk)
    return _until_broken(kind, file)


def _kind(head: bytes) -> ArchiveKind | None:
    """Return the kind of archive by the first bytes, as file names may be wrong."""
    if head.startswith((b"PK\3\4", b"PK\5\6")):
        return "zip"
    if head.startswith(b"\x1f\x8b"):
        return "tgz"
    return "tar" if is_tar_header(head) else None


def _until_broken(kind: ArchiveKind, file: RangedBytes) -> Iterator[Member]:
    try:
        if kind == "zip":
            yield from zip_members(file)
        elif kind == "tgz":
            yield from tar_members(UnpackedBytes(file), kind)
        else:
            yield from tar_members(file, kind)
    except ImageError as exc:
        yield _broken(exc)


def _broken(exc: ImageError) -> Member:
    what = exc.detail if isinstance(exc, DecodeError) else f"archive: {exc.detail}"
    return Member("", 0, Location(reason=exc.reason, detail=what))
