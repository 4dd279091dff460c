"""JPEG 2000: JP2 files and bare codestreams of 8 to 16 bits.

Source: ISO/IEC 15444-1 annexes A (codestream) and I (JP2 boxes); XMP part 3 section 1.1.4.
"""

from __future__ import annotations

import struct
from typing import Final

import imagecodecs
import numpy as np

from raycolor.codecs import exif as exif_fields
from raycolor.codecs import icc, jp2_stream, xmp
from raycolor.codecs.guard import guard
from raycolor.codecs.photograph import Header, Metadata, Photograph, Plane, Provenance, full_range, split_alpha
from raycolor.errors import DecodeError

SIGNATURE: Final = b"\0\0\0\x0cjP  \r\n\x87\n"
CODESTREAM: Final = b"\xff\x4f\xff\x51"
_XMP: Final = bytes.fromhex("BE7ACFCB97A942E89C71999491E3AFAC")
_EXIF: Final = b"JpgTiffExif->JP2"
_LOSSY_PSNR: Final = 48  # of copies of lossy files; lossless files give lossless copies

Box = tuple[bytes, bytes]


def read_boxes(data: bytes) -> list[Box]:
    """Return a file's or superbox's boxes as (type, payload).

    Raises:
        DecodeError: `truncated` where a box goes past the end.
    """
    boxes: list[Box] = []
    at = 0
    while at + 8 <= len(data):
        size, kind = struct.unpack_from(">I4s", data, at)
        head = 8
        if size == 1 and at + 16 <= len(data):
            (size,) = struct.unpack_from(">Q", data, at + 8)
            head = 16
        size = size or len(data) - at
        if size < head:
            raise DecodeError("decode_error", f"JPEG 2000: box {kind!r} of {size} bytes")
        if at + size > len(data):
            raise DecodeError("truncated", f"JPEG 2000: box {kind!r} ends past the file's {len(data):,} bytes")
        boxes.append((kind, data[at + head : at + size]))
        at += size
    return boxes


def read_header(data: bytes) -> Header:
    """Return the header of a JPEG 2000 file.

    Raises:
        DecodeError: `truncated`; `unsupported_format` for signed, subsampled or palette samples, over 16 bits, and
            color spaces other than gray, sRGB and ICC; `decode_error`.
    """
    boxes, stream = _split(data)
    if not stream.startswith(CODESTREAM) or len(stream) < 41:
        raise DecodeError("truncated", "JPEG 2000: no codestream header")
    if not stream.rstrip(b"\0").endswith(b"\xff\xd9"):
        raise DecodeError("truncated", "JPEG 2000: no end-of-codestream marker")
    x1, y1, x0, y0 = struct.unpack_from(">4I", stream, 8)
    (channels,) = struct.unpack_from(">H", stream, 40)
    components = stream[42 : 42 + 3 * channels]
    if x1 <= x0 or y1 <= y0 or channels < 1 or len(components) < 3 * channels:
        raise DecodeError("decode_error", "JPEG 2000: impossible image size")
    depths = set(components[::3])
    bits = (components[0] & 127) + 1
    if channels > 4 or len(depths) > 1 or components[0] & 128 or bits > 16:
        raise DecodeError("unsupported_format", f"JPEG 2000: {channels} components of {sorted(depths)} coded depth")
    if set(components[1::3]) | set(components[2::3]) != {1}:
        raise DecodeError("unsupported_format", "JPEG 2000: subsampled components")
    inner = _inner(boxes)
    names = {name for name, _ in inner}
    spaces = {p[3:7] for k, p in inner if k == b"colr" and p[:1] == b"\x01"}
    if b"pclr" in names or not spaces <= {b"\0\0\0\x10", b"\0\0\0\x11"}:
        raise DecodeError("unsupported_format", "JPEG 2000: palette, YCC or CMYK")
    metadata = _read_metadata(boxes)
    return Header(
        format="jp2",
        width=x1 - x0,
        height=y1 - y0,
        bit_depth=bits,
        channels=channels,
        orientation=exif_fields.orientation(metadata.exif, metadata.xmp),
        color="gray" if channels < 3 else "rgb",
        alpha=channels in (2, 4),
    )


