"""A decoder of TIFF's LZW that never reads or writes outside its arrays.

Our own, as imagecodecs (2026.3) ends the process by a segmentation fault on some damaged streams.
Source: TIFF 6.0 section 13; the older form, bits from the right and codes that grow one later, as in libtiff's
LZWDecodeCompat.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from raycolor.errors import DecodeError

Bytes = NDArray[np.uint8]


def decode(coded: bytes, size: int) -> bytearray:
    """Return the first `size` bytes that a strip or tile unpacks to.

    Raises:
        DecodeError: `truncated` where there are fewer, `decode_error` for a code that means nothing.
    """
    out = bytearray(size)
    # The first code clears the table: its nine bits begin with a one, or from the right with eight zeros and a one.
    old = len(coded) > 1 and coded[0] == 0 and coded[1] & 1 == 1
    # One byte for every eight bits of a code, so that a code may be read at once wherever it begins.
    there = _unpack(np.frombuffer(coded + bytes(4), np.uint8), np.frombuffer(out, np.uint8), old)
    if there < 0:
        raise DecodeError("decode_error", f"TIFF: invalid LZW code after {-there - 1:,} bytes")
    if there < size:
        raise DecodeError("truncated", f"TIFF: LZW of {there:,} bytes, not {size:,}")
    return out


@njit(cache=True, nogil=True)
def _unpack(coded: Bytes, out: Bytes, old: bool) -> int:  # pragma: no cover
    """Unpack and return how many bytes there were; -1 less that number at a code that means nothing.

    A code's string is the one before it and a byte, which follows it in `out`: the table holds places in there.
    """
    start: Any = np.zeros(4096, np.int64)
    length: Any = np.zeros(4096, np.int64)
    bits, bit, width, free, at = 8 * (coded.size - 4), 0, 9, 258, 0
    last, last_length = 0, 0
    while at < out.size and bit + width <= bits:
        byte, shift = bit >> 3, bit & 7
        if old:
            word = np.int64(coded[byte]) | np.int64(coded[byte + 1]) << 8 | np.int64(coded[byte + 2]) << 16
            code = (word >> shift) & ((1 << width) - 1)
        else:
            word = np.int64(coded[byte]) << 16 | np.int64(coded[byte + 1]) << 8 | np.int64(coded[byte + 2])
            code = (word >> (24 - shift - width)) & ((1 << width) - 1)
        bit += width
        if code == 256:
            width, free, last_length = 9, 258, 0
            continue
        if code == 257:
            break
        begin, count = at, 1
        if code < 256:
            out[at] = code
            at += 1
        else:
            if last_length == 0 or code > free:
                return -1 - at
            source = last if code == free else start[code]
            count = last_length + 1 if code == free else length[code]
            left = out.size - at
            for i in range(count if count < left else left):
                out[at + i] = out[source + i]
            at += count if count < left else left
        if last_length > 0 and free < 4096:
            start[free], length[free] = last, last_length + 1
            free += 1
            if free + (0 if old else 1) >= 1 << width and width < 12:
                width += 1
        last, last_length = begin, count
    return at
