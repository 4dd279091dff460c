"""The compiled loops on the way in: codes to Lab and averages of areas; rules as in `raycolor.color._loops`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

import numba
import numpy as np

from raycolor.color.arrays import WHITE_FROM_RGB

F = TypeVar("F", bound=Callable[..., Any])


def compiled(function: F, **options: Any) -> F:
    """Compile on first use and keep the result on disk where numba finds a writable place, in memory elsewhere."""
    # Division by zero is tested for under numba's default error model, and the test keeps loops from vectorizing.
    try:
        return cast(F, numba.njit(nogil=True, error_model="numpy", cache=True, **options)(function))
    except RuntimeError:  # "no locator available": site-packages and the home folder are both read-only
        return cast(F, numba.njit(nogil=True, error_model="numpy", **options)(function))


def summing(function: F) -> F:
    """Compile a loop that may add in any order, so that it can be vectorized; NaN stays NaN."""
    return compiled(function, fastmath={"reassoc", "nsz", "contract"})


f32 = np.float32
XR, XG, XB = (f32(v) for v in WHITE_FROM_RGB[0])
YR, YG, YB = (f32(v) for v in WHITE_FROM_RGB[1])
ZR, ZG, ZB = (f32(v) for v in WHITE_FROM_RGB[2])


@compiled
def _root(root: Any, position: Any) -> Any:
    """Read f(t) of CIE Lab as intercept and slope of the table's piece; a third faster than `_between`."""
    index = np.uint32(position)
    return root[index, 0] + root[index, 1] * position


@compiled
def codes_to_lab(rgb: Any, linear: Any, root: Any, L: Any, a: Any, b: Any) -> None:
    """Convert (N, 3) codes through `linear` (code to place in `root`) and `root` to three (N,) planes."""
    for i in range(rgb.shape[0]):
        red, green, blue = linear[rgb[i, 0]], linear[rgb[i, 1]], linear[rgb[i, 2]]
        fx = _root(root, XR * red + XG * green + XB * blue)
        fy = _root(root, YR * red + YG * green + YB * blue)
        fz = _root(root, ZR * red + ZG * green + ZB * blue)
        L[i] = f32(116) * fy - f32(16)
        a[i] = f32(500) * (fx - fy)
        b[i] = f32(200) * (fy - fz)


@compiled
def codes_to_L(rgb: Any, linear: Any, root: Any, L: Any) -> None:
    """Convert (N, 3) codes to (N,) L."""
    for i in range(rgb.shape[0]):
        red, green, blue = linear[rgb[i, 0]], linear[rgb[i, 1]], linear[rgb[i, 2]]
        L[i] = f32(116) * _root(root, YR * red + YG * green + YB * blue) - f32(16)


@compiled
def average_areas(pixels: Any, channels: Any, out: Any) -> None:
    """Average (H, W * C) codes over equal areas into (h, w * C) codes; no side grows.

    Rows are added up first: that loop is as fast as memory, and what it leaves for the columns is little.
    """
    height, width = out.shape[0], out.shape[1] // channels
    down, across = pixels.shape[0] / height, pixels.shape[1] // channels / width
    sums = np.empty(pixels.shape[1], np.float32)
    share = f32(1 / (down * across))
    for i in range(height):
        start, stop = i * down, min((i + 1) * down, float(pixels.shape[0]))
        sums[:] = f32(0)
        for y in range(int(start), int(np.ceil(stop))):
            weight = f32(min(y + 1.0, stop) - max(float(y), start))
            for x in range(sums.size):
                sums[x] += weight * f32(pixels[y, x])
        for j in range(width):
            begin, end = j * across, min((j + 1) * across, float(sums.size // channels))
            first, last = int(begin), int(np.ceil(end)) - 1
            front, back = f32(first + 1 - begin), f32(last + 1 - end)
            for c in range(channels):
                total = sums[first * channels + c] * front - sums[last * channels + c] * back
                for x in range(first + 1, last + 1):
                    total += sums[x * channels + c]
                out[i, j * channels + c] = np.rint(total * share)
