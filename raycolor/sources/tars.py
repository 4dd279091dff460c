"""Members of a tar, packed by gzip or not."""

from __future__ import annotations

import tarfile
from collections.abc import Iterator
from typing import Any, Final, NamedTuple, cast

from raycolor.errors import DecodeError
from raycolor.sources.location import ArchiveKind, Location
from raycolor.sources.streams import RangedBytes, UnpackedBytes

BLOCK: Final = tarfile.BLOCKSIZE
LARGEST_MEMBER: Final = 2 << 30  # bytes; an uncompressed scan of 250 megapixels in 16-bit RGB has 1.5 GB

_SPECIAL = {
    tarfile.SYMTYPE: "a symbolic link",
    tarfile.LNKTYPE: "a hard link",
    tarfile.CHRTYPE: "a device",
    tarfile.BLKTYPE: "a device",
    tarfile.FIFOTYPE: "a named pipe",
}


class Member(NamedTuple):
    """One file of an archive as its listing names it."""

    name: str
    """As it stands in the archive: may be hostile."""
    size: int
    location: Location


def tar_members(file: RangedBytes | UnpackedBytes, kind: ArchiveKind) -> Iterator[Member]:
    """Yield the members of a tar one by one, without holding them; folders are none.

    A member is yielded once all of its bytes are known to be there.

    Raises:
        DecodeError: the tar cannot be read to its end: truncated, decode_error or too_large.
        StorageError: the object cannot be read.
    """
    pending: tuple[Member, int] | None = None
    try:
        for member, end in _headers(file, kind):
            if pending is not None:
                yield pending[0]
            pending = member, end
    except DecodeError as exc:
        # Damage after a member does not make the member bad.
        if pending is not None and pending[1] <= file.reached:
            yield pending[0]
            raise
        where = f", inside {pending[0].name!r}" if pending is not None else ""
        raise DecodeError(exc.reason, exc.detail + where) from exc
    if pending is not None:
        yield pending[0]


def _headers(file: RangedBytes | UnpackedBytes, kind: ArchiveKind) -> Iterator[tuple[Member, int]]:
    """Yield (member, offset where it ends) for every header but those of folders."""
    offset = -1
    try:
        with tarfile.open(fileobj=cast(Any, file), mode="r:") as tar:
            while (found := next_header(tar)) is not None:
                info, before, offset = found[0], offset, found[1]
                if info.size < 0 or offset <= before:
                    raise DecodeError("decode_error", f"damaged tar header at byte {info.offset}")
                if not info.isdir():
                    yield _member(info, kind), info.offset_data + (0 if info.type in _SPECIAL else info.size)
    except (tarfile.TarError, ValueError, OverflowError) as exc:
        short = "unexpected end of data" in str(exc) or "truncated" in str(exc)
        raise DecodeError("truncated" if short else "decode_error", f"not a whole tar: {exc}") from exc
    # tarfile takes a broken header for the end; the end is a block of zeros, and nothing at all is a cut.
    if len(file.last) < BLOCK:
        raise DecodeError("truncated", f"the tar ends without its end mark, after {file.reached} bytes")
    if any(file.last):
        raise DecodeError("decode_error", f"damaged tar header at byte {file.tell() - len(file.last)}")


def next_header(tar: tarfile.TarFile) -> tuple[tarfile.TarInfo, int] | None:
    """Return the next header and the offset of the one after it, without holding it; None at the end.

    This function alone uses what tarfile does not document: `members`, where it keeps 1 KB for each, and `offset`.
    """
    info = tar.next()
    tar.members.clear()  # type: ignore[attr-defined]
    return None if info is None else (info, tar.offset)


def _member(info: tarfile.TarInfo, kind: ArchiveKind) -> Member:
    if info.type in _SPECIAL:
        what = f"{_SPECIAL[info.type]} inside an archive"
        return Member(info.name, 0, Location(reason="not_a_photograph", detail=what, skipped=True))
    if info.issparse():
        return Member(
            info.name, info.size, Location(reason="unsupported_format", detail="a sparse file inside an archive")
        )
    if info.size > LARGEST_MEMBER:
        return Member(info.name, info.size, Location(reason="too_large", detail=f"{info.size} bytes inside an archive"))
    return Member(info.name, info.size, Location(kind=kind, start=info.offset_data))


def is_tar_header(block: bytes) -> bool:
    """Whether 512 bytes are a tar's header by their checksum, or an empty tar's end mark."""
    if len(block) < BLOCK:
        return False
    if not any(block):
        return True
    try:
        checksum = int(block[148:156].strip(b" \0") or b"x", 8)
    except ValueError:
        return False
    return checksum == sum(block[:148]) + 8 * 32 + sum(block[156:])


def read_member(file: RangedBytes | UnpackedBytes, start: int, size: int) -> bytes:
    """Return the bytes of one member, which begin at `start`, right behind its header.

    Raises:
        DecodeError: the archive is another one than was listed, or ends early.
    """
    file.seek(start - BLOCK)
    header = file.take(BLOCK)
    if not is_tar_header(header):
        raise DecodeError("decode_error", "the archive has changed since it was listed: start a new job")
    data = file.take(size)
    if len(data) < size:
        raise DecodeError("truncated", f"the archive ends after {len(data)} of the member's {size} bytes")
    return data
