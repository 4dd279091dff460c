"""The structure of a JPEG file, parsed once: its segments, its frame, where its scans lie, and its metadata.

Source: ITU-T T.81 annex B; JFIF 1.02; Adobe Technical Note 5116 (APP14); XMP part 3 (APP1); ICC.1 annex B.4 (APP2).
"""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass, field
from functools import cached_property
from typing import Final, NamedTuple

import numpy as np

from raycolor.codecs import exif as exif_fields
from raycolor.codecs.photograph import Color, Header, Metadata, Process
from raycolor.errors import DecodeError

SOI, EOI, SOS, DQT, DHT, DRI = 0xD8, 0xD9, 0xDA, 0xDB, 0xC4, 0xDD
APP0, APP1, APP2, APP14 = 0xE0, 0xE1, 0xE2, 0xEE
EXIF_HEAD: Final = b"Exif\0\0"
XMP_HEAD: Final = b"http://ns.adobe.com/xap/1.0/\0"
ICC_HEAD: Final = b"ICC_PROFILE\0"
_SOF_PROCESS: Final[dict[int, Process]] = {
    0xC0: "baseline", 0xC1: "extended", 0xC2: "progressive", 0xC3: "lossless",
    0xC5: "hierarchical", 0xC6: "hierarchical", 0xC7: "hierarchical",
    0xC9: "arithmetic", 0xCA: "arithmetic", 0xCB: "lossless",
    0xCD: "hierarchical", 0xCE: "hierarchical", 0xCF: "hierarchical",
}  # fmt: skip
PROGRESSIVE: Final = (0xC2, 0xCA)  # Huffman-coded and arithmetic
# A file of tiny segments or thousands of scans costs far more time and memory than its bytes: photographs have some
# ten scans and a hundred segments.
MAX_SCANS: Final = 100
MAX_SEGMENTS: Final = 50_000
_PIECE: Final = 1 << 16  # bytes of a scan that are looked at together
_NEXT_MARKER: Final = re.compile(rb"\xff+([\x01-\xcf\xd8-\xfe])")


@dataclass(frozen=True)
class Component:
    ident: int
    h: int
    v: int
    table: int


class ScanHeader(NamedTuple):
    """What an SOS segment says: components, their tables (DC * 16 + AC), coefficients, bits (Ah * 16 + Al)."""

    components: list[Component]
    tables: bytes
    first: int
    last: int
    bits: int


@dataclass
class Segment:
    """One marker segment; for SOS, `scan` is where its entropy-coded data lies in the file (end not included)."""

    marker: int
    payload: bytes
    scan: tuple[int, int] = (0, 0)


@dataclass
class JpegFile:
    """A JPEG's segments in order (without SOI and EOI), its frame, and where the image ends in the file."""

    data: bytes = field(repr=False)
    segments: list[Segment] = field(default_factory=list, repr=False)
    sof: int = 0
    precision: int = 0
    width: int = 0
    height: int = 0
    components: list[Component] = field(default_factory=list)
    end: int | None = None  # just after EOI; None where there is none
    stray: list[tuple[int, int]] = field(default_factory=list)  # bytes of no segment, before the first scan

    def payloads(self, marker: int, head: bytes = b"") -> list[bytes]:
        """Return the payloads of this marker that start with `head`, without it."""
        return [s.payload[len(head) :] for s in self.segments if s.marker == marker and s.payload.startswith(head)]

    @property
    def scans(self) -> list[Segment]:
        return [s for s in self.segments if s.marker == SOS]

    @property
    def process(self) -> Process:
        """Return how the frame is coded: the meaning of its SOF marker."""
        return _SOF_PROCESS[self.sof]

    @cached_property
    def metadata(self) -> Metadata:
        """What the application segments say. Damaged ones are kept in `extra` and give no field."""
        exif = next(iter(self.payloads(APP1, EXIF_HEAD)), None)
        jfif = next(iter(self.payloads(APP0, b"JFIF\0")), b"")
        dpi = exif_fields.dpi(exif)
        if len(jfif) >= 7:
            x, y = struct.unpack_from(">HH", jfif, 3)
            dpi = exif_fields.per_inch(x, y, jfif[2] + 1) or dpi
        return Metadata(
            exif=exif,
            xmp=next(iter(self.payloads(APP1, XMP_HEAD)), None),
            icc=_icc(self.payloads(APP2, ICC_HEAD)),
            dpi=dpi,
            extra=[(s.marker, s.payload) for s in self.segments if s.marker >= APP0],
        )

    @property
    def adobe_transform(self) -> int | None:
        adobe = next(iter(self.payloads(APP14, b"Adobe")), b"")
        return adobe[6] if len(adobe) >= 7 else None

    @property
    def color(self) -> Color:
        """Return the color space as libjpeg decides it (jdapimin.c, default_decompress_parms)."""
        transform, ids = self.adobe_transform, tuple(c.ident for c in self.components)
        if len(ids) == 1:
            return "gray"
        if len(ids) == 4:
            return "ycck" if transform == 2 else "cmyk"
        if self.payloads(APP0, b"JFIF\0"):
            return "ycbcr"
        if transform is not None:
            return "rgb" if transform == 0 else "ycbcr"
        return "rgb" if ids == (82, 71, 66) else "ycbcr"


