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
    """Interpolate a table linearly between its entries."""
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
    """Invert f(t) of CIE Lab; the linear part extends below zero."""
    return f * f * f if f > KNEE else SLOPE * (f - FOOT)


@compiled
def _clip(value: Any) -> Any:
    """Clip to [0, 1]; NaN becomes 0, because it would index past the end of a table."""
    above = value if value > ZERO else ZERO
    return above if above < ONE else ONE


@compiled
def _excess(fy: Any, da: Any, db: Any, scale: Any) -> Any:
    """Return how far linear RGB of the color with its chroma scaled is outside [0, 1]; below zero inside."""
    x, y, z = _unroot(fy + scale * da), _unroot(fy), _unroot(fy - scale * db)
    red, green, blue = RX * x + RY * y + RZ * z, GX * x + GY * y + GZ * z, BX * x + BY * y + BZ * z
    return max(max(red, green, blue) - ONE, -min(red, green, blue))


@compiled
def _excesses(held: Any, n: Any, scale: Any, luma: Any, shifts: Any, fy_of_gray: Any, out: Any) -> None:
    """Compute `_excess` for each of n colors with its chroma scaled; at constant luma if there is one."""
    fy, da, db = held[0], held[1], held[2]
    if luma is not None:
        for k in range(n):
            fy[k] = _shifted(luma[k], scale[k] * da[k], scale[k] * db[k], shifts, fy_of_gray)
    for k in range(n):
        out[k] = _excess(fy[k], da[k], db[k], scale[k])


@compiled
def _fit(held: Any, n: Any, luma: Any, shifts: Any, fy_of_gray: Any, least: Any, tolerance: Any) -> None:
    """Find the largest chroma factors within the gamut by the Illinois rule (3 to 6 steps, halving: 20).

    Without a branch or a break for a single color a whole vector of them goes through a step at once; those that are
    there stay there. `held` has f(Y), da and db in front and seven rows of room, of which the first gets the factors.
    """
    low, high, at_low, at_high = held[3], held[4], held[5], held[6]
    side, middle, value = held[7], held[8], held[9]
    low[:n], side[:n], high[:n] = ZERO, ZERO, ONE
    _excesses(held, n, high, luma, shifts, fy_of_gray, at_high)
    _excesses(held, n, low, luma, shifts, fy_of_gray, at_low)
    for k in range(n):
        high[k] = ZERO if at_low[k] >= ZERO else ONE  # black, white and beyond have no chroma at all
    for _ in range(24):
        for k in range(n):
            middle[k] = (low[k] * at_high[k] - high[k] * at_low[k]) / (at_high[k] - at_low[k])
            middle[k] = middle[k] if high[k] - low[k] >= least else low[k]
        _excesses(held, n, middle, luma, shifts, fy_of_gray, value)
        going = 0
        for k in range(n):
            a, b, at_a, at_b, last = low[k], high[k], at_low[k], at_high[k], side[k]
            goes, beyond = b - a >= least, value[k] > ZERO
            there = (value[k] <= ZERO) & (value[k] > -tolerance)
            at_low[k] = (at_a * f32(0.5) if last > ZERO else at_a) if beyond else value[k]
            at_high[k] = value[k] if beyond else (at_b * f32(0.5) if last < ZERO else at_b)
            side[k] = ONE if beyond else -ONE
            nearer = a if beyond else middle[k]
            low[k] = nearer if goes else a
            high[k] = (middle[k] if beyond else (nearer if there else b)) if goes else b
            going += goes
        if not going:
            break
    if luma is not None:
        _excesses(held, n, low, luma, shifts, fy_of_gray, value)


@compiled
def _put_back(held: Any, n: Any, places: Any, red: Any, green: Any, blue: Any) -> None:
    """Write what `_fit` found as linear RGB to where `_gather_outside` took it from."""
    fy, da, db, scale = held[0], held[1], held[2], held[3]
    for k in range(n):
        x, y, z = _unroot(fy[k] + scale[k] * da[k]), _unroot(fy[k]), _unroot(fy[k] - scale[k] * db[k])
        red[places[k]] = RX * x + RY * y + RZ * z
        green[places[k]] = GX * x + GY * y + GZ * z
        blue[places[k]] = BX * x + BY * y + BZ * z


@compiled
def _gather_outside(row: Any, red: Any, green: Any, blue: Any, tolerance: Any, held: Any, places: Any) -> Any:
    """Copy f(Y), da and db of the colors outside the gamut to `held`, and where they were to `places`; count them."""
    (fy, da, db), count = row, 0
    for i in range(fy.size):
        places[count] = i  # the next one takes its place unless it counts
        count += (min(red[i], green[i], blue[i]) < -tolerance) | (max(red[i], green[i], blue[i]) > ONE + tolerance)
    for k in range(count):
        held[0, k], held[1, k], held[2, k] = fy[places[k]], da[places[k]], db[places[k]]
    return count


