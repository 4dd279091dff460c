"""decode and encode for every format: limits first, then the format's own module."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

import numpy as np

from raycolor.codecs import bmp_gif, jp2, jpeg, png, tiff, webp
from raycolor.codecs.header import read_header
from raycolor.codecs.photograph import (
    DEFAULT_MAX_PAGES,
    DEFAULT_MAX_PIXELS,
    Format,
    Header,
    Photograph,
    Plane,
    Provenance,
    Rows,
)
from raycolor.errors import ShapeError

_DECODERS: Final[dict[Format, Callable[[bytes, Header], Photograph]]] = {
    "jpeg": jpeg.decode,
    "png": png.decode,
    "tiff": tiff.decode,
    "webp": webp.decode,
    "jp2": jp2.decode,
    "bmp": bmp_gif.decode,
    "gif": bmp_gif.decode,
}
_Pages = Sequence[Plane | Rows]
_ENCODERS: Final[dict[Format, Callable[[Photograph, _Pages, Provenance | None, int], bytes]]] = {
    "jpeg": lambda photo, pages, made, q: jpeg.encode(photo, np.asarray(pages[0]), provenance=made, quality=q),
    "png": lambda photo, pages, made, _: png.encode(photo, pages[0], provenance=made),
    "tiff": lambda photo, pages, made, q: tiff.encode(photo, pages, provenance=made, quality=q),
    "webp": lambda photo, pages, made, q: webp.encode(photo, np.asarray(pages[0]), provenance=made, quality=q),
    "jp2": lambda photo, pages, made, _: jp2.encode(photo, np.asarray(pages[0]), provenance=made),
    "bmp": lambda photo, pages, *_: bmp_gif.encode_bmp(photo, np.asarray(pages[0])),
}


def decode(data: bytes, *, max_pixels: int = DEFAULT_MAX_PIXELS, max_pages: int = DEFAULT_MAX_PAGES) -> Photograph:
    """Decode an image file.

    Args:
        data: the whole file.
        max_pixels: bound on width x height summed over all pages, checked from the header before decoding.
        max_pages: bound on the number of pages.

    Returns:
        The photograph, its pages as `Photograph` says. Values are the file's own: only a CMYK profile is applied.

    Raises:
        DecodeError: `empty`, `not_an_image`, `truncated`, `decode_error`, `unsupported_format`, `too_large`.
    """
    header = read_header(data)
    header.check_limits(max_pixels, max_pages)
    return _DECODERS[header.format](data, header)


def encode(
    photo: Photograph, rgb_pages: Sequence[Plane | Rows], *, provenance: Provenance | None, quality: int = 92
) -> bytes:
    """Write the colored pages as the same kind of file, with the input's metadata.

    Args:
        photo: what `decode` returned.
        rgb_pages: one (H, W, 3) array per page, as stored (unrotated), of the page's size and type. TIFF and PNG ask
            a page for its rows band by band; all other formats for the whole.
        provenance: written into XMP; None leaves the metadata as it was.
        quality: 1..100 of lossy formats.

    Returns:
        The file's bytes, the same on every run.

    Raises:
        ShapeError: number, size or type of the pages differ from the photo's.
        DecodeError: `too_large` where the format cannot hold the result (a TIFF over 4 GiB).
    """
    if not 1 <= quality <= 100:
        raise ShapeError(f"quality = {quality}: must be 1 to 100")
    if len(rgb_pages) != len(photo.pages):
        raise ShapeError(f"{len(rgb_pages)} colored pages for {len(photo.pages)} pages")
    for i, (page, rgb) in enumerate(zip(photo.pages, rgb_pages, strict=True)):
        if rgb.shape != (*page.shape[:2], 3) or rgb.dtype != page.dtype:
            raise ShapeError(f"page {i}: {rgb.dtype} {rgb.shape} for {page.dtype} {page.shape}")
    return _ENCODERS[output_format(photo.header)](photo, rgb_pages, provenance, quality)


def output_format(header: Header) -> Format:
    """Return the format that `encode` writes: the input's, but PNG for GIF, whose 256 colors hold no photograph."""
    return "png" if header.format == "gif" else header.format
