"""TIFF directories as raw entries: read without decoding, written back byte for byte in the file's own byte order.

What a file says costs no more than its size, whatever it says: every place is read once, and places that are said to
lie over one another are refused.

Source: TIFF 6.0 section 2; BigTIFF design of libtiff; EXIF 2.32 section 4.5 for the directories inside directories.
"""

from __future__ import annotations

import io
import struct
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from raycolor.errors import DecodeError

TYPE_SIZES: Final = {
    1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8, 18: 8
}  # fmt: skip
_CODES: Final = {1: "B", 3: "H", 4: "I", 6: "b", 8: "h", 9: "i", 11: "f", 12: "d", 13: "I", 16: "Q", 17: "q", 18: "Q"}
EXIF_IFD, GPS_IFD, INTEROP_IFD = 34665, 34853, 40965
POINTERS: Final = (EXIF_IFD, GPS_IFD, INTEROP_IFD)
_MAX_PAGES: Final = 65536  # of a directory chain; the caller's own limit is lower
_MAX_TAGS: Final = 1 << 18  # of all directories together: 80 MB of memory; a thousand pages have 30,000
_MAX_DEPTH: Final = 3
_OVERLAP: Final = 1 << 16  # bytes that careless writers may use twice


class Tag(IntEnum):
    """Numbers of the tags that are read here."""

    WIDTH, HEIGHT, BITS, COMPRESSION, PHOTOMETRIC = 256, 257, 258, 259, 262
    FILL_ORDER, STRIPS, ORIENTATION, SAMPLES = 266, 273, 274, 277
    ROWS, STRIP_SIZES, X_DPI, Y_DPI, PLANAR = 278, 279, 282, 283, 284
    T4_OPTIONS, T6_OPTIONS, DPI_UNIT, TRANSFER, PREDICTOR = 292, 293, 296, 301, 317
    COLOR_MAP, TILE_WIDTH, TILE_HEIGHT, TILES, TILE_SIZES = 320, 322, 323, 324, 325
    EXTRA, FORMAT, JPEG_TABLES, SUBSAMPLING, XMP = 338, 339, 347, 530, 700
    DEPTH, ICC = 32997, 34675


@dataclass(frozen=True)
class Layout:
    """Byte order ("<" or ">") and flavor of a TIFF file."""

    order: Literal["<", ">"]
    big: bool = False

    @property
    def offset(self) -> str:
        return self.order + ("Q" if self.big else "I")


@dataclass(frozen=True)
class Entry:
    """One tag's value as it stands in the file."""

    kind: int
    count: int
    raw: bytes

    def numbers(self, layout: Layout, most: int) -> tuple[float, ...]:
        """Return the first `most` values as numbers; rationals are divided; text and unknown types give ()."""
        count = min(self.count, most)
        if self.kind in (5, 10):
            parts = struct.unpack_from(f"{layout.order}{2 * count}{'I' if self.kind == 5 else 'i'}", self.raw)
            return tuple(a / b if b else 0.0 for a, b in zip(parts[::2], parts[1::2], strict=True))
        code = _CODES.get(self.kind, "")
        return struct.unpack_from(f"{layout.order}{count}{code}", self.raw) if code else ()

    def places(self, layout: Layout, most: int) -> NDArray[np.uint64]:
        """Return the first `most` values of a list of offsets or sizes; none where it is no list of such."""
        size = TYPE_SIZES[self.kind]
        if self.kind not in (1, 3, 4, 13, 16, 18):
            return np.empty(0, np.uint64)
        return np.frombuffer(self.raw, f"{layout.order}u{size}", min(self.count, most)).astype(np.uint64)


@dataclass
class Directory:
    """A directory's entries by tag, and the directories that EXIF, GPS and interoperability tags point to."""

    entries: dict[int, Entry] = field(default_factory=dict)
    children: dict[int, Directory] = field(default_factory=dict)

    def integers(self, tag: int, layout: Layout, default: tuple[int, ...] = (), most: int = 8) -> tuple[int, ...]:
        """Return the first `most` values of a tag as integers; `default` without it or for a value that is none."""
        entry = self.entries.get(tag)
        try:
            return tuple(int(v) for v in entry.numbers(layout, most)) if entry else default
        except (OverflowError, ValueError):  # a float that is infinite or NaN
            return default

    def integer(self, tag: int, layout: Layout, default: int = 0) -> int:
        return next(iter(self.integers(tag, layout, most=1)), default)

    def raw(self, tag: int) -> bytes | None:
        entry = self.entries.get(tag)
        return entry.raw if entry and entry.raw else None


