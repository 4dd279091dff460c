"""BMP and GIF, read through Pillow. A GIF's first frame is taken; its colored copy is a PNG."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image

from raycolor.codecs.guard import pillow
from raycolor.codecs.photo import Format, Header, Metadata, Photo, Plane, split_alpha
from raycolor.errors import DecodeError

_FORMATS: dict[Format, str] = {"bmp": "BMP", "gif": "GIF"}


def read_header(data: bytes, kind: Format) -> Header:
    """Return the header of a BMP or GIF file, read by Pillow without decoding; DecodeError as Pillow finds it."""
    with pillow(kind.upper()), Image.open(io.BytesIO(data), formats=[_FORMATS[kind]]) as image:
        width, height = image.size
        gray = image.mode in ("1", "L")
        alpha = image.mode in ("RGBA", "LA") or "transparency" in image.info
        animated = bool(getattr(image, "is_animated", False))
        color = "gray" if gray else "palette" if image.mode == "P" else "rgb"
    return Header(
        format=kind,
        width=width,
        height=height,
        bit_depth=8,
        channels=(1 if gray else 3) + alpha,
        gray=gray,
        animated=animated,
        color=color,  # type: ignore[arg-type]
        alpha=alpha,
        total_pixels=width * height,
    )


def decode(data: bytes, header: Header) -> Photo:
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
    return Photo(header, [page], [alpha], metadata, notes=notes)


def encode_bmp(photo: Photo, rgb: Plane) -> bytes:
    """Write a 24- or 32-bit BMP. The format holds no metadata but the resolution, so no provenance either."""
    alpha = photo.alpha[0]
    out = io.BytesIO()
    with pillow("BMP encoding"):
        image = Image.fromarray(np.ascontiguousarray(rgb if alpha is None else np.dstack([rgb, alpha])))
        image.save(out, "BMP", dpi=photo.metadata.dpi or (96.0, 96.0))
    return out.getvalue()
