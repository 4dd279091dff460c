"""PNG files: chunks walked before decoding, all depths decoded, and a fast writer.

Source: W3C Portable Network Graphics (Third Edition); XMP part 3 section 1.1.5.
"""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Iterator
from typing import IO, Final

import imagecodecs
import numpy as np

from raycolor.codecs import exif as exif_fields
from raycolor.codecs import icc, png_pixels, xmp
from raycolor.codecs.guard import guard
from raycolor.codecs.photograph import (
    Color,
    Header,
    Metadata,
    Photograph,
    Plane,
    Provenance,
    Rows,
    split_alpha,
    with_alpha,
)
from raycolor.errors import DecodeError

SIGNATURE: Final = b"\x89PNG\r\n\x1a\n"
_XMP_KEY: Final = b"XML:com.adobe.xmp\0"
_COLORS: Final[dict[int, tuple[Color, int]]] = {
    0: ("gray", 1), 2: ("rgb", 3), 3: ("palette", 3), 4: ("gray", 2), 6: ("rgb", 4)
}  # fmt: skip
_DEPTHS: Final = {0: (1, 2, 4, 8, 16), 2: (8, 16), 3: (1, 2, 4, 8), 4: (8, 16), 6: (8, 16)}
# They describe the old samples or frames, so they would be wrong beside the new ones.
_STALE: Final = (b"PLTE", b"tRNS", b"bKGD", b"hIST", b"sBIT", b"sPLT", b"acTL", b"fcTL", b"fdAT")
_MAX_CHUNKS: Final = 1 << 20
_MAX_TEXT: Final = 16 << 20  # a compressed text or profile may not grow past this
_LEVEL: Final = 2  # with the Up filter smaller and four times faster than zlib's level 1 on photographs (measured)
_IDAT_SIZE: Final = 8 << 20
_BAND_BYTES: Final = 4 << 20
_WHOLE_BYTES: Final = 128 << 20

Chunk = tuple[bytes, int, int]  # type, start and end of the data


def read_chunks(data: bytes) -> list[Chunk]:
    """Return every chunk up to IEND.

    Raises:
        DecodeError: `truncated` where the file ends before IEND, `decode_error` where IHDR is not first or chunks
            are past counting.
    """
    chunks: list[Chunk] = []
    at = len(SIGNATURE)
    while at + 12 <= len(data):
        length, kind = struct.unpack_from(">I4s", data, at)
        if not kind.isalpha():
            raise DecodeError("decode_error", f"PNG: chunk type {kind!r}")
        if at + 12 + length > len(data):
            break
        if not chunks and (kind != b"IHDR" or length != 13):
            raise DecodeError("decode_error", "PNG: no IHDR chunk at the start")
        if len(chunks) >= _MAX_CHUNKS:
            raise DecodeError("decode_error", f"PNG: more than {_MAX_CHUNKS:,} chunks")
        chunks.append((kind, at + 8, at + 8 + length))
        at += 12 + length
        if kind == b"IEND":
            return chunks
    raise DecodeError("truncated", "PNG: the file ends before its IEND chunk")


def read_header(data: bytes) -> Header:
    """Return the header of a PNG file; errors as in `read_chunks`, and `decode_error` for an impossible IHDR."""
    chunks = read_chunks(data)
    width, height, depth, kind, compression, filters, interlace = struct.unpack_from(">IIBBBBB", data, chunks[0][1])
    impossible = not (0 < width < 1 << 31 and 0 < height < 1 << 31) or depth not in _DEPTHS.get(kind, ())
    if impossible or compression or filters or interlace > 1:
        raise DecodeError("decode_error", f"PNG: impossible header ({width} x {height}, {depth} bits, type {kind})")
    names = {name for name, _, _ in chunks}
    if b"IDAT" not in names:
        raise DecodeError("truncated", "PNG: no image data")
    metadata = _read_metadata(data, chunks)
    color, channels = _COLORS[kind]
    transparent = b"tRNS" in names and kind in (0, 2, 3)
    return Header(
        format="png",
        width=width,
        height=height,
        bit_depth=depth,
        channels=channels + transparent,
        orientation=exif_fields.orientation(metadata.exif, metadata.xmp),
        progressive=interlace == 1,
        animated=b"acTL" in names,
        color=color,
        alpha=kind in (4, 6) or transparent,
    )


