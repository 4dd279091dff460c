"""The compiled loops behind `raycolor.color.kernels`: no checks here, one thread, the interpreter lock released.

Compiled functions that call each other live in one file: numba notices a change of the file it caches, not of the
files it calls into. Nor of `arrays`, whose matrices are baked into the compiled code: who changes them removes
`raycolor/color/__pycache__`.
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
from numba.extending import overload

from raycolor.color._input_loops import compiled
from raycolor.color.arrays import RGB_FROM_WHITE

f32 = np.float32
KNEE = f32(6 / 29)
SLOPE = f32(3 * (6 / 29) ** 2)
FOOT = f32(4 / 29)
RX, RY, RZ = (f32(v) for v in RGB_FROM_WHITE[0])
GX, GY, GZ = (f32(v) for v in RGB_FROM_WHITE[1])
BX, BY, BZ = (f32(v) for v in RGB_FROM_WHITE[2])
ONE, ZERO = f32(1), f32(0)
E0, E1, E2, E3, E4, E5 = (
    f32(v) for v in (-15.678250, 41.691349, 318.693787, -144.683868, 71.647621, -16.672062)
)  # see `_encode255`
WILDEST = f32(1e4)  # Lab units; a network that gives more has failed
REACH = f32(110)  # Lab units; past every in-gamut a and b


@compiled
def _between(table: Any, position: Any) -> Any:
    """Read a table linearly between its entries."""
    index = np.uint32(position)  # unsigned: a signed index would be tested for wraparound
    low = table[index]
    return low + (table[index + np.uint32(1)] - low) * (position - f32(index))


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
def scale_ab(ab: Any, out: Any) -> None:
    """Bring a and b of (h, w, C) to a / 500 and b / 200; what is no number, or far from any color, becomes gray."""
    for y in range(ab.shape[0]):
        for x in range(ab.shape[1]):
            a, b = ab[y, x, 0], ab[y, x, 1]
            sane = abs(a) < WILDEST and abs(b) < WILDEST
            out[y, x, 0] = a * f32(1 / 500) if sane else ZERO
            out[y, x, 1] = b * f32(1 / 200) if sane else ZERO
            for c in range(2, ab.shape[2]):
                out[y, x, c] = ab[y, x, c]


@compiled
def _widen(row: Any, left: Any, right: Any, across: Any, out: Any) -> None:
    """Interpolate one input row (w, C) across, to (C, W)."""
    for c in range(row.shape[1]):
        for i in range(across.size):
            out[c, i] = row[left[i], c] + (row[right[i], c] - row[left[i], c]) * across[i]


@compiled
def _place(ab: Any, rows: Any, y: Any, columns: Any, across: Any, held: Any, wide: Any) -> Any:
    """Hold the two input rows that output row y lies between, as wide as the output; return their places in `wide`.

    Many output rows lie between the same two: that leaves two loads and one multiplication for each value.
    """
    top, bottom = rows[0, y], rows[1, y]
    for row, other in ((top, bottom), (bottom, top)):
        if held[0] != row and held[1] != row:
            free = 1 if held[0] == other else 0
            _widen(ab[row], columns[0], columns[1], across, wide[free])
            held[free] = row
    return 0 if held[0] == top else 1, 0 if held[0] == bottom else 1


@compiled
def _ab_row(top: Any, bottom: Any, weight: Any, da: Any, db: Any) -> None:
    """Interpolate one row of a / 500 and b / 200 between two wide ones."""
    for i in range(da.size):
        da[i] = top[0, i] + (bottom[0, i] - top[0, i]) * weight
        db[i] = top[1, i] + (bottom[1, i] - top[1, i]) * weight


@compiled
def _guide_row(top: Any, bottom: Any, weight: Any, fy: Any, da: Any, db: Any) -> None:
    """Add to one row what the photograph's own detail says: slope times how far fy lies from the guide, bounded."""
    for i in range(fy.size):
        guide = top[2, i] + (bottom[2, i] - top[2, i]) * weight
        most = top[5, i] + (bottom[5, i] - top[5, i]) * weight
        detail = min(max(fy[i] - guide, -most), most)
        da[i] += (top[3, i] + (bottom[3, i] - top[3, i]) * weight) * detail
        db[i] += (top[4, i] + (bottom[4, i] - top[4, i]) * weight) * detail