@compiled
def scale_ab(ab: Any, out: Any) -> None:
    """Bring a and b of (h, w, C) to a / 500 and b / 200; NaN, and what is far from any color, becomes gray."""
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
    """Widen the two input rows around output row y; return their indices in `wide`.

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
def _join_row(
    fy: Any, da: Any, db: Any, red: Any, green: Any, blue: Any, tolerance: Any, held: Any, places: Any
) -> None:
    """Turn one row into linear RGB within [0, 1], lowering chroma where needed."""
    if _linear_row(fy, da, db, red, green, blue, tolerance):
        n = _gather_outside((fy, da, db), red, green, blue, tolerance, held, places)
        _fit(held, n, None, None, None, f32(1e-5), tolerance)
        _put_back(held, n, places, red, green, blue)
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
    buffers, outside = np.empty((6, width), np.float32), np.empty((10, width), np.float32)
    places = np.empty(width + 1, np.int64)
    fy, da, db, red, green, blue = buffers[0], buffers[1], buffers[2], buffers[3], buffers[4], buffers[5]
    for y in range(height):
        top, bottom = _place(ab, rows, y, columns, column_weights, held, wide)
        _fill_fy(source[y], fy_of, fy)
        _ab_row(wide[top], wide[bottom], row_weights[y], da, db)
        if ab.shape[2] > 2:
            _guide_row(wide[top], wide[bottom], row_weights[y], fy, da, db)
        _join_row(fy, da, db, red, green, blue, tolerance, outside, places)
        for i in range(width):
            out[y, i, 0] = _encode(encode, red[i])
            out[y, i, 1] = _encode(encode, green[i])
            out[y, i, 2] = _encode(encode, blue[i])


@compiled
def _luma(fy: Any, da: Any, db: Any, encode: Any) -> Any:
    """Compute JFIF luma; extended linearly outside the gamut."""
    x, y, z = _unroot(fy + da), _unroot(fy), _unroot(fy - db)
    r = _encode_on(encode, RX * x + RY * y + RZ * z)
    g = _encode_on(encode, GX * x + GY * y + GZ * z)
    return f32(0.299) * r + f32(0.587) * g + f32(0.114) * _encode_on(encode, BX * x + BY * y + BZ * z)


@compiled
def _encode_on(table: Any, linear: Any) -> Any:
    """Encode linear RGB to 0..255, going on straight outside [0, 1], so that a solver may step there."""
    inside = _between(table, _clip(linear) * f32(table.size - 2)) * f32(255 / 65535)
    return inside + min(linear, ZERO) * f32(255 * 12.92) + max(linear - ONE, ZERO) * f32(255 * 1.055 / 2.4)


@compiled
def _fy_of_luma(luma: Any, da: Any, db: Any, start: Any, encode: Any) -> Any:
    """Find the f(Y) at which the color with these a / 500 and b / 200 has this luma, by secants from `start`."""
    last, at_last = start, _luma(start, da, db, encode) - luma
    step = f32(0.01) if at_last < ZERO else f32(-0.01)
    for _ in range(20):
        here = last + step
        at_here = _luma(here, da, db, encode) - luma
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
def chroma_planes(
    luma: Any, ab: Any, down: Any, across: Any, shifts: Any, fy_of_gray: Any, encode: Any, tolerance: Any, out: Any
) -> None:
    """Upsample ab, read L from the table of shifts, and give Cb and Cr; what is out of gamut is solved in full."""
    (rows, row_weights), (columns, column_weights), (cb, cr) = down, across, out
    height, width = luma.shape
    held, wide = np.full(2, -1), np.empty((2, ab.shape[2], width), np.float32)
    buffers, outside = np.empty((6, width), np.float32), np.empty((10, width), np.float32)
    places, codes = np.empty(width + 1, np.int64), np.empty(width, np.uint8)
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
        for i in range(width):
            fy[i] = _shifted(luma[y, i], da[i], db[i], shifts, fy_of_gray)
        if _linear_row(fy, da, db, red, green, blue, tolerance):
            n = _gather_outside((fy, da, db), red, green, blue, tolerance, outside, places)
            for k in range(n):
                codes[k] = luma[y, places[k]]
            # f(Y) comes from the table at every step, which costs an eighth of solving for it.
            _fit(outside, n, codes, shifts, fy_of_gray, f32(1e-3), tolerance)
            _put_back(outside, n, places, red, green, blue)
        for i in range(width):
            r, g, b = _clip(red[i]), _clip(green[i]), _clip(blue[i])
            r, g, b = _encode255(r), _encode255(g), _encode255(b)
            # What luma is off by (the table is coarse) goes to all three channels: left alone, green would bear it.
            code = f32(luma[y, i])
            rest = code - (f32(0.299) * r + f32(0.587) * g + f32(0.114) * b)
            # That may push a color at the gamut's edge over it: the last bit shrinks as encoded, where it is a box.
            r, g, b = r + rest, g + rest, b + rest
            most, least = max(r, g, b), min(r, g, b)
            above, below = f32(255) - code, max(code, f32(1e-6))
            shrink = min(above / max(most - code, above, f32(1e-6)), code / max(code - least, below))
            red[i], blue[i] = code + shrink * (r - code), code + shrink * (b - code)
        for i in range(width):
            code = f32(luma[y, i])
            cb[y, i] = np.uint8(min(max((blue[i] - code) * f32(1 / 1.772) + f32(128.5), ZERO), f32(255)))
            cr[y, i] = np.uint8(min(max((red[i] - code) * f32(1 / 1.402) + f32(128.5), ZERO), f32(255)))