def read_layout(data: bytes) -> tuple[Layout, int]:
    """Return the layout and the first directory's offset; DecodeError `truncated` or `not_an_image`."""
    orders: dict[bytes, Literal["<", ">"]] = {b"II": "<", b"MM": ">"}
    order = orders.get(data[:2])
    if order is None or len(data) < 4:
        raise DecodeError("not_an_image", "TIFF: no byte order mark")
    (version,) = struct.unpack_from(order + "H", data, 2)
    if version not in (42, 43):
        raise DecodeError("not_an_image", f"TIFF: version {version}")
    layout = Layout(order, version == 43)
    if len(data) < (16 if layout.big else 8):
        raise DecodeError("truncated", "TIFF: the file ends inside its header")
    return layout, struct.unpack_from(layout.offset, data, 8 if layout.big else 4)[0]


def read_pages(data: bytes) -> tuple[Layout, list[Directory]]:
    """Read the chain of page directories.

    Raises:
        DecodeError: `truncated` where a directory or value lies past the end, `decode_error` for a chain that loops or
            directories and values that together are larger than the file, `too_large` for a chain without end or
            tags without end.
    """
    layout, at = read_layout(data)
    reader = _Reader(data, layout)
    pages: list[Directory] = []
    seen: set[int] = set()
    while at:
        if at in seen:
            raise DecodeError("decode_error", "TIFF: directories form a loop")
        if len(pages) >= _MAX_PAGES:
            raise DecodeError("too_large", f"TIFF: more than {_MAX_PAGES} pages")
        seen.add(at)
        directory, at = reader.directory(at, _MAX_DEPTH)
        pages.append(directory)
    if not pages:
        raise DecodeError("decode_error", "TIFF: no page")
    return layout, pages


class _Reader:
    """Reads directories and values of one file, each once however often the file points to it."""

    def __init__(self, data: bytes, layout: Layout) -> None:
        self._data, self._layout = data, layout
        # By depth too: so what points to itself comes to an end.
        self._directories: dict[tuple[int, int], tuple[Directory, int]] = {}
        self._values: dict[tuple[int, int], bytes] = {}
        self._bytes = self._tags = 0

    def directory(self, at: int, depth: int) -> tuple[Directory, int]:
        """Return the directory at an offset, with those it points to, and the offset of the next one."""
        if (at, depth) in self._directories:
            return self._directories[at, depth]
        layout = self._layout
        size, count_code, inline = (20, "Q", 8) if layout.big else (12, "H", 4)
        head = struct.calcsize("=" + count_code)
        end_of_file = len(self._data)
        if at + head > end_of_file:
            raise DecodeError("truncated", f"TIFF: directory at {at:,} past the file's {end_of_file:,} bytes")
        (count,) = struct.unpack_from(layout.order + count_code, self._data, at)
        after = at + head + size * count
        if after > end_of_file:
            raise DecodeError("truncated", f"TIFF: directory at {at:,} ends past the file's {end_of_file:,} bytes")
        self._tags += count
        if self._tags > _MAX_TAGS:
            raise DecodeError("too_large", f"TIFF: more than {_MAX_TAGS:,} tags")
        self._spend(after - at)
        directory = Directory()
        for where in range(at + head, after, size):
            tag, kind, n = struct.unpack_from(f"{layout.order}HH{'Q' if layout.big else 'I'}", self._data, where)
            length = TYPE_SIZES.get(kind, 0) * n
            if length == 0:
                continue
            start = where + size - inline
            if length > inline:
                (start,) = struct.unpack_from(layout.offset, self._data, start)
                if start + length > end_of_file:
                    raise DecodeError("truncated", f"TIFF: value of tag {tag} past the file's {end_of_file:,} bytes")
            directory.entries[tag] = Entry(kind, n, self._value(start, length, inline))
        # Directories inside others often lack the pointer to a next one.
        end = after + struct.calcsize("=" + layout.offset[1])
        following = struct.unpack_from(layout.offset, self._data, after)[0] if end <= end_of_file else 0
        self._add_children(directory, depth)
        self._directories[at, depth] = directory, following
        return directory, following

    def _add_children(self, directory: Directory, depth: int) -> None:
        for tag in POINTERS:
            if tag not in directory.entries or depth == 0:
                continue
            try:
                target = directory.integer(tag, self._layout)
                directory.children[tag] = self.directory(target, depth - 1)[0]
            except DecodeError:
                # A damaged EXIF block must not cost the photograph.
                directory.entries.pop(tag)

    def _value(self, start: int, length: int, inline: int) -> bytes:
        if length <= inline:
            return self._data[start : start + length]
        value = self._values.get((start, length))
        if value is None:
            self._spend(length)
            value = self._values[start, length] = self._data[start : start + length]
        return value

    def _spend(self, count: int) -> None:
        self._bytes += count
        if self._bytes > len(self._data) + _OVERLAP:
            raise DecodeError("decode_error", "TIFF: directories and values overlap")