def decode(data: bytes, header: Header) -> Photograph:
    """Decode a PNG: gray gives (H, W), all else (H, W, 3); 1, 2 and 4 bits become 8, palettes RGB, tRNS alpha.

    Of an animated file the default image.

    Raises:
        DecodeError: `truncated` or `decode_error`.
    """
    chunks = read_chunks(data)
    metadata = _read_metadata(data, chunks)
    metadata.extra = [(k, data[s:e]) for k, s, e in chunks if k not in (b"IHDR", b"IDAT", b"IEND", *_STALE)]
    kind, interlaced = data[chunks[0][1] + 9], header.progressive
    _check_sums(data, chunks)
    with guard("PNG"):
        packed = b"".join(data[s:e] for k, s, e in chunks if k == b"IDAT")
        values = png_pixels.read_pixels(packed, (header.height, header.width), header.bit_depth, kind, interlaced)
        palette, key = (next((data[s:e] for k, s, e in chunks if k == name), None) for name in (b"PLTE", b"tRNS"))
        array = png_pixels.colors(values, header.bit_depth, kind, palette, key)
    page, alpha = split_alpha(array, "PNG")
    return Photograph(header, [page], [alpha], metadata, notes=["animated: first frame"] if header.animated else [])


def encode(photo: Photograph, rgb: Rows, *, provenance: Provenance | None) -> bytes:
    """Write an RGB or RGBA PNG of the page's depth (8 or 16 bits) with the input's text, time and color chunks."""
    alpha = photo.alpha[0]
    depth = rgb.dtype.itemsize
    height, width = rgb.shape[:2]
    head = struct.pack(">IIBBBBB", width, height, 8 * depth, 6 if alpha is not None else 2, 0, 0, 0)
    before, after = _ancillary(photo.metadata, provenance)
    out = io.BytesIO()
    out.write(SIGNATURE)
    for kind, payload in [(b"IHDR", head), *before]:
        _put(out, kind, payload)
    with guard("PNG encoding"):
        for piece in _deflate(rgb, alpha):
            for i in range(0, len(piece), _IDAT_SIZE):
                _put(out, b"IDAT", memoryview(piece)[i : i + _IDAT_SIZE])
    for kind, payload in [*after, (b"IEND", b"")]:
        _put(out, kind, payload)
    return out.getvalue()


