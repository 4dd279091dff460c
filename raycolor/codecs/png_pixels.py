"""PNG image data to samples: inflating to a known size, undoing filters, interlacing, packed bits and palettes.

Our own because of what was measured of the libraries at hand (imagecodecs 2026.3, on every damaged file: one reference
to None is lost, which ends a long job; Pillow 13: 16-bit color and gray with alpha are cut to 8 bits).
Source: W3C Portable Network Graphics (Third Edition), sections 7 to 9 and 13.
"""

from __future__ import annotations

import zlib
from typing import Any, Final

import numpy as np
from numba import njit
from numpy.typing import NDArray

from raycolor.codecs.photograph import Plane, full_range
from raycolor.errors import DecodeError

Bytes = NDArray[np.uint8]
# First column and row, column and row step of the seven passes of Adam7; without interlacing there is one pass.
_ADAM7: Final = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))
_WHOLE: Final = ((0, 0, 1, 1),)
SAMPLES: Final = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}  # color type to samples per pixel


def read_pixels(packed: bytes, size: tuple[int, int], depth: int, kind: int, interlaced: bool) -> Plane:
    """Return the samples of a PNG.

    Args:
        packed: the IDAT chunks' data, joined.
        size: (height, width).
        depth: bits per sample.
        kind: the color type of IHDR.
        interlaced: Adam7.

    Returns:
        (H, W, samples) uint8 or uint16, palette indices and samples under 8 bits not scaled.

    Raises:
        DecodeError: `truncated` for too little data, `decode_error` for damaged data.
    """
    height, width = size
    samples = SAMPLES[kind]
    passes = []
    for x, y, dx, dy in _ADAM7 if interlaced else _WHOLE:
        rows, columns = len(range(y, height, dy)), len(range(x, width, dx))
        if rows and columns:
            passes.append((x, y, dx, dy, rows, columns, (columns * samples * depth + 7) // 8))
    expected = sum(rows * (stride + 1) for *_, rows, _, stride in passes)
    # One byte more than needed, so that zlib reads on to its checksum and compares it.
    inflated = zlib.decompressobj().decompress(packed, expected + 1)
    if len(inflated) < expected:
        raise DecodeError("truncated", f"PNG: {len(inflated):,} of {expected:,} bytes of image data")
    raw = np.frombuffer(inflated, np.uint8, expected)
    out = np.empty((height, width, samples), np.uint16 if depth == 16 else np.uint8) if interlaced else None
    at = 0
    for x, y, dx, dy, rows, columns, stride in passes:
        filtered = raw[at : at + rows * (stride + 1)].reshape(rows, stride + 1)
        at += filtered.size
        lines = np.empty((rows, stride), np.uint8)
        if not _unfilter(filtered, lines, max(1, samples * depth // 8)):
            raise DecodeError("decode_error", "PNG: a row has an unknown filter")
        values = _unpack(lines, columns * samples, depth).reshape(rows, columns, samples)
        if out is None:
            return values
        out[y::dy, x::dx] = values
    if out is None:
        raise DecodeError("decode_error", "PNG: no pixels")
    return out


def colors(values: Plane, depth: int, kind: int, palette: bytes | None, key: bytes | None) -> Plane:
    """Return samples at full range: palettes looked up, transparency (tRNS) as a last channel.

    Raises:
        DecodeError: `decode_error` for a palette file without a palette.
    """
    if kind == 3:
        if not palette:
            raise DecodeError("decode_error", "PNG: the palette is missing")
        table = np.zeros((256, 3 if key is None else 4), np.uint8)
        entries = np.frombuffer(palette[: len(palette) // 3 * 3], np.uint8).reshape(-1, 3)[:256]
        table[: len(entries), :3] = entries
        if key is not None:
            table[:, 3] = 255
            table[: min(len(key), 256), 3] = np.frombuffer(key[:256], np.uint8)
        return np.asarray(table[values[..., 0]])
    scaled = full_range(values, depth)
    count = 1 if kind == 0 else 3
    if kind not in (0, 2) or key is None or len(key) < 2 * count:
        return scaled
    transparent = np.all(values == np.frombuffer(key[: 2 * count], ">u2").astype(np.uint16), axis=-1)
    return np.dstack([scaled, np.where(transparent, 0, np.iinfo(scaled.dtype).max).astype(scaled.dtype)])


def _unpack(lines: Bytes, count: int, depth: int) -> Plane:
    if depth == 16:
        return lines.view(">u2").astype(np.uint16)
    if depth == 8:
        return lines
    bits = np.unpackbits(lines, axis=1)[:, : count * depth].reshape(len(lines), count, depth)
    weights = (1 << np.arange(depth - 1, -1, -1)).astype(np.uint8)
    return np.asarray((bits * weights).sum(axis=2, dtype=np.uint8))


@njit(cache=True, nogil=True)
def _unfilter(filtered: Bytes, out: Bytes, step: int) -> bool:  # pragma: no cover
    """Undo each row's filter; False where a row names an unknown one. `step` is the bytes of a whole pixel."""
    rows, stride = out.shape
    above: Any = np.zeros(stride, np.uint8)
    for y in range(rows):
        kind = filtered[y, 0]
        row, source = out[y], filtered[y, 1:]
        if kind == 0:
            row[:] = source
        elif kind == 1:
            row[:step] = source[:step]
            for i in range(step, stride):
                row[i] = (source[i] + row[i - step]) & 255
        elif kind == 2:
            for i in range(stride):
                row[i] = (source[i] + above[i]) & 255
        elif kind == 3:
            for i in range(stride):
                left = np.int64(row[i - step]) if i >= step else np.int64(0)
                row[i] = (source[i] + ((left + above[i]) >> 1)) & 255
        elif kind == 4:
            for i in range(stride):
                a = np.int64(row[i - step]) if i >= step else np.int64(0)
                b = np.int64(above[i])
                c = np.int64(above[i - step]) if i >= step else np.int64(0)
                pa, pb, pc = abs(b - c), abs(a - c), abs(a + b - 2 * c)
                nearest = a if pa <= pb and pa <= pc else b if pb <= pc else c
                row[i] = (source[i] + nearest) & 255
        else:
            return False
        above = row
    return True
