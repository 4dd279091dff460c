"""The bits of a JPEG scan: Huffman tables, byte stuffing, and the luma's blocks as a scan of their own.

Source: ITU-T T.81 sections A.2 (order of blocks), F.1.2 (Huffman coding), G.1.2 (progressive DC scans).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import numpy as np
from numba import njit
from numpy.typing import NDArray

from raycolor.errors import DecodeError

Bytes = NDArray[np.uint8]

# The DC luminance table of T.81 annex K: it has a code for every category that 8-bit pictures can need.
DC_TABLE: Final = bytes([0, 1, 5, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 0, 0, 0, *range(12)])


def lookup(table: bytes) -> NDArray[np.int32]:
    """Return code length * 256 + symbol for each possible next 16 bits; 0 where no code begins so.

    Args:
        table: 16 counts and the symbols, as a DHT segment holds them.

    Raises:
        DecodeError: `decode_error` for more codes than bits can tell apart.
    """
    found = np.zeros(1 << 16, np.int32)
    for code, length, symbol in _assigned(table):
        found[code << (16 - length) : (code + 1) << (16 - length)] = length * 256 + symbol
    return found


def codes(table: bytes) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """Return the code and its length of each symbol 0..15; the same argument as `lookup`."""
    values, lengths = np.zeros(16, np.int32), np.zeros(16, np.int32)
    for code, length, symbol in _assigned(table):
        values[symbol], lengths[symbol] = code, length
    return values, lengths


def _assigned(table: bytes) -> Iterator[tuple[int, int, int]]:
    """Yield each code, its length and its symbol; DecodeError as `lookup`."""
    code, k = 0, 16
    for length in range(1, 17):
        for _ in range(table[length - 1]):
            if code >= 1 << length or k >= len(table):
                raise DecodeError("decode_error", "JPEG: impossible Huffman table")
            yield code, length, table[k]
            code, k = code + 1, k + 1
        code <<= 1


@njit(cache=True, nogil=True)
def unstuff(scan: Bytes) -> tuple[Bytes, NDArray[np.int64], int, int]:  # pragma: no cover
    """Undo byte stuffing; return (bytes, start of each restart interval, their number, number of bytes).

    A restart marker out of order ends the scan. Behind the bytes are as many zeros as a block without an end reads.
    """
    out = np.zeros(scan.size + 256, np.uint8)
    starts = np.zeros(scan.size // 2 + 2, np.int64)
    intervals, n, i = 1, 0, 0
    while i < scan.size:
        byte = scan[i]
        i += 1
        if byte == 0xFF:
            while i < scan.size and scan[i] == 0xFF:
                i += 1
            if i >= scan.size:
                break
            following = scan[i]
            i += 1
            if following != 0:
                if following != 0xD0 + (intervals - 1) % 8:
                    break
                starts[intervals] = n
                intervals += 1
                continue
        out[n] = byte
        n += 1
    return out, starts, intervals, n


@njit(cache=True, nogil=True, inline="always")
def peek(data: Bytes, position: Any) -> Any:  # pragma: no cover
    """Return the next 16 bits."""
    i = position >> 3
    word = (np.int64(data[i]) << 16) | (np.int64(data[i + 1]) << 8) | np.int64(data[i + 2])
    return (word >> (8 - (position & 7))) & 0xFFFF


@njit(cache=True, nogil=True)
def join_luma(
    data: Bytes, values: NDArray[np.int64], where: NDArray[np.int64], lengths: NDArray[np.int64],
    dc_codes: NDArray[np.int32], dc_lengths: NDArray[np.int32], refine: bool,
) -> Bytes:  # fmt: skip # pragma: no cover
    """Write what `jpeg_whole.luma_blocks` found as a scan without restarts: DC coded anew, AC bits copied.

    An empty result says that a DC difference is out of range (a damaged file).
    """
    bits = np.int64(0)
    for i in range(lengths.size):
        bits += lengths[i] + 21  # a DC code of up to 9 bits and up to 11 bits more
    out = np.empty(2 * (bits // 8 + 8), np.uint8)
    n, held = 0, 0
    word: Any = np.int64(0)
    previous: Any = np.int64(0)
    for i in range(values.size):
        if refine:
            word, held = (word << 1) | np.int64(values[i]), held + 1
        else:
            difference = np.int64(values[i]) - previous
            previous = np.int64(values[i])
            size = 0
            rest: Any = abs(difference)
            while rest:
                size += 1
                rest >>= 1
            if size > 11:
                return out[:0]
            extra = difference if difference >= 0 else difference + (1 << size) - 1
            word = (((word << dc_lengths[size]) | dc_codes[size]) << size) | extra
            held += dc_lengths[size] + size
        position: Any = where[i]
        left: Any = lengths[i]
        while True:
            while held >= 8:
                held -= 8
                byte = (word >> held) & 0xFF
                out[n] = byte
                n += 1
                if byte == 0xFF:
                    out[n] = 0
                    n += 1
            word &= (np.int64(1) << held) - 1
            if left == 0:
                break
            step = min(left, 16)
            word = (word << step) | (peek(data, position) >> (16 - step))
            held += step
            position += step
            left -= step
    if held:
        byte = ((word << (8 - held)) | ((1 << (8 - held)) - 1)) & 0xFF
        out[n] = byte
        n += 1
        if byte == 0xFF:
            out[n] = 0
            n += 1
    return out[:n]