@compiled
def _linear_row(fy: Any, da: Any, db: Any, red: Any, green: Any, blue: Any, tolerance: Any) -> Any:
    """Turn one row into linear RGB, not clipped, and count the colors outside the gamut."""
    outside = 0
    for i in range(fy.size):
        x, y, z = _unroot(fy[i] + da[i]), _unroot(fy[i]), _unroot(fy[i] - db[i])
        r, g, b = RX * x + RY * y + RZ * z, GX * x + GY * y + GZ * z, BX * x + BY * y + BZ * z
        red[i], green[i], blue[i] = r, g, b
        below = (r < -tolerance) | (g < -tolerance) | (b < -tolerance)
        above = (r > ONE + tolerance) | (g > ONE + tolerance) | (b > ONE + tolerance)
        outside += below | above
    return outside


@compiled
def _join_row(fy: Any, da: Any, db: Any, red: Any, green: Any, blue: Any, tolerance: Any) -> None:
    """Turn one row into linear RGB within [0, 1], lowering chroma where needed."""
    if _linear_row(fy, da, db, red, green, blue, tolerance):
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


@compiled
def _encode255(linear: Any) -> Any:
    """Encode linear RGB in [0, 1] to 0..255, not rounded, within 0.0021.

    The power is a polynomial of the fourth root, fitted by Chebyshev's points over its part of sRGB's curve: four
    times as fast as a table, which keeps the loop from vectorizing.
    """
    u = np.sqrt(np.sqrt(linear))
    power = ((((E5 * u + E4) * u + E3) * u + E2) * u + E1) * u + E0
    return power if linear > f32(0.0031308) else f32(255 * 12.92) * linear


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
def join(source: Any, fy_of: Any, ab: Any, down: Any, across: Any, encode: Any, tolerance: Any, out: Any) -> None:
    """Join L or gray codes with upsampled ab into codes, row by row, so that the floats stay in the nearest cache.

    `down` and `across` are what `kernels._taps` gives for rows and columns.
    """
    (rows, row_weights), (columns, column_weights) = down, across
    height, width = source.shape
    held, wide = np.full(2, -1), np.empty((2, ab.shape[2], width), np.float32)
    buffers = np.empty((6, width), np.float32)
    fy, da, db, red, green, blue = buffers[0], buffers[1], buffers[2], buffers[3], buffers[4], buffers[5]
    for y in range(height):
        top, bottom = _place(ab, rows, y, columns, column_weights, held, wide)
        _fill_fy(source[y], fy_of, fy)
        _ab_row(wide[top], wide[bottom], row_weights[y], da, db)
        if ab.shape[2] > 2:
            _guide_row(wide[top], wide[bottom], row_weights[y], fy, da, db)
        _join_row(fy, da, db, red, green, blue, tolerance)
        for i in range(width):
            out[y, i, 0] = _encode(encode, red[i])
            out[y, i, 1] = _encode(encode, green[i])
            out[y, i, 2] = _encode(encode, blue[i])


@compiled
def _luma(fy: Any, da: Any, db: Any, encode: Any) -> Any:
    """Give JFIF luma, encoded red and blue, and how far outside [0, 1] linear RGB lies; straight on outside."""
    x, y, z = _unroot(fy + da), _unroot(fy), _unroot(fy - db)
    red, green, blue = RX * x + RY * y + RZ * z, GX * x + GY * y + GZ * z, BX * x + BY * y + BZ * z
    excess = max(max(red, green, blue) - ONE, -min(red, green, blue))
    r, g, b = _encode_on(encode, red), _encode_on(encode, green), _encode_on(encode, blue)
    return f32(0.299) * r + f32(0.587) * g + f32(0.114) * b, r, b, excess