def parse(data: bytes, *, scans: bool = True) -> JpegFile:
    """Read the segments of a JPEG file.

    Args:
        data: the file.
        scans: go on past the first scan to the end of the image. Without, reading stops at the first scan.

    Raises:
        DecodeError: `not_an_image` without SOI, `truncated` where the file ends inside a segment or before its frame
            or first scan, `decode_error` where segments contradict the standard or stray bytes follow a scan,
            `too_large` for more than 100 scans or 50,000 segments, `unsupported_format` for a height that only
            follows the scan (DNL).
    """
    if data[:2] != b"\xff\xd8":
        raise DecodeError("not_an_image", "JPEG: no SOI marker")
    file, at = JpegFile(data), 2
    for _ in range(MAX_SEGMENTS):
        match = _NEXT_MARKER.match(data, at)
        if match is None:
            # Some writers leave stray bytes between segments: libjpeg skips to the next marker, and so do we.
            match = _NEXT_MARKER.search(data, at)
            if match is None:
                break
            if file.scans:
                raise DecodeError("decode_error", "JPEG: stray bytes after a scan: a marker is damaged")
            file.stray.append((at, match.start()))
        marker, at = match.group(1)[0], match.end()
        if marker == EOI:
            file.end = at
            break
        if marker in (SOI, 0x01):
            continue
        if at + 2 > len(data):
            break
        (length,) = struct.unpack_from(">H", data, at)
        if length < 2:
            raise DecodeError("decode_error", f"JPEG: segment 0x{marker:02X} of length {length}")
        if at + length > len(data):
            break
        segment = Segment(marker, data[at + 2 : at + length])
        at += length
        file.segments.append(segment)
        if marker in _SOF_PROCESS:
            _read_frame(file, marker, segment.payload)
        if marker == SOS:
            if not file.sof:
                raise DecodeError("decode_error", "JPEG: a scan before the frame header")
            if not scans:
                return file
            stop = _scan_end(data, at)
            segment.scan, at = (at, stop), stop
            if len(file.scans) > MAX_SCANS:
                raise DecodeError("too_large", f"JPEG: over {MAX_SCANS} scans")
    else:
        raise DecodeError("too_large", f"JPEG: over {MAX_SEGMENTS:,} segments")
    if not file.sof or not file.scans:
        raise DecodeError("truncated", "JPEG: the file ends before its first scan")
    return file


def scan_header(file: JpegFile, sos: Segment) -> ScanHeader:
    """Read the header of a scan; that of a sequential one is of all coefficients, whatever it says.

    Raises:
        DecodeError: `decode_error` where it is cut, or names a component that is not there or one twice.
    """
    payload = sos.payload
    count = payload[0] if payload else 0
    by_ident = {c.ident: c for c in file.components}
    idents = payload[1 : 1 + 2 * count : 2]
    if not count or len(payload) < 4 + 2 * count or not set(idents) <= set(by_ident) or len(set(idents)) < count:
        raise DecodeError("decode_error", "JPEG: a scan header names components that are not there")
    first, last, bits = payload[1 + 2 * count : 4 + 2 * count] if file.sof in PROGRESSIVE else (0, 63, 0)
    return ScanHeader([by_ident[ident] for ident in idents], payload[2 : 2 + 2 * count : 2], first, last, bits)


def _scan_end(data: bytes, at: int) -> int:
    """Return where the entropy-coded data that begins at `at` ends: before the next marker but restarts.

    Looked for 64 KB at a time by arrays: in Python alone a large file's scan costs a fifth of decoding it.
    """
    codes = np.frombuffer(data, np.uint8)
    while at + 1 < len(codes):
        piece = codes[at : at + _PIECE + 1]  # one more: the byte behind the last 0xFF
        marks = np.flatnonzero(piece[:-1] == 0xFF)
        following = piece[marks + 1]
        ends = marks[(following != 0) & (following != 0xFF) & ((following < 0xD0) | (following > 0xD7))]
        if ends.size:
            return at + int(ends[0])
        at += len(piece) - 1
    # A last byte of 0xFF begins a marker that is cut off.
    return len(codes) - 1 if at + 1 == len(codes) and codes[at] == 0xFF else len(codes)


def read_header(data: bytes) -> Header:
    """Return the header of a JPEG file, with the parsed file behind it; errors as in `parse`."""
    file = parse(data)
    return Header(
        format="jpeg",
        width=file.width,
        height=file.height,
        bit_depth=file.precision,
        channels=len(file.components),
        orientation=exif_fields.orientation(file.metadata.exif, file.metadata.xmp),
        progressive=file.process == "progressive",
        color=file.color,
        jpeg=file,
    )


def _read_frame(file: JpegFile, marker: int, payload: bytes) -> None:
    if file.sof:
        raise DecodeError("unsupported_format", "JPEG: more than one frame")
    if len(payload) < 6 or len(payload) < 6 + 3 * payload[5] or payload[5] == 0:
        raise DecodeError("decode_error", "JPEG: frame header cut short")
    file.sof = marker
    file.precision, file.height, file.width, count = struct.unpack_from(">BHHB", payload)
    if file.height == 0:
        raise DecodeError("unsupported_format", "JPEG: the height follows the scan (DNL)")
    if file.width == 0:
        raise DecodeError("decode_error", "JPEG: width 0")
    for i in range(count):
        ident, factors, table = payload[6 + 3 * i : 9 + 3 * i]
        file.components.append(Component(ident, factors >> 4, factors & 15, table))
    if any(not (1 <= c.h <= 4 and 1 <= c.v <= 4) for c in file.components):
        raise DecodeError("decode_error", "JPEG: sampling factors outside 1..4")


def _icc(chunks: list[bytes]) -> bytes | None:
    """Join an ICC profile's numbered chunks; None where any is missing."""
    numbered = {c[0]: c[2:] for c in chunks if len(c) > 2}
    total = chunks[0][1] if chunks and len(chunks[0]) > 2 else 0
    if not total or set(numbered) != set(range(1, total + 1)):
        return None
    return b"".join(numbered[i] for i in range(1, total + 1))
