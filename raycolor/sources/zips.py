"""Members of a zip: its central directory, and the bytes of one member."""

from __future__ import annotations

import bz2
import stat
import struct
import zlib
from collections.abc import Iterator
from typing import Final

from raycolor.errors import DecodeError
from raycolor.sources.location import Location
from raycolor.sources.streams import LARGEST_RATIO, Fetch, RangedBytes
from raycolor.sources.tars import LARGEST_MEMBER, Member

# Layouts: PKWARE APPNOTE 6.3.10, sections 4.3 and 4.5.
_END = struct.Struct("<4s4H2LH")
_END64 = struct.Struct("<4sQ2H2L4Q")
_LOCATOR64 = struct.Struct("<4sLQL")
_ENTRY = struct.Struct("<4s2B5H3L5H2L")
_LOCAL = struct.Struct("<4s5H3L2H")
_STORED, _DEFLATED, _BZIP2 = 0, 8, 12
_METHODS: Final = {1: "shrink", 6: "implode", 9: "deflate64", 14: "LZMA", 93: "zstd", 95: "xz", 98: "PPMd", 99: "AES"}
_FREE_BYTES: Final = 100 << 20
_UNIX: Final = 3


def zip_members(file: RangedBytes) -> Iterator[Member]:
    """Yield the members of a zip one by one, without holding them; folders are none.

    Raises:
        DecodeError: the central directory is missing or damaged, or the zip is a bomb.
        StorageError: the object cannot be read.
    """
    count, at, end, shift = _find_directory(file)
    number = packed_total = unpacked_total = 0
    # Not counted but measured: writers without zip64 count 65,536 members as none.
    while at < end:
        file.seek(at)
        raw = file.read(_ENTRY.size)
        if len(raw) < _ENTRY.size or not raw.startswith(b"PK\1\2"):
            raise DecodeError("decode_error", f"damaged zip directory at byte {at}, after {number} of {count} members")
        entry = _ENTRY.unpack(raw)
        system, flags, method = entry[2], entry[4], entry[5]
        crc, packed, size, name_length, extra_length, comment_length = entry[8:14]
        mode, start = entry[16] >> 16, entry[17]
        name, extra = file.read(name_length), file.read(extra_length)
        at += _ENTRY.size + name_length + extra_length + comment_length
        size, packed, start = _with_zip64(extra, size, packed, start)
        number += 1
        text = _name(name)
        if text.endswith("/"):
            continue
        if system == _UNIX and stat.S_IFMT(mode) not in (0, stat.S_IFREG):
            what = "a symbolic link" if stat.S_ISLNK(mode) else "a special file"
            yield Member(text, 0, Location(reason="not_a_photograph", detail=f"{what} inside an archive", skipped=True))
            continue
        location = Location(kind="zip", start=start + shift, packed=packed, method=method, crc=crc)
        location = _checked(location, size, flags, file.size)
        if location.reason is None:
            packed_total += packed + _LOCAL.size
            unpacked_total += size
        if packed_total > file.size:
            # Members that share their bytes turn kilobytes into terabytes.
            raise DecodeError("too_large", f"members overlap: they claim more than the zip's {file.size} bytes")
        if unpacked_total > 10 * _FREE_BYTES and unpacked_total > LARGEST_RATIO * file.size:
            raise DecodeError("too_large", f"unpacks to more than {LARGEST_RATIO} times its size")
        yield Member(text, size, location)
    if (number - count) % 65_536:
        raise DecodeError("decode_error", f"the zip's directory holds {number} members and counts {count}")


def _checked(location: Location, size: int, flags: int, zip_size: int) -> Location:
    """Return the location, or a location that says why the member cannot be read."""
    if flags & 1:
        return Location(reason="unsupported_format", detail="encrypted inside a zip")
    if location.method not in (_STORED, _DEFLATED, _BZIP2):
        name = _METHODS.get(location.method, f"method {location.method}")
        return Location(reason="unsupported_format", detail=f"packed inside a zip by {name}")
    if location.start + _LOCAL.size + location.packed > zip_size:
        return Location(reason="truncated", detail=f"lies past the end of the zip, at byte {location.start}")
    if size > LARGEST_MEMBER or size > _FREE_BYTES + LARGEST_RATIO * location.packed:
        return Location(reason="too_large", detail=f"{size} bytes, {location.packed} of them inside the zip")
    return location