@compiled
def _encode_on(table: Any, linear: Any) -> Any:
    """Encode linear RGB to 0..255, going on straight outside [0, 1], so that a solver may step there."""
    inside = _between(table, _clip(linear) * f32(table.size - 2)) * f32(255 / 65535)
    return inside + min(linear, ZERO) * f32(255 * 12.92) + max(linear - ONE, ZERO) * f32(255 * 1.055 / 2.4)


@compiled
def _fy_of_luma(luma: Any, da: Any, db: Any, start: Any, encode: Any) -> Any:
    """Find the f(Y) at which the color with these a / 500 and b / 200 has this luma, by secants from `start`."""
    last, at_last = start, _luma(start, da, db, encode)[0] - luma
    step = f32(0.01) if at_last < ZERO else f32(-0.01)
    for _ in range(20):
        here = last + step
        at_here = _luma(here, da, db, encode)[0] - luma
        if abs(at_here) < f32(2e-3) or at_here == at_last:
            return here
        step = min(max(-at_here * (here - last) / (at_here - at_last), f32(-0.1)), f32(0.1))
        last, at_last = here, at_here
    return last


@compiled
def fill_shift_table(lumas: Any, nodes: Any, fy_of_gray: Any, encode: Any, out: Any) -> None:
    """Solve how far f(Y) lies from that of gray for every luma and every (a, b) of nodes x nodes, gamut aside.

    Without the gamut's edge in it the table is smooth, so coarse nodes serve.
    """
    for k in range(lumas.size):
        for i in range(nodes.size):
            for j in range(nodes.size):
                da, db = nodes[i] * f32(1 / 500), nodes[j] * f32(1 / 200)
                out[k, i, j] = _fy_of_luma(lumas[k], da, db, fy_of_gray[k], encode) - fy_of_gray[k]


