"""The application segments of a colored JPEG: the input's own, with provenance and an RGB profile.

Source: XMP part 3 (APP1); ICC.1 annex B.4 (APP2).
"""

from __future__ import annotations

import struct
from typing import Final

from raycolor.codecs import icc, xmp
from raycolor.codecs.jpeg_file import APP0, APP1, APP2, APP14, EXIF_HEAD, ICC_HEAD, XMP_HEAD
from raycolor.codecs.photograph import Metadata, Provenance

EXTENDED_XMP_HEAD: Final = b"http://ns.adobe.com/xmp/extension/\0"
MAX_PAYLOAD: Final = 65533
_EXTENDED_STEP: Final = 65400


def color_segments(metadata: Metadata, provenance: Provenance | None) -> bytes:
    """Return the application segments of the colored copy, to stand right after SOI.

    JFIF, EXIF, Photoshop (IPTC), comments and unknown segments stay byte for byte and in order; XMP gains the
    provenance; the ICC profile becomes one for RGB. Dropped: Adobe's marker (it says how the old pixels were coded),
    JFIF thumbnails' extension, and the index of a multi-picture file (its offsets and pictures are gone).
    """
    packet, profile = xmp.of_copy(metadata.xmp, provenance), icc.for_rgb(metadata.icc)
    parts: list[tuple[int, bytes]] = []
    for marker, payload in metadata.extra:
        own_xmp = marker == APP1 and payload.startswith(XMP_HEAD)
        own_icc = marker == APP2 and payload.startswith(ICC_HEAD)
        stale = (marker == APP14 and payload.startswith(b"Adobe")) or (marker == APP2 and payload.startswith(b"MPF\0"))
        if not (own_xmp or own_icc or stale or (marker == APP0 and payload.startswith(b"JFXX"))):
            parts.append((marker, payload))
    if packet is not None:
        parts = _with_xmp(parts, packet, provenance)
    if profile is not None:
        step = MAX_PAYLOAD - len(ICC_HEAD) - 2
        chunks = [profile[i : i + step] for i in range(0, len(profile), step)]
        if len(chunks) <= 255:
            parts += [(APP2, ICC_HEAD + bytes([i + 1, len(chunks)]) + c) for i, c in enumerate(chunks)]
    return b"".join(segment_bytes(marker, payload) for marker, payload in parts)


def segment_bytes(marker: int, payload: bytes) -> bytes:
    """Return one marker segment with its length."""
    return struct.pack(">BBH", 0xFF, marker, len(payload) + 2) + payload


def _with_xmp(parts: list[tuple[int, bytes]], packet: bytes, provenance: Provenance | None) -> list[tuple[int, bytes]]:
    """Put the packet after JFIF and EXIF; one too long for a segment is moved to extended XMP."""
    space = MAX_PAYLOAD - len(XMP_HEAD)
    if len(packet) > space:
        packet = xmp.shrink(packet)
    extended: list[tuple[int, bytes]] = []
    if len(packet) > space and provenance is not None:
        packet, rest, guid = xmp.move_to_extended(packet, _extended_xmp(parts), provenance)
        parts = [p for p in parts if not (p[0] == APP1 and p[1].startswith(EXTENDED_XMP_HEAD))]
        for i in range(0, len(rest), _EXTENDED_STEP):
            head = EXTENDED_XMP_HEAD + guid.encode() + struct.pack(">II", len(rest), i)
            extended.append((APP1, head + rest[i : i + _EXTENDED_STEP]))
    where = 0
    for i, (marker, payload) in enumerate(parts):
        if (marker == APP0 and payload.startswith(b"JFIF\0")) or (marker == APP1 and payload.startswith(EXIF_HEAD)):
            where = i + 1
    return [*parts[:where], (APP1, XMP_HEAD + packet), *extended, *parts[where:]]


def _extended_xmp(parts: list[tuple[int, bytes]]) -> bytes | None:
    """Join the extended packet's portions by their offsets."""
    head = len(EXTENDED_XMP_HEAD)
    pieces = [p[head + 36 :] for m, p in parts if m == APP1 and p.startswith(EXTENDED_XMP_HEAD) and len(p) > head + 40]
    ordered = sorted((struct.unpack_from(">I", piece)[0], piece[4:]) for piece in pieces)
    return b"".join(piece for _, piece in ordered) or None
