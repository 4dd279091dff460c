"""Small files of every format and kind, made on the spot: name to bytes."""

from __future__ import annotations

import io
from functools import cache
from typing import Any

import imagecodecs
import numpy as np
import pytest
import tifffile
from PIL import Image

from raycolor.codecs import decode
from raycolor.errors import DecodeError

WIDTH, HEIGHT = 61, 43


def picture(height: int = HEIGHT, width: int = WIDTH, seed: int = 0) -> np.ndarray:
    """Return a smooth (H, W, 3) uint8 picture with every channel different."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (height // 8 + 2, width // 8 + 2, 3), dtype=np.uint8)
    return np.asarray(Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC))


def gray(height: int = HEIGHT, width: int = WIDTH, seed: int = 0) -> np.ndarray:
    """Return a smooth (H, W) uint8 picture."""
    return np.ascontiguousarray(picture(height, width, seed)[..., 1])


def wide(array: np.ndarray) -> np.ndarray:
    """Return 16-bit values whose low bytes are not zero."""
    return array.astype(np.uint16) * 256 + (255 - array)


def save(array: np.ndarray | Image.Image, kind: str, **options: Any) -> bytes:
    """Return a Pillow-written file."""
    image = array if isinstance(array, Image.Image) else Image.fromarray(array)
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


def tiff(*pages: np.ndarray, **options: Any) -> bytes:
    """Return a tifffile-written file of these pages."""
    out = io.BytesIO()
    big, order = options.pop("bigtiff", False), options.pop("byteorder", "<")
    with tifffile.TiffWriter(out, bigtiff=big, byteorder=order) as writer:
        for page in pages:
            writer.write(page, metadata=None, **options)
    return out.getvalue()


@cache
def samples() -> dict[str, bytes]:
    """Return one file per format and kind, all 61 x 43 pixels."""
    rgb, plane = picture(), gray()
    image = Image.fromarray(rgb)
    palette = image.quantize(16)
    return {
        "jpeg-gray": save(plane, "JPEG", quality=90),
        "jpeg-gray-progressive": save(plane, "JPEG", quality=90, progressive=True),
        "jpeg-gray-restart": save(plane, "JPEG", quality=90, restart_marker_rows=1),
        "jpeg-420": save(rgb, "JPEG", quality=90, subsampling="4:2:0"),
        "jpeg-444-progressive": save(rgb, "JPEG", quality=90, subsampling="4:4:4", progressive=True),
        "jpeg-cmyk": save(image.convert("CMYK"), "JPEG", quality=95),
        "png-1": save(Image.fromarray(plane > 127), "PNG"),
        "png-8": save(plane, "PNG"),
        "png-16": save(wide(plane), "PNG"),
        "png-la-16": imagecodecs.png_encode(np.dstack([wide(plane), wide(255 - plane)])),
        "png-rgb": save(rgb, "PNG"),
        "png-rgba-16": imagecodecs.png_encode(np.dstack([wide(rgb), wide(plane)])),
        "png-palette": save(palette, "PNG"),
        "png-palette-alpha": save(palette, "PNG", transparency=3),
        "tiff-1": tiff(plane > 127, photometric="minisblack"),
        "tiff-8": tiff(plane, photometric="minisblack"),
        "tiff-8-white": tiff(plane, photometric="miniswhite"),
        "tiff-8-lzw": tiff(plane, photometric="minisblack", compression="lzw", predictor=2),
        "tiff-16-deflate": tiff(wide(plane), photometric="minisblack", compression="deflate"),
        "tiff-16-big-endian": tiff(wide(plane), photometric="minisblack", byteorder=">"),
        "tiff-rgb-16-lzw": tiff(wide(rgb), photometric="rgb", compression="lzw"),
        "tiff-rgb-big": tiff(rgb, photometric="rgb", bigtiff=True, compression="packbits"),
        "tiff-pages": tiff(plane, plane[::-1].copy(), plane[:, ::-1].copy(), photometric="minisblack"),
        "webp": save(rgb, "WEBP", quality=90),
        "webp-lossless-alpha": save(np.dstack([rgb, plane]), "WEBP", lossless=True, exact=True),
        "jp2-8": imagecodecs.jpeg2k_encode(plane, codecformat="jp2", reversible=True),
        "jp2-16-rgb": imagecodecs.jpeg2k_encode(wide(rgb), codecformat="jp2", reversible=True),
        "j2k": imagecodecs.jpeg2k_encode(plane, codecformat="j2k", reversible=True),
        "bmp": save(rgb, "BMP"),
        "gif": save(palette, "GIF"),
    }


NAMES = list(samples())


def colored(page: np.ndarray) -> np.ndarray:
    """Return a (H, W, 3) page of the same type to stand for the colored one."""
    return page if page.ndim == 3 else np.dstack([page, page // 2, page // 3])


def refused(data: bytes, *reasons: str) -> str:
    """Decode, and return the detail of the refusal, which has one of these reasons."""
    with pytest.raises(DecodeError) as caught:
        decode(data)
    assert caught.value.reason in reasons, caught.value
    return caught.value.detail