@compiled
def _shifted(luma: Any, da: Any, db: Any, shifts: Any, fy_of_gray: Any) -> Any:
    """Read f(Y) of a color of this luma from the table of shifts, between its four nearest nodes."""
    side = f32((shifts.shape[1] - 2) // 2)
    u, v = side + da * (side * f32(500 / REACH)), side + db * (side * f32(200 / REACH))
    m, n, one = np.uint32(u), np.uint32(v), np.uint32(1)
    wu, wv = u - f32(m), v - f32(n)
    s0 = shifts[luma, m, n] + (shifts[luma, m, n + one] - shifts[luma, m, n]) * wv
    m += one
    s1 = shifts[luma, m, n] + (shifts[luma, m, n + one] - shifts[luma, m, n]) * wv
    return fy_of_gray[luma] + s0 + (s1 - s0) * wu


@compiled
def _fit_at_luma(luma: Any, da: Any, db: Any, shifts: Any, fy_of_gray: Any, encode: Any, tolerance: Any) -> Any:
    """Lower chroma to the gamut along constant luma, by the Illinois rule; give encoded red and blue.

    f(Y) comes from the table at every step, which costs an eighth of solving for it. What the table is off by may
    leave the color a little outside, so that the last bit shrinks as encoded, where the gamut is a box.
    """
    low, high, side = ZERO, ONE, 0
    gray, code = fy_of_gray[luma], f32(luma)
    fy = _shifted(luma, da, db, shifts, fy_of_gray)
    at_low, at_high = _excess(gray, ZERO, ZERO, ONE), _excess(fy, da, db, ONE)
    fy = gray
    for _ in range(24):
        if at_low >= ZERO or high - low < f32(1e-3):
            break
        middle = (low * at_high - high * at_low) / (at_high - at_low)
        here = _shifted(luma, middle * da, middle * db, shifts, fy_of_gray)
        value = _excess(here, middle * da, middle * db, ONE)
        if value > ZERO:
            high, at_high = middle, value
            at_low *= f32(0.5) if side == 1 else ONE
            side = 1
        else:
            low, at_low, fy = middle, value, here
            if value > -tolerance:
                break
            at_high *= f32(0.5) if side == -1 else ONE
            side = -1
    if low == ZERO:
        return code, code
    found, red, blue, _ = _luma(fy, low * da, low * db, encode)
    red, blue = red + code - found, blue + code - found
    green = code - (f32(0.299) * (red - code) + f32(0.114) * (blue - code)) * f32(1 / 0.587)
    most, least = max(red, green, blue), min(red, green, blue)
    shrink = ONE
    if most > f32(255):
        shrink = (f32(255) - code) / (most - code)
    if least < ZERO:
        shrink = min(shrink, code / (code - least))
    return code + shrink * (red - code), code + shrink * (blue - code)


@compiled
def _shifted_row(luma: Any, da: Any, db: Any, shifts: Any, fy_of_gray: Any, fy: Any) -> None:
    """Read f(Y) of one row from the table of shifts."""
    for i in range(fy.size):
        fy[i] = _shifted(luma[i], da[i], db[i], shifts, fy_of_gray)


@compiled
def chroma_planes(
    luma: Any, ab: Any, down: Any, across: Any, shifts: Any, fy_of_gray: Any, encode: Any, tolerance: Any, out: Any
) -> None:
    """Upsample ab, read L from the table of shifts, and give Cb and Cr; what is out of gamut is solved in full."""
    (rows, row_weights), (columns, column_weights), (cb, cr) = down, across, out
    height, width = luma.shape
    held, wide = np.full(2, -1), np.empty((2, ab.shape[2], width), np.float32)
    buffers = np.empty((6, width), np.float32)
    da, db, fy, red, green, blue = buffers[0], buffers[1], buffers[2], buffers[3], buffers[4], buffers[5]
    for y in range(height):
        top, bottom = _place(ab, rows, y, columns, column_weights, held, wide)
        _ab_row(wide[top], wide[bottom], row_weights[y], da, db)
        if ab.shape[2] > 2:
            look_up(luma[y], fy_of_gray, fy)
            _guide_row(wide[top], wide[bottom], row_weights[y], fy, da, db)
        for i in range(width):
            # Past the table's reach every color is out of gamut and will shrink along its hue anyway.
            shrink = REACH / max(REACH, max(abs(da[i]) * f32(500), abs(db[i]) * f32(200)))
            da[i] *= shrink
            db[i] *= shrink
        _shifted_row(luma[y], da, db, shifts, fy_of_gray, fy)
        outside = _linear_row(fy, da, db, red, green, blue, tolerance)
        for i in range(width):
            r, g, b = _clip(red[i]), _clip(green[i]), _clip(blue[i])
            r, g, b = _encode255(r), _encode255(g), _encode255(b)
            # What luma is off by (the table is coarse) goes to all three channels: left alone, green would bear it.
            rest = f32(luma[y, i]) - (f32(0.299) * r + f32(0.587) * g + f32(0.114) * b)
            red[i], blue[i] = r + rest, b + rest
        if outside:
            for i in range(width):
                if _excess(fy[i], da[i], db[i], ONE) > tolerance:
                    red[i], blue[i] = _fit_at_luma(luma[y, i], da[i], db[i], shifts, fy_of_gray, encode, tolerance)
        for i in range(width):
            code = f32(luma[y, i])
            cb[y, i] = np.uint8(min(max((blue[i] - code) * f32(1 / 1.772) + f32(128.5), ZERO), f32(255)))
            cr[y, i] = np.uint8(min(max((red[i] - code) * f32(1 / 1.402) + f32(128.5), ZERO), f32(255)))
