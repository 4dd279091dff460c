"""WebP files. Source: RFC 9649, WebP Image Format."""

from __future__ import annotations

import io
import struct
from collections.abc import Iterator
from typing import Final

import imagecodecs
import numpy as np
from PIL import Image

from raycolor.codecs import exif as exif_fields
from raycolor.codecs import icc, xmp
from raycolor.codecs.guard import guard, pillow
from raycolor.codecs.photograph import Header, Metadata, Photograph, Plane, Provenance, split_alpha
from raycolor.errors import DecodeError

_MAX_CHUNKS: Final = 1 << 20
_METHOD: Final = 3  # 0 fast to 6 small


def read_chunks(data: bytes) -> list[tuple[bytes, bytes]]:
    """Return the chunks of a WebP file; DecodeError `truncated` where one goes past the end."""
    if len(data) < 12:
        raise DecodeError("truncated", "WebP: the file ends inside its header")
    end = struct.unpack_from("<I", data, 4)[0] + 8
    if end > len(data):
        raise DecodeError("truncated", f"WebP: {len(data):,} of {end:,} bytes")
    chunks: list[tuple[bytes, bytes]] = []
    for kind, start, stop in _walk(data, 12, end):
        if stop > end:
            raise DecodeError("truncated", f"WebP: chunk {kind!r} goes past the end")
        if len(chunks) >= _MAX_CHUNKS:
            raise DecodeError("decode_error", f"WebP: more than {_MAX_CHUNKS:,} chunks")
        chunks.append((kind, data[start:stop]))
    return chunks


def _walk(data: bytes, at: int, end: int) -> Iterator[tuple[bytes, int, int]]:
    """Yield type, start and end of the data of each chunk."""
    while at + 8 <= end:
        kind, size = struct.unpack_from("<4sI", data, at)
        yield kind, at + 8, at + 8 + size
        at += 8 + size + size % 2


def read_header(data: bytes) -> Header:
    """Return the header of a WebP file; DecodeError `truncated` or `decode_error`."""
    chunks = read_chunks(data)
    first = dict(reversed(chunks))
    animated, alpha = b"ANMF" in first, False
    if len(first.get(b"VP8X", b"")) >= 10:
        extended = first[b"VP8X"]
        width, height = (int.from_bytes(extended[i : i + 3], "little") + 1 for i in (4, 7))
        alpha = bool(extended[0] & 0x10)
    elif len(first.get(b"VP8L", b"")) >= 5 and first[b"VP8L"][0] == 0x2F:
        (packed,) = struct.unpack_from("<I", first[b"VP8L"], 1)
        width, height, alpha = (packed & 0x3FFF) + 1, (packed >> 14 & 0x3FFF) + 1, bool(packed >> 28 & 1)
    elif len(first.get(b"VP8 ", b"")) >= 10 and first[b"VP8 "][3:6] == b"\x9d\x01\x2a":
        width, height = (v & 0x3FFF for v in struct.unpack_from("<HH", first[b"VP8 "], 6))
    else:
        raise DecodeError("decode_error", "WebP: no image in it")
    metadata = _read_metadata(chunks)
    return Header(
        format="webp",
        width=width,
        height=height,
        bit_depth=8,
        channels=3 + alpha,
        orientation=exif_fields.orientation(metadata.exif, metadata.xmp),
        animated=animated,
        alpha=alpha,
    )


def decode(data: bytes, header: Header) -> Photograph:
    """Decode a WebP file to (H, W, 3) uint8 (the format has no gray); of an animated one the first frame."""
    chunks = read_chunks(data)
    with guard("WebP"):
        array = np.asarray(imagecodecs.webp_decode(data, index=0))
    if array.shape[:2] != (header.height, header.width):
        raise DecodeError("decode_error", f"WebP: decoded to {array.shape}")
    page, alpha = split_alpha(array, "WebP")
    first_frame = next((payload for kind, payload in chunks if kind == b"ANMF"), b"")
    lossless = any(kind == b"VP8L" for kind, _ in chunks) or any(
        kind == b"VP8L"
        for kind, *_ in _walk(first_frame, 16, len(first_frame))  # behind place and time
    )
    notes = ["animated: first frame"] if header.animated else []
    return Photograph(
        header, [page], [alpha if header.alpha else None], _read_metadata(chunks), source=lossless, notes=notes
    )


def encode(photo: Photograph, rgb: Plane, *, provenance: Provenance | None, quality: int) -> bytes:
    """Write WebP, lossless where the input was, with its EXIF, XMP and color profile."""
    alpha, metadata = photo.alpha[0], photo.metadata
    out = io.BytesIO()
    with pillow("WebP encoding"):
        image = Image.fromarray(np.ascontiguousarray(rgb if alpha is None else np.dstack([rgb, alpha])))
        image.save(
            out,
            "WEBP",
            lossless=photo.source,
            quality=quality,
            method=_METHOD,
            exact=True,
            exif=metadata.exif or b"",
            xmp=xmp.of_copy(metadata.xmp, provenance) or b"",
            icc_profile=icc.for_rgb(metadata.icc) or b"",
        )
    return out.getvalue()


def _read_metadata(chunks: list[tuple[bytes, bytes]]) -> Metadata:
    first = dict(reversed(chunks))
    exif = first.get(b"EXIF")
    exif = exif.removeprefix(b"Exif\0\0") if exif else None
    return Metadata(exif=exif, xmp=first.get(b"XMP "), icc=first.get(b"ICCP"), dpi=exif_fields.dpi(exif))
