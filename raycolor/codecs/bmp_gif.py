"""BMP and GIF, read through Pillow. A GIF's first frame is taken; its colored copy is a PNG."""

from __future__ import annotations

import io
import struct
from typing import Final

import numpy as np
from PIL import Image

from raycolor.codecs.guard import pillow
from raycolor.codecs.photograph import Color, Format, Header, Metadata, Photograph, Plane, split_alpha
from raycolor.errors import DecodeError

_EXTENSION, _CONTROL, _FRAME, _TRAILER = 0x21, 0xF9, 0x2C, 0x3B
_FORMATS: Final[dict[Format, str]] = {"bmp": "BMP", "gif": "GIF"}


def read_bmp_header(data: bytes) -> Header:
    """Return the header of a BMP file without allocating its pixels; DecodeError `truncated` or `decode_error`."""
    with pillow("BMP"), Image.open(io.BytesIO(data), formats=["BMP"]) as image:
        width, height = image.size
        gray = image.mode in ("1", "L")
        alpha = image.mode in ("RGBA", "LA") or "transparency" in image.info
        color: Color = "gray" if gray else "palette" if image.mode == "P" else "rgb"
    return _header("bmp", width, height, color, alpha=alpha)


def _header(kind: Format, width: int, height: int, color: Color, *, alpha: bool, animated: bool = False) -> Header:
    return Header(
        format=kind,
        width=width,
        height=height,
        bit_depth=8,
        channels=(1 if color == "gray" else 3) + alpha,
        animated=animated,
        color=color,
        alpha=alpha,
    )


def read_gif_header(data: bytes) -> Header:
    """Return the header of a GIF file; DecodeError `truncated` or `decode_error`.

    Its blocks are walked, as Pillow allocates the canvas, as large as the file says, when it opens a GIF.

    Source: GIF89a Specification, sections 18 to 26 and appendix A.
    """
    if len(data) < 13:
        raise DecodeError("truncated", "GIF: the file ends inside its header")
    width, height, flags = struct.unpack_from("<HHB", data, 6)
    at, palette, frames, alpha = 13, b"", 0, False
    if flags & 0x80:
        palette = data[at : at + (6 << (flags & 7))]
        at += 6 << (flags & 7)
    while at < len(data) and data[at] != _TRAILER and frames < 2:
        block = data[at]
        if block == _EXTENSION and at + 4 < len(data):
            if data[at + 1] == _CONTROL and not frames:
                alpha = bool(data[at + 3] & 1)
            at += 2
        elif block == _FRAME and at + 10 <= len(data):
            left, top, wide, high, flags = struct.unpack_from("<4HB", data, at + 1)
            at += 10
            if not frames:
                # As Pillow does: a frame that reaches over its canvas makes it larger.
                width, height = max(width, left + wide), max(height, top + high)
                if flags & 0x80:
                    palette = data[at : at + (6 << (flags & 7))]
            at += (6 << (flags & 7) if flags & 0x80 else 0) + 1
            frames += 1
        elif block in (_EXTENSION, _FRAME):
            break
        else:
            at += 1  # Stray bytes between blocks are passed over by every reader.
            continue
        while at < len(data) and data[at]:
            at += 1 + data[at]
        at += 1
    if not frames:
        raise DecodeError("truncated" if at >= len(data) else "decode_error", "GIF: no picture in it")
    if not width or not height:
        raise DecodeError("decode_error", f"GIF: {width} x {height} pixels")
    ramp = all(palette[i] == i // 3 for i in range(len(palette)))
    return _header("gif", width, height, "gray" if ramp else "palette", alpha=alpha, animated=frames > 1)


def decode(data: bytes, header: Header) -> Photograph:
    """Decode the first (or only) frame."""
    with pillow(header.format.upper()), Image.open(io.BytesIO(data), formats=[_FORMATS[header.format]]) as image:
        dpi = image.info.get("dpi")
        image.load()
        mode = ("L" if header.gray else "RGB") + ("A" if header.alpha else "")
        array = np.asarray(image.convert(mode))
    if array.shape[:2] != (header.height, header.width):
        raise DecodeError("decode_error", f"{header.format}: decoded to {array.shape}")
    page, alpha = split_alpha(array, header.format)
    notes = ["animated: first frame"] if header.animated else []
    metadata = Metadata(dpi=(float(dpi[0]), float(dpi[1])) if dpi else None)
    return Photograph(header, [page], [alpha], metadata, notes=notes)


def encode_bmp(photo: Photograph, rgb: Plane) -> bytes:
    """Write a 24- or 32-bit BMP. The format holds no metadata but the resolution, so no provenance either."""
    alpha = photo.alpha[0]
    out = io.BytesIO()
    with pillow("BMP encoding"):
        image = Image.fromarray(np.ascontiguousarray(rgb if alpha is None else np.dstack([rgb, alpha])))
        image.save(out, "BMP", dpi=photo.metadata.dpi or (96.0, 96.0))
    return out.getvalue()