def decode(data: bytes, header: Header) -> Photograph:
    """Decode a JPEG 2000 file: gray gives (H, W), color (H, W, 3), up to 8 bits uint8, up to 16 uint16."""
    boxes, stream = _split(data)
    reversible = jp2_stream.check_whole(stream)
    with guard("JPEG 2000"):
        array = np.asarray(imagecodecs.jpeg2k_decode(stream, numthreads=1))
    if array.shape[:2] != (header.height, header.width):
        raise DecodeError("decode_error", f"JPEG 2000: decoded to {array.shape}")
    page, alpha = split_alpha(full_range(array, header.bit_depth), "JPEG 2000")
    notes = [] if boxes else ["a bare codestream holds no metadata: provenance is left out"]
    return Photograph(header, [page], [alpha], _read_metadata(boxes), source=(boxes, reversible), notes=notes)


def encode(photo: Photograph, rgb: Plane, *, provenance: Provenance | None) -> bytes:
    """Write JPEG 2000 of the page's depth, lossless where the input was; the input's boxes are kept."""
    boxes, reversible = photo.source
    alpha = photo.alpha[0]
    samples = np.ascontiguousarray(rgb if alpha is None else np.dstack([rgb, alpha]))
    with guard("JPEG 2000 encoding"):
        level = None if reversible else _LOSSY_PSNR
        stream = bytes(
            imagecodecs.jpeg2k_encode(samples, level=level, codecformat="j2k", reversible=reversible, numthreads=1)
        )
    if not boxes:
        return stream
    packet, profile = xmp.of_copy(photo.metadata.xmp, provenance), icc.for_rgb(photo.metadata.icc)
    depth = 8 * samples.dtype.itemsize - 1
    channels = samples.shape[2]
    inner = _box(b"ihdr", struct.pack(">IIHBBBB", *rgb.shape[:2], channels, depth, 7, 0, 0))
    inner += _box(b"colr", b"\x02\0\0" + profile if profile else b"\x01\0\0\0\0\0\x10")
    if alpha is not None:
        inner += _box(b"cdef", struct.pack(">13H", 4, 0, 0, 1, 1, 0, 2, 2, 0, 3, 3, 1, 0))
    inner += b"".join(_box(k, p) for k, p in _inner(boxes) if k == b"res ")
    parts = [SIGNATURE, b"".join(_box(k, p) for k, p in boxes if k == b"ftyp"), _box(b"jp2h", inner)]
    stale = (b"jP  ", b"ftyp", b"jp2h", b"jp2c")
    parts += [_box(k, p) for k, p in boxes if k not in stale and not (k == b"uuid" and p.startswith(_XMP))]
    if packet is not None:
        parts.append(_box(b"uuid", _XMP + packet))
    return b"".join([*parts, _box(b"jp2c", stream)])


def _split(data: bytes) -> tuple[list[Box], bytes]:
    """Return (boxes, codestream); a bare codestream has no boxes."""
    if data.startswith(CODESTREAM):
        return [], data
    boxes = read_boxes(data)
    stream = next((payload for kind, payload in boxes if kind == b"jp2c"), None)
    if stream is None:
        raise DecodeError("truncated", "JPEG 2000: the file ends before its codestream")
    return boxes, stream


def _inner(boxes: list[Box]) -> list[Box]:
    return read_boxes(next((payload for kind, payload in boxes if kind == b"jp2h"), b""))


def _read_metadata(boxes: list[Box]) -> Metadata:
    uuids = {payload[:16]: payload[16:] for kind, payload in reversed(boxes) if kind == b"uuid"}
    exif = uuids.get(_EXIF)
    profile = next((p[3:] for k, p in _inner(boxes) if k == b"colr" and p[:1] in (b"\x02", b"\x03")), None)
    dpi = exif_fields.dpi(exif)
    for kind, payload in _inner(boxes):
        for name, value in read_boxes(payload) if kind == b"res " else []:
            if name in (b"resc", b"resd") and len(value) >= 10:
                vn, vd, hn, hd, ve, he = struct.unpack(">4H2b", value[:10])
                if vd and hd and name == b"resc":
                    dpi = (hn / hd * 10.0**he * 0.0254, vn / vd * 10.0**ve * 0.0254)
    return Metadata(exif=exif, xmp=uuids.get(_XMP), icc=profile, dpi=dpi)


def _box(kind: bytes, payload: bytes) -> bytes:
    size = len(payload) + 8
    if size >= 1 << 32:
        return struct.pack(">I4sQ", 1, kind, size + 8) + payload
    return struct.pack(">I4s", size, kind) + payload