def _find_directory(file: RangedBytes) -> tuple[int, int, int, int]:
    """Return the number of members, start and end of the directory, and the shift of its offsets."""
    tail_at = max(0, file.size - _END.size - 65_535)
    file.seek(tail_at)
    tail = file.read(file.size - tail_at)
    found = tail.rfind(b"PK\5\6")
    if found < 0 or len(tail) - found < _END.size:
        raise DecodeError("truncated", "the zip's directory at its end is missing")
    end_at = tail_at + found
    _, disk, _, _, count, size, offset, _ = _END.unpack_from(tail, found)
    if found >= _LOCATOR64.size and tail[found - _LOCATOR64.size :].startswith(b"PK\6\7"):
        _, _, end64, _ = _LOCATOR64.unpack_from(tail, found - _LOCATOR64.size)
        file.seek(end64)
        raw = file.read(_END64.size)
        if len(raw) == _END64.size and raw.startswith(b"PK\6\6"):
            _, _, _, _, disk, _, _, count, size, offset = _END64.unpack(raw)
            end_at = end64
    if disk not in (0, 0xFFFF):
        raise DecodeError("unsupported_format", "a zip of several files")
    # Bytes in front (a self-extracting zip) move everything.
    shift = end_at - size - offset
    if shift < 0:
        raise DecodeError("decode_error", "the zip's directory lies outside the file")
    return count, offset + shift, end_at, shift


def _with_zip64(extra: bytes, size: int, packed: int, start: int) -> tuple[int, int, int]:
    """Take the values that do not fit 32 bits from the extra field 1."""
    values = [size, packed, start]
    at = 0
    while at + 4 <= len(extra):
        kind, length = struct.unpack_from("<2H", extra, at)
        if kind == 1:
            wide = extra[at + 4 : at + 4 + length]
            for index, value in enumerate(values):
                if value == 0xFFFFFFFF and len(wide) >= 8:
                    values[index] = int.from_bytes(wide[:8], "little")
                    wide = wide[8:]
        at += 4 + length
    return values[0], values[1], values[2]


def _name(raw: bytes) -> str:
    """Decode a name. Whatever the flag says: macOS writes UTF-8 without it, and text in cp437 is hardly ever UTF-8."""
    try:
        text = raw.decode()
    except UnicodeDecodeError:
        text = raw.decode("cp437")
    # The format asks for slashes; some Windows programs write backslashes.
    return text.replace("\\", "/")


def read_member(fetch: Fetch, location: Location, size: int) -> bytes:
    """Return the bytes of one member, unpacked and checked; never more than `size`.

    Raises:
        DecodeError: damaged, truncated, or not the member that was listed.
        StorageError: the zip cannot be read.
    """
    # Name and extra field stand between header and data and may differ from the directory's: ask for some more.
    raw = fetch(location.start, _LOCAL.size + 512 + location.packed)
    if len(raw) < _LOCAL.size or not raw.startswith(b"PK\3\4"):
        raise DecodeError("decode_error", f"no member at byte {location.start} of the zip")
    name_length, extra_length = _LOCAL.unpack_from(raw)[-2:]
    begin = _LOCAL.size + name_length + extra_length
    if begin + location.packed > len(raw):
        raw += fetch(location.start + len(raw), begin + location.packed - len(raw))
    packed = memoryview(raw)[begin : begin + location.packed]
    if len(packed) < location.packed:
        raise DecodeError("truncated", "the zip ends inside the member")
    try:
        data = _unpack(packed, location.method, size)
    except (zlib.error, OSError, EOFError) as exc:
        raise DecodeError("decode_error", f"damaged inside the zip: {exc}") from exc
    if len(data) != size:
        raise DecodeError("decode_error", f"unpacks to {'more' if len(data) > size else 'less'} than {size} bytes")
    if zlib.crc32(data) != location.crc:
        raise DecodeError("decode_error", "the checksum inside the zip is wrong")
    return data


def _unpack(packed: memoryview, method: int, size: int) -> bytes:
    """Unpack at most one byte more than `size`."""
    if method == _DEFLATED:
        return zlib.decompressobj(-15).decompress(packed, size + 1)
    if method == _BZIP2:
        return bz2.BZ2Decompressor().decompress(packed, size + 1)
    return bytes(packed)
