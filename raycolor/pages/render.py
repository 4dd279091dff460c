"""Templates and thumbnails that all pages share."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import simplejpeg
from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape
from markupsafe import Markup, escape
from numpy.typing import NDArray

from raycolor import __version__, codecs
from raycolor.progress import printable

_MOST_BYTES_PER_PIXEL = 0.4


def _shown(value: Any) -> Any:
    """Show text of unknown origin, keys above all, without characters that hide or move others."""
    return value if isinstance(value, Markup) or not isinstance(value, str) else printable(value)


_ENVIRONMENT = Environment(
    loader=PackageLoader("raycolor", ""),
    finalize=_shown,
    autoescape=select_autoescape(default=True, default_for_string=True),
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)


def _thousands(number: float) -> str:
    return f"{number:,}" if isinstance(number, int) else f"{number:,.1f}"


def _lines(text: str) -> Markup:
    """Keep the lines of a text that is made of some."""
    return Markup("\n").join(escape(printable(line)) for line in text.split("\n"))


_ENVIRONMENT.filters["thousands"] = _thousands
_ENVIRONMENT.filters["lines"] = _lines


@dataclass(frozen=True)
class Figure:
    """One chart and its caption."""

    caption: str
    svg: Markup


def render(template: str, **values: Any) -> str:
    """Fill a template; every value is escaped."""
    return _ENVIRONMENT.get_template(template).render(raycolor_version=__version__, **values)


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


def photo_thumbnail(data: bytes, side_px: int, *, max_pixels: int = 250_000_000) -> bytes:
    """Decode the first page of a photograph, turn it upright and shrink it.

    Raises:
        DecodeError: as `codecs.decode`.
    """
    photo = codecs.decode(data, max_pixels=max_pixels)
    upright = codecs.upright(photo.pages[0], photo.header.orientation)
    return thumbnail(np.ascontiguousarray(upright), side_px)


def data_uri(jpeg: bytes) -> str:
    """Return a JPEG as a data: URI."""
    return "data:image/jpeg;base64," + base64.b64encode(jpeg).decode("ascii")