def _deflate(rgb: Rows, alpha: Plane | None) -> Iterator[bytes]:
    """Filter rows with Up (each byte minus the one above) and compress them, in bands where the picture is large.

    libdeflate is three times faster than zlib but wants everything at once: past a bound, zlib takes it band by band.
    """
    height, stride = rgb.shape[0], rgb.shape[1] * (3 if alpha is None else 4) * rgb.dtype.itemsize
    band = max(1, _BAND_BYTES // stride)
    above = np.zeros(stride, np.uint8)
    whole = height * (stride + 1) <= _WHOLE_BYTES
    filtered = np.empty((height if whole else band, stride + 1), np.uint8)
    filtered[:, 0] = 2
    stream, parts = zlib.compressobj(1), list[bytes]()
    for y in range(0, height, band):
        rows = with_alpha(rgb, alpha, y, min(y + band, height))
        raw = np.ascontiguousarray(rows.astype(">u2") if rows.dtype == np.uint16 else rows).view(np.uint8)
        raw = raw.reshape(len(rows), stride)
        out = filtered[y : y + len(rows)] if whole else filtered[: len(rows)]
        np.subtract(raw[0], above, out=out[0, 1:])
        np.subtract(raw[1:], raw[:-1], out=out[1:, 1:])
        above = raw[-1]
        if not whole:
            parts.append(stream.compress(out.data))
            # zlib gives now a few bytes, now many: small pieces wait, so as not to become chunks of their own.
            if sum(len(part) for part in parts) >= _IDAT_SIZE:
                yield b"".join(parts)
                parts.clear()
    if whole:
        view = filtered.data.cast("B")
        yield bytes(imagecodecs.deflate_encode(view, level=_LEVEL, raw=False))  # type: ignore[arg-type]
    else:
        yield b"".join([*parts, stream.flush()])


def _ancillary(metadata: Metadata, provenance: Provenance | None) -> tuple[list[tuple[bytes, bytes]], ...]:
    """Return the chunks before and after the image data; those the input had after it go after."""
    profile = icc.for_rgb(metadata.icc)
    before: list[tuple[bytes, bytes]] = []
    if profile is not None:
        before.append((b"iCCP", b"ICC profile\0\0" + zlib.compress(profile, 9)))
    for kind, payload in metadata.extra:
        own_xmp = kind == b"iTXt" and payload.startswith(_XMP_KEY)
        # sRGB beside iCCP is forbidden by the standard, and a reader may prefer the wrong one of the two.
        if kind == b"iCCP" or own_xmp or (kind == b"sRGB" and profile is not None):
            continue
        before.append((kind, payload))
    packet = xmp.of_copy(metadata.xmp, provenance)
    if packet is not None:
        before.append((b"iTXt", _XMP_KEY + bytes(4) + packet))
    late = {b"tEXt", b"zTXt", b"iTXt", b"tIME", b"eXIf"}
    return [c for c in before if c[0] not in late or c[1].startswith(_XMP_KEY)], [
        c for c in before if c[0] in late and not c[1].startswith(_XMP_KEY)
    ]


def _read_metadata(data: bytes, chunks: list[Chunk]) -> Metadata:
    first: dict[bytes, bytes] = {}
    for kind, start, end in chunks:
        payload = data[start:end] if kind in (b"eXIf", b"iCCP", b"pHYs", b"iTXt") else b""
        if kind == b"iTXt":
            if payload.startswith(_XMP_KEY):
                first.setdefault(b"xmp", payload[len(_XMP_KEY) :])
        elif payload:
            first.setdefault(kind, payload)
    exif = first.get(b"eXIf")
    dpi = exif_fields.dpi(exif)
    density = first.get(b"pHYs", b"")
    if len(density) == 9 and density[8] == 1:
        x, y = struct.unpack_from(">II", density)
        dpi = (x * 0.0254, y * 0.0254) if x and y else dpi
    profile = first.get(b"iCCP", b"").partition(b"\0")[2]
    return Metadata(exif=exif, xmp=_text(first.get(b"xmp")), icc=_inflate(profile[1:]), dpi=dpi)


def _text(payload: bytes | None) -> bytes | None:
    """Return an iTXt chunk's text: flag, method, language and translated key come before it."""
    if not payload or len(payload) < 4:
        return None
    compressed = payload[0] == 1
    text = payload[2:].partition(b"\0")[2].partition(b"\0")[2]
    return _inflate(text) if compressed else text or None


def _inflate(packed: bytes) -> bytes | None:
    """Inflate up to a bound; None for nothing, damage or more."""
    if not packed:
        return None
    try:
        stream = zlib.decompressobj()
        text = stream.decompress(packed, _MAX_TEXT)
    except zlib.error:
        return None
    return None if stream.unconsumed_tail else text


def _check_sums(data: bytes, chunks: list[Chunk]) -> None:
    """Compare the checksums of the chunks that the picture depends on."""
    for kind, start, end in chunks:
        if kind in (b"IHDR", b"PLTE", b"IDAT", b"tRNS"):
            (stored,) = struct.unpack_from(">I", data, end)
            if zlib.crc32(data[start - 4 : end]) != stored:
                raise DecodeError("decode_error", f"PNG: checksum of a {kind.decode()} chunk is wrong")


def _put(out: IO[bytes], kind: bytes, payload: bytes | memoryview) -> None:
    """Write one chunk; image data is large, so it is not copied to be joined."""
    out.write(struct.pack(">I", len(payload)) + kind)
    out.write(payload)
    out.write(struct.pack(">I", zlib.crc32(payload, zlib.crc32(kind))))
