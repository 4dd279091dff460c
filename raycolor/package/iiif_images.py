"""Static IIIF images (Image API 3, level 0): one photograph as JPEGs of several sizes, and the file that lists them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any, Final, NamedTuple

import cv2
import numpy as np
import simplejpeg
from numpy.typing import NDArray

from raycolor.codecs.formats import decode
from raycolor.codecs.orient import upright

LARGEST_PX: Final = 4096
"""Longer side of the largest picture: what is published is a copy to look at, the output itself lies in the bag."""
_SMALLEST_PX: Final = 256
_QUALITY: Final = 90


class Picture(NamedTuple):
    """One size of a photograph."""

    width: int
    height: int
    jpeg: bytes


def pictures_of(data: bytes) -> list[Picture]:
    """Return the first page of a photograph, upright, in sizes that double; the smallest first.

    Raises:
        DecodeError: as `decode`.
    """
    photo = decode(data)
    page = np.ascontiguousarray(upright(photo.pages[0], photo.header.orientation))
    if page.dtype == np.uint16:
        page = (page // 257).astype(np.uint8)
    page = _shrunk(page, min(1.0, LARGEST_PX / max(page.shape[:2])))
    found = [_picture(page)]
    while max(page.shape[:2]) > _SMALLEST_PX:
        page = _shrunk(page, 0.5)
        found.append(_picture(page))
    return found[::-1]


def image_files(address: str, pictures: Sequence[Picture]) -> Iterator[tuple[str, bytes]]:
    """Yield name and bytes of each file of an image, the list of its sizes last.

    Args:
        address: under which the image will be found.
        pictures: its sizes, the smallest first.
    """
    for one in pictures:
        yield f"full/{one.width},{one.height}/0/default.jpg", one.jpeg
    yield "full/max/0/default.jpg", pictures[-1].jpeg
    info = {
        "@context": "http://iiif.io/api/image/3/context.json",
        "id": address,
        "type": "ImageService3",
        "protocol": "http://iiif.io/api/image",
        "profile": "level0",
        "width": pictures[-1].width,
        "height": pictures[-1].height,
        "sizes": [{"width": one.width, "height": one.height} for one in pictures],
    }
    yield "info.json", json.dumps(info, indent=2).encode() + b"\n"


def _shrunk(page: NDArray[Any], scale: float) -> NDArray[Any]:
    if scale == 1.0:
        return page
    size = max(1, round(page.shape[1] * scale)), max(1, round(page.shape[0] * scale))
    return np.ascontiguousarray(cv2.resize(page, size, interpolation=cv2.INTER_AREA))


def _picture(page: NDArray[Any]) -> Picture:
    height, width = page.shape[:2]
    if page.ndim == 2:
        jpeg = simplejpeg.encode_jpeg(np.ascontiguousarray(page[..., None]), _QUALITY, "GRAY")
    else:
        jpeg = simplejpeg.encode_jpeg(page, _QUALITY, "RGB", "444")
    return Picture(width, height, bytes(jpeg))
