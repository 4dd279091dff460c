"""One photograph as a square pair of Lab planes, the form in which networks are trained."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from raycolor.codecs import decode, upright
from raycolor.color.kernels import pixels_to_lab
from raycolor.color.resize import resize_area
from raycolor.color.scale import L_to_bytes, ab_to_bytes
from raycolor.errors import DecodeError


def square_rgb(data: bytes, size_px: int) -> NDArray[np.uint8] | NDArray[np.uint16]:
    """Decode a photograph to an upright square.

    The largest centered square is cut out of the upright picture and brought to `size_px` by area averaging
    (antialiased) of gamma-encoded sRGB, the quantity that inference averages too. Where the picture is smaller it is
    enlarged bilinearly.

    Args:
        data: bytes of an image file; of several pages the first counts.
        size_px: side of the result.

    Returns:
        (S, S, 3) RGB, uint8 or for 16-bit pictures uint16, gamma-encoded sRGB.

    Raises:
        DecodeError: no image, a broken one, or one that is too large.
    """
    photo = decode(data)
    plane = upright(photo.pages[0], photo.header.orientation)
    height, width = plane.shape[:2]
    side = min(height, width)
    if side == 0:
        raise DecodeError("decode_error", f"picture of {width} x {height} pixels")
    top, left = (height - side) // 2, (width - side) // 2
    square = np.ascontiguousarray(plane[top : top + side, left : left + side])
    if side != size_px:
        square = resize_area(square, size_px, size_px)
    if square.ndim == 2:
        square = np.repeat(square[:, :, None], 3, axis=2)
    return np.ascontiguousarray(square)


def planes_of(rgb: NDArray[np.uint8] | NDArray[np.uint16]) -> tuple[NDArray[np.uint8], NDArray[np.int8]]:
    """Convert sRGB to the planes that shards hold.

    Args:
        rgb: (H, W, 3) uint8 or uint16, gamma-encoded sRGB.

    Returns:
        L (H, W) uint8, L times 255/100; ab (2, H, W) int8, a and b in Lab units, rounded.
    """
    L, a, b = pixels_to_lab(rgb)
    return L_to_bytes(L), np.stack([ab_to_bytes(a), ab_to_bytes(b)])


def colorfulness(rgb: NDArray[np.uint8] | NDArray[np.uint16]) -> float:
    """Measure how colorful a picture is: 0 for gray, about 15 slightly, 33 averagely, 80 and more extremely colorful.

    Args:
        rgb: (H, W, 3) uint8 or uint16, gamma-encoded sRGB. 16 bits are measured on the scale of 8.

    Source: D. Hasler and S. Suesstrunk, Measuring colourfulness in natural images, SPIE 5007 (2003), M^(3).
    """
    red, green, blue = cv2.split(rgb.astype(np.float32))
    scale = 257.0 if rgb.dtype == np.uint16 else 1.0
    rg = red - green
    yb = (red + green) * 0.5 - blue
    (rg_mean, rg_std), (yb_mean, yb_std) = (
        (float(mean[0, 0]), float(std[0, 0])) for mean, std in (cv2.meanStdDev(rg), cv2.meanStdDev(yb))
    )
    return float(np.hypot(rg_std, yb_std) + 0.3 * np.hypot(rg_mean, yb_mean)) / scale
