"""TIFF directories as raw entries: read without decoding, written back byte for byte in the file's own byte order.

Source: TIFF 6.0 section 2; BigTIFF design of libtiff; EXIF 2.32 section 4.5 for the directories inside directories.
"""

from __future__ import annotations

import io
import struct
from dataclasses import dataclass, field
from typing import Final, Literal

from raycolor.errors import DecodeError

TYPE_SIZES: Final = {
    1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8, 18: 8
}  # fmt: skip
_CODES: Final = {1: "B", 3: "H", 4: "I", 6: "b", 8: "h", 9: "i", 11: "f", 12: "d", 13: "I", 16: "Q", 17: "q", 18: "Q"}
EXIF_IFD, GPS_IFD, INTEROP_IFD = 34665, 34853, 40965
POINTERS: Final = (EXIF_IFD, GPS_IFD, INTEROP_IFD)
_MAX_PAGES: Final = 65536  # of a directory chain; the caller's own limit is lower
_MAX_DEPTH: Final = 3


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

    def numbers(self, layout: Layout) -> tuple[float, ...]:
        """Return the value as numbers; rationals are divided; text and unknown types give ()."""
        if self.kind in (5, 10):
            code = "I" if self.kind == 5 else "i"
            parts = struct.unpack(f"{layout.order}{2 * self.count}{code}", self.raw)
            return tuple(a / b if b else 0.0 for a, b in zip(parts[::2], parts[1::2], strict=True))
        code = _CODES.get(self.kind, "")
        return struct.unpack(f"{layout.order}{self.count}{code}", self.raw) if code else ()


@dataclass
class Directory:
    """A directory's entries by tag, and the directories that EXIF, GPS and interoperability tags point to."""

    entries: dict[int, Entry] = field(default_factory=dict)
    children: dict[int, Directory] = field(default_factory=dict)

    def integers(self, tag: int, layout: Layout, default: tuple[int, ...] = ()) -> tuple[int, ...]:
        entry = self.entries.get(tag)
        return tuple(int(v) for v in entry.numbers(layout)) if entry else default

    def integer(self, tag: int, layout: Layout, default: int = 0) -> int:
        return next(iter(self.integers(tag, layout)), default)

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
        DecodeError: `truncated` where a directory or value lies past the end, `decode_error` for a chain that loops,
            `too_large` for one without end.
    """
    layout, at = read_layout(data)
    pages: list[Directory] = []
    seen: set[int] = set()
    while at:
        if at in seen:
            raise DecodeError("decode_error", "TIFF: directories form a loop")
        if len(pages) >= _MAX_PAGES:
            raise DecodeError("too_large", f"TIFF: more than {_MAX_PAGES} pages")
        seen.add(at)
        directory, at = _read_directory(data, at, layout, _MAX_DEPTH)
        pages.append(directory)
    if not pages:
        raise DecodeError("decode_error", "TIFF: no page")
    return layout, pages


def _read_directory(data: bytes, at: int, layout: Layout, depth: int) -> tuple[Directory, int]:
    size, count_code, inline = (20, "Q", 8) if layout.big else (12, "H", 4)
    head = struct.calcsize("=" + count_code)
    if at + head > len(data):
        raise DecodeError("truncated", f"TIFF: directory at {at:,} past the file's {len(data):,} bytes")
    (count,) = struct.unpack_from(layout.order + count_code, data, at)
    after = at + head + size * count
    if after > len(data):
        raise DecodeError("truncated", f"TIFF: directory at {at:,} ends past the file's {len(data):,} bytes")
    directory = Directory()
    for i in range(count):
        where = at + head + size * i
        tag, kind, n = struct.unpack_from(f"{layout.order}HH{'Q' if layout.big else 'I'}", data, where)
        length = TYPE_SIZES.get(kind, 0) * n
        if length == 0:
            continue
        start = where + size - inline
        if length > inline:
            (start,) = struct.unpack_from(layout.offset, data, start)
            if start + length > len(data):
                raise DecodeError("truncated", f"TIFF: value of tag {tag} past the file's {len(data):,} bytes")
        entry = Entry(kind, n, data[start : start + length])
        directory.entries[tag] = entry
        if tag in POINTERS and depth > 0:
            try:
                target = directory.integer(tag, layout)
                directory.children[tag] = _read_directory(data, target, layout, depth - 1)[0]
            except DecodeError:
                # A damaged EXIF block must not cost the photograph.
                directory.entries.pop(tag)
    # Directories inside others often lack the pointer to a next one.
    end = after + struct.calcsize("=" + layout.offset[1])
    return directory, struct.unpack_from(layout.offset, data, after)[0] if end <= len(data) else 0


class Writer:
    """Writes pages one after the other: strips, then the values of the directory, then the directory."""

    def __init__(self, layout: Layout) -> None:
        self.layout = layout
        self._out = io.BytesIO()
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
            entries[tag] = self.offsets(self._directory(child)[0])
        layout, inline = self.layout, 8 if self.layout.big else 4
        code = "Q" if layout.big else "I"
        body = struct.pack(layout.order + ("Q" if layout.big else "H"), len(entries))
        for tag in sorted(entries):
            entry = entries[tag]
            fits = len(entry.raw) <= inline
            value = entry.raw.ljust(inline, b"\0") if fits else struct.pack(layout.offset, self.put(entry.raw))
            body += struct.pack(f"{layout.order}HH{code}", tag, entry.kind, entry.count) + value
        at = self.put(body + struct.pack(layout.offset, 0))
        return at, at + len(body)
