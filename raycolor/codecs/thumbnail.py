"""Small JPEGs of photographs, for pages and notebooks."""

from __future__ import annotations

import base64
from typing import Any, Final

import cv2
import numpy as np
import simplejpeg
from numpy.typing import NDArray

from raycolor.codecs.formats import decode
from raycolor.codecs.orient import upright
from raycolor.codecs.photograph import DEFAULT_MAX_PIXELS

_MOST_BYTES_PER_PIXEL: Final = 0.4


def thumbnail(pixels: NDArray[Any], side_px: int) -> bytes:
    """Shrink gray or RGB pixels of 8 or 16 bits to a small JPEG.

    Args:
        pixels: (H, W) or (H, W, 3), uint8 or uint16.
        side_px: the longer side of the result; smaller pictures keep their size.
    """
    scale = min(1.0, side_px / max(pixels.shape[:2]))
    size = max(1, round(pixels.shape[1] * scale)), max(1, round(pixels.shape[0] * scale))
    small = cv2.resize(pixels, size, interpolation=cv2.INTER_AREA)
    if small.dtype == np.uint16:
        small = (small // 257).astype(np.uint8)
    rgb = np.ascontiguousarray(np.broadcast_to(small[..., None], (*small.shape, 3)) if small.ndim == 2 else small)
    jpeg = b""
    # Only what is little else than noise needs the lower qualities: they bound the size of a page.
    for quality in (78, 50, 25):
        jpeg = bytes(simplejpeg.encode_jpeg(rgb, quality=quality, colorspace="RGB", colorsubsampling="420"))
        if len(jpeg) <= _MOST_BYTES_PER_PIXEL * rgb.shape[0] * rgb.shape[1]:
            break
    return jpeg


def photo_thumbnail(data: bytes, side_px: int, *, max_pixels: int = DEFAULT_MAX_PIXELS) -> bytes:
    """Decode the first page of a photograph, turn it upright and shrink it.

    Raises:
        DecodeError: as `decode`.
    """
    photo = decode(data, max_pixels=max_pixels)
    page = upright(photo.pages[0], photo.header.orientation)
    return thumbnail(np.ascontiguousarray(page), side_px)


def data_uri(jpeg: bytes) -> str:
    """Return a JPEG as a data: URI."""
    return "data:image/jpeg;base64," + base64.b64encode(jpeg).decode("ascii")