class Writer:
    """Writes pages one after the other: strips, then the values of the directory, then the directory."""

    def __init__(self, layout: Layout) -> None:
        self.layout = layout
        self._out = io.BytesIO()
        # What pages share in the input they share here; the objects are kept, so that an id stays theirs.
        self._values: dict[int, tuple[bytes, int]] = {}
        self._children: dict[int, tuple[Directory, int]] = {}
        mark = b"II" if layout.order == "<" else b"MM"
        version = struct.pack(layout.order + "H", 43 if layout.big else 42)
        self._out.write(mark + version + (struct.pack(layout.order + "HH", 8, 0) if layout.big else b""))
        self._pointer = self._out.tell()  # where the next directory's offset has to be written
        self._out.write(struct.pack(layout.offset, 0))

    def numbers(self, kind: int, *values: int) -> Entry:
        """Return an entry of this numeric type."""
        return Entry(kind, len(values), struct.pack(f"{self.layout.order}{len(values)}{_CODES[kind]}", *values))

    def offsets(self, *values: int) -> Entry:
        return self.numbers(16 if self.layout.big else 4, *values)

    def put(self, data: bytes) -> int:
        """Append bytes on an even offset, as TIFF asks, and return the offset."""
        at = self._out.seek(0, io.SEEK_END)
        if at % 2:
            at += self._out.write(b"\0")
        self._out.write(data)
        if not self.layout.big and at + len(data) >= 1 << 32:
            raise DecodeError("too_large", "TIFF: over 4 GiB, and the input is no BigTIFF")
        return at

    def page(self, directory: Directory) -> None:
        """Append a page's directory and chain it to the one before."""
        at, after = self._directory(directory)
        self._out.seek(self._pointer)
        self._out.write(struct.pack(self.layout.offset, at))
        self._pointer = after

    def getvalue(self) -> bytes:
        return self._out.getvalue()

    def _directory(self, directory: Directory) -> tuple[int, int]:
        entries = dict(directory.entries)
        for tag, child in directory.children.items():
            if id(child) not in self._children:
                self._children[id(child)] = child, self._directory(child)[0]
            entries[tag] = self.offsets(self._children[id(child)][1])
        layout, inline = self.layout, 8 if self.layout.big else 4
        code = "Q" if layout.big else "I"
        body = struct.pack(layout.order + ("Q" if layout.big else "H"), len(entries))
        for tag in sorted(entries):
            entry = entries[tag]
            fits = len(entry.raw) <= inline
            value = entry.raw.ljust(inline, b"\0") if fits else struct.pack(layout.offset, self._value(entry.raw))
            body += struct.pack(f"{layout.order}HH{code}", tag, entry.kind, entry.count) + value
        at = self.put(body + struct.pack(layout.offset, 0))
        return at, at + len(body)

    def _value(self, raw: bytes) -> int:
        if id(raw) not in self._values:
            self._values[id(raw)] = raw, self.put(raw)
        return self._values[id(raw)][1]
