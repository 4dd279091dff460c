"""The compiled loops behind `raycolor.color.kernels`: no checks here, one thread, the interpreter lock released.

Every compiled function of the room lives in this file: numba notices a change of the file it caches,
not of the files it calls into.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

import numba
import numpy as np
from numba.extending import overload

from raycolor.color.arrays import RGB_FROM_WHITE, WHITE_FROM_RGB

F = TypeVar("F", bound=Callable[..., Any])


def compiled(function: F) -> F:
    """Compile on first use and keep the result on disk where numba finds a writable place, in memory elsewhere."""
    # Division by zero is tested for under numba's default error model, and the test keeps loops from vectorizing.
    try:
        return cast(F, numba.njit(nogil=True, error_model="numpy", cache=True)(function))
    except RuntimeError:  # "no locator available": site-packages and the home folder are both read-only
        return cast(F, numba.njit(nogil=True, error_model="numpy")(function))


f32 = np.float32
KNEE = f32(6 / 29)
SLOPE = f32(3 * (6 / 29) ** 2)
FOOT = f32(4 / 29)
XR, XG, XB = (f32(v) for v in WHITE_FROM_RGB[0])
YR, YG, YB = (f32(v) for v in WHITE_FROM_RGB[1])
ZR, ZG, ZB = (f32(v) for v in WHITE_FROM_RGB[2])
RX, RY, RZ = (f32(v) for v in RGB_FROM_WHITE[0])
GX, GY, GZ = (f32(v) for v in RGB_FROM_WHITE[1])
BX, BY, BZ = (f32(v) for v in RGB_FROM_WHITE[2])
ONE, ZERO = f32(1), f32(0)


@compiled
def _between(table: Any, position: Any) -> Any:
    """Read a table linearly between its entries."""
    index = np.uint32(position)  # unsigned: a signed index would be tested for wraparound
    low = table[index]
    return low + (table[index + np.uint32(1)] - low) * (position - f32(index))


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
def look_up(codes: Any, table: Any, out: Any) -> None:
    """out[i] = table[codes[i]]."""
    for i in range(codes.size):
        out[i] = table[codes[i]]


@compiled
def _unroot(f: Any) -> Any:
    """Invert f(t) of CIE Lab; the straight part goes on below zero."""
    return f * f * f if f > KNEE else SLOPE * (f - FOOT)


@compiled
def _clip(value: Any) -> Any:
    """Clip to [0, 1]; what is no number becomes 0, because it would index past the end of a table."""
    above = value if value > ZERO else ZERO
    return above if above < ONE else ONE


@compiled
def _excess(fy: Any, da: Any, db: Any, scale: Any) -> Any:
    """Tell how far linear RGB of the color with its chroma scaled lies outside [0, 1]; below zero inside."""
    x, y, z = _unroot(fy + scale * da), _unroot(fy), _unroot(fy - scale * db)
    red, green, blue = RX * x + RY * y + RZ * z, GX * x + GY * y + GZ * z, BX * x + BY * y + BZ * z
    return max(max(red, green, blue) - ONE, -min(red, green, blue))


@compiled
def _fitting_scale(fy: Any, da: Any, db: Any, tolerance: Any) -> Any:
    """Find the largest chroma factor within the gamut by the Illinois rule (3 to 6 steps, halving: 20)."""
    low, high = ZERO, ONE
    at_low, at_high = _excess(fy, da, db, low), _excess(fy, da, db, high)
    if at_low >= ZERO:  # black, white and beyond have no chroma at all
        return ZERO
    side = 0
    for _ in range(24):
        middle = (low * at_high - high * at_low) / (at_high - at_low)
        value = _excess(fy, da, db, middle)
        if value > ZERO:
            high, at_high = middle, value
            if side == 1:
                at_low *= f32(0.5)
            side = 1
        else:
            low, at_low = middle, value
            if value > -tolerance:
                break
            if side == -1:
                at_high *= f32(0.5)
            side = -1
        if high - low < f32(1e-5):
            break
    return low


@compiled
def _ab_row(
    ab: Any, top: Any, bottom: Any, weight: Any, left: Any, right: Any, across: Any, line: Any, da: Any, db: Any
) -> None:
    """Interpolate one output row of ab: first down (into `line`), then across; as a / 500 and b / 200."""
    for j in range(ab.shape[1]):
        a, b = ab[top, j, 0], ab[top, j, 1]
        line[j, 0] = (a + (ab[bottom, j, 0] - a) * weight) * f32(1 / 500)
        line[j, 1] = (b + (ab[bottom, j, 1] - b) * weight) * f32(1 / 200)
    for i in range(da.size):
        l, r, w = left[i], right[i], across[i]  # noqa: E741
        a, b = line[l, 0], line[l, 1]
        da[i] = a + (line[r, 0] - a) * w
        db[i] = b + (line[r, 1] - b) * w


@compiled
def _join_row(fy: Any, da: Any, db: Any, red: Any, green: Any, blue: Any, tolerance: Any) -> None:
    """Turn one row into linear RGB within [0, 1], lowering chroma where needed."""
    outside = 0
    for i in range(fy.size):
        x, y, z = _unroot(fy[i] + da[i]), _unroot(fy[i]), _unroot(fy[i] - db[i])
        r, g, b = RX * x + RY * y + RZ * z, GX * x + GY * y + GZ * z, BX * x + BY * y + BZ * z
        red[i], green[i], blue[i] = r, g, b
        outside += (
            (r < -tolerance)
            | (r > ONE + tolerance)
            | (g < -tolerance)
            | (g > ONE + tolerance)
            | (b < -tolerance)
            | (b > ONE + tolerance)
        )
    if outside:
        for i in range(fy.size):
            if min(red[i], green[i], blue[i]) < -tolerance or max(red[i], green[i], blue[i]) > ONE + tolerance:
                scale = _fitting_scale(fy[i], da[i], db[i], tolerance)
                x, y, z = _unroot(fy[i] + scale * da[i]), _unroot(fy[i]), _unroot(fy[i] - scale * db[i])
                red[i] = RX * x + RY * y + RZ * z
                green[i] = GX * x + GY * y + GZ * z
                blue[i] = BX * x + BY * y + BZ * z
    for i in range(fy.size):
        red[i], green[i], blue[i] = _clip(red[i]), _clip(green[i]), _clip(blue[i])


def _fill_fy(source: Any, fy_of: Any, fy: Any) -> None:
    """fy = (L + 16) / 116 of one row, from L itself or from gray codes; compiled by the type of `source`."""
    raise NotImplementedError


@overload(_fill_fy, jit_options={"nogil": True, "error_model": "numpy"})
def _compile_fill_fy(source: Any, fy_of: Any, fy: Any) -> Any:
    def from_L(source: Any, fy_of: Any, fy: Any) -> None:
        for i in range(fy.size):
            fy[i] = (source[i] + f32(16)) * f32(1 / 116)

    def from_codes(source: Any, fy_of: Any, fy: Any) -> None:
        for i in range(fy.size):
            fy[i] = fy_of[source[i]]

    return from_L if isinstance(source.dtype, numba.types.Float) else from_codes


def _encode(table: Any, linear: Any) -> Any:
    """Encode linear RGB in [0, 1] as a code; compiled by the type of `table`."""
    raise NotImplementedError


@overload(_encode, jit_options={"nogil": True, "error_model": "numpy"})
def _compile_encode(table: Any, linear: Any) -> Any:
    def nearest(table: Any, linear: Any) -> Any:  # 8 bits: an entry is at most a tenth of a code away
        return table[np.uint32(linear * f32(table.size - 1) + f32(0.5))]

    def between(table: Any, linear: Any) -> Any:  # 16 bits: the entries are float codes
        return np.uint16(_between(table, linear * f32(table.size - 2)) + f32(0.5))

    return between if isinstance(table.dtype, numba.types.Float) else nearest


@compiled
def join(
    source: Any,
    fy_of: Any,
    ab: Any,
    rows: Any,
    row_weights: Any,
    columns: Any,
    column_weights: Any,
    encode: Any,
    tolerance: Any,
    out: Any,
) -> None:
    """Join L or gray codes with upsampled ab into codes, row by row, so that the floats stay in the nearest cache."""
    height, width = source.shape
    line = np.empty((ab.shape[1], 2), np.float32)
    buffers = np.empty((6, width), np.float32)
    fy, da, db, red, green, blue = buffers[0], buffers[1], buffers[2], buffers[3], buffers[4], buffers[5]
    for y in range(height):
        _fill_fy(source[y], fy_of, fy)
        _ab_row(ab, rows[0, y], rows[1, y], row_weights[y], columns[0], columns[1], column_weights, line, da, db)
        _join_row(fy, da, db, red, green, blue, tolerance)
        for i in range(width):
            out[y, i, 0] = _encode(encode, red[i])
            out[y, i, 1] = _encode(encode, green[i])
            out[y, i, 2] = _encode(encode, blue[i])
