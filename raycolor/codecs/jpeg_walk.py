"""Check a Huffman-coded JPEG scan bit by bit against its headers.

Stricter than libjpeg, which takes a run past the 64th coefficient, or a brightness no picture has, without a word.
Source: ITU-T T.81 sections F.1.2 (sequential coding) and G.1.2 (progressive coding).
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numba import njit
from numpy.typing import NDArray

from raycolor.codecs.jpeg_scan import Bytes, peek

Ints = NDArray[np.int32]
Places = NDArray[np.int64]

WHOLE, BAD_CODE, ENDED, TOO_LONG, TOO_BRIGHT, PAST_BLOCK = range(6)
_WINDOW: Final = 12  # bits looked up together: larger tables are no faster and cost small pictures their making
_END_OF_BLOCK: Final = 1024  # added to a step's coefficients where it ends its block
_NO_STEP: Final = 4096
_PEAK: Final = 1024  # the largest DC of 8-bit samples: 8 * 128


@njit(cache=True, nogil=True)
def steps(table: Bytes, is_dc: bool) -> tuple[Ints, Ints]:  # pragma: no cover
    """Return, for the next 16 bits and for the next 12, what the decoder steps over: bits * 65536 + what that is.

    Args:
        table: 16 counts and the symbols, as a DHT segment holds them.
        is_dc: the first table then gives the code's bits and the category. Otherwise it gives code and value together,
            and the number of coefficients, or `_END_OF_BLOCK`; the second one gives as many whole symbols of a
            sequential scan as 12 bits hold, `_NO_STEP` for none.

    An empty first table says that more codes are counted than bits can tell apart. 0 there is no code.
    """
    one = np.zeros(1 << 16, np.int32)
    many = np.full(1 << _WINDOW, _NO_STEP, np.int32)
    code, k = 0, 16
    for length in range(1, 17):
        for _ in range(table[length - 1]):
            first, last = code << (16 - length), (code + 1) << (16 - length)
            if last > 1 << 16 or k >= table.size:
                return one[:0], many
            run, size = table[k] >> 4, table[k] & 15
            step = 0
            if is_dc:
                if table[k] <= 11:
                    step = (length << 16) | size
            elif 0 < size <= 10:
                step = ((length + size) << 16) | (run + 1)
            elif size == 0 and run == 15:
                step = (length << 16) | 16
            elif size == 0 and run == 0:
                step = (length << 16) | _END_OF_BLOCK
            one[first:last] = step
            code, k = code + 1, k + 1
        code <<= 1
    if not is_dc:
        for window in range(1 << _WINDOW):
            bits, coefficients = 0, 0
            while coefficients < _END_OF_BLOCK:
                step = one[(window << (16 - _WINDOW) << bits) & 0xFFFF]
                if step == 0 or bits + (step >> 16) > _WINDOW:
                    break
                bits += step >> 16
                coefficients += step & 0xFFFF
            if bits:
                many[window] = (bits << 16) | coefficients
    return one, many


@njit(cache=True, nogil=True)
def _end(starts: Places, intervals: int, size: int, interval: int) -> Any:  # pragma: no cover
    """Return the bit where a restart interval ends."""
    return np.int64(size if interval + 1 >= intervals else starts[interval + 1]) * 8


@njit(cache=True, nogil=True)
def _cut_or(status: int, position: Any, end: Any) -> int:  # pragma: no cover
    """Return ENDED where what is wrong may only be what was read past the end: a code has up to 16 bits."""
    return ENDED if position + 16 > end else status


@njit(cache=True, nogil=True)
def sequential(
    data: Bytes, starts: Places, intervals: int, size: int,
    blocks: Places, mcus: int, restart: int, noted: int, notes: Places, shift: int,
    dc: Ints, ac: Ints, many: Ints, quantum: Places, whole: bool,
) -> int:  # fmt: skip # pragma: no cover
    """Walk along a sequential scan, or (`whole` false) the first DC scan of a progressive picture.

    Args:
        data, starts, intervals, size: what `jpeg_scan.unstuff` returned.
        blocks: of each component in an MCU.
        mcus, restart: MCUs in the scan and in a restart interval, 0 for no restarts.
        noted, notes: for each block of this component, -1 for none, `notes` (3, blocks) gets the sum of DC differences,
            the bit behind the last of these, and how many bits its AC codes have.
        shift: the point transform (Al) of a progressive DC scan.
        dc, ac, many: (components, ...) of `steps`.
        quantum: (components,) what the DC is quantized with.

    Returns:
        WHOLE or what is wrong.
    """
    components = blocks.shape[0]
    previous = np.zeros(components, np.int64)
    position: Any = np.int64(0)
    step: Any
    interval = block = 0
    end = _end(starts, intervals, size, 0)
    for mcu in range(mcus):
        if restart > 0 and mcu > 0 and mcu % restart == 0:
            if position > end or interval + 1 >= intervals:
                return ENDED
            if end - position >= 8:
                return TOO_LONG
            interval += 1
            position, end = starts[interval] * 8, _end(starts, intervals, size, interval)
            previous[:] = 0
        for c in range(components):
            for _ in range(blocks[c]):
                if position >= end:
                    return ENDED
                step = dc[c, peek(data, position)]
                if step == 0:
                    return _cut_or(BAD_CODE, position, end)
                position += step >> 16
                category = step & 15
                if category:
                    value = peek(data, position) >> (16 - category)
                    if value < 1 << (category - 1):
                        value -= (1 << category) - 1
                    position += category
                    previous[c] += value
                    # A quantum, and what the point transform cut, is left to encoders that do not round to nearest.
                    if ((abs(previous[c]) - 1) << shift) * quantum[c] > _PEAK:
                        return _cut_or(TOO_BRIGHT, position, end)
                begin = position
                k = 1 if whole else 64
                while k < 64:
                    window = peek(data, position)
                    step = many[c, window >> (16 - _WINDOW)]
                    reached = k + (step & 0xFFFF)
                    if reached > 64 and not _END_OF_BLOCK < reached < _END_OF_BLOCK + 64:
                        step = ac[c, window]
                        if step == 0:
                            return _cut_or(BAD_CODE, position, end)
                        reached = k + (step & 0xFFFF)
                        if 64 < reached < _END_OF_BLOCK:
                            return _cut_or(PAST_BLOCK, position, end)
                    position += step >> 16
                    k = reached
                if c == noted:
                    notes[0, block], notes[1, block], notes[2, block] = previous[c], begin, position - begin
                    block += 1
    if position > end:
        return ENDED
    return TOO_LONG if end - position >= 8 or interval + 1 < intervals else WHOLE


@njit(cache=True, nogil=True)
def progressive_ac(
    data: Bytes, starts: Places, intervals: int, size: int,
    restart: int, first: int, last: int, refine: bool, table: Ints, known: NDArray[np.uint64],
) -> int:  # fmt: skip # pragma: no cover
    """Walk along a progressive AC scan of one component and note which coefficients are no longer zero.

    Args:
        data, starts, intervals, size: what `jpeg_scan.unstuff` returned.
        restart: blocks in a restart interval, 0 for none.
        first, last: the coefficients (Ss, Se).
        refine: one more bit of each coefficient, not the first ones.
        table: `jpeg_scan.lookup` of the AC codes.
        known: (blocks,), a bit for each coefficient that is not zero; written to.

    Returns:
        WHOLE or what is wrong.
    """
    position: Any = np.int64(0)
    interval = 0
    end = _end(starts, intervals, size, 0)
    run_of_ends: Any = np.int64(0)  # EOBRUN: blocks to come without a new coefficient
    one = np.uint64(1)
    band = (np.uint64(0xFFFFFFFFFFFFFFFF) >> np.uint64(63 - last)) & (np.uint64(0xFFFFFFFFFFFFFFFF) << np.uint64(first))
    for at in range(known.size):
        if restart > 0 and at > 0 and at % restart == 0:
            if position > end or interval + 1 >= intervals:
                return ENDED
            if end - position >= 8 or run_of_ends:
                return TOO_LONG
            interval += 1
            position, end = starts[interval] * 8, _end(starts, intervals, size, interval)
        k = first
        while run_of_ends == 0 and k <= last:
            if position >= end:
                return ENDED
            entry = table[peek(data, position)]
            if entry == 0:
                return _cut_or(BAD_CODE, position, end)
            position += entry >> 8
            run, category = (entry >> 4) & 15, entry & 15
            if category == 0 and run < 15:
                run_of_ends = np.int64(1) << run
                if run:
                    run_of_ends += peek(data, position) >> (16 - run)
                    position += run
                break
            if category > (1 if refine else 10):
                return _cut_or(BAD_CODE, position, end)
            position += category
            if not refine:
                k += run
            else:
                # The run counts coefficients that are still zero; those met on the way each have a bit here.
                while k <= last and (run > 0 or known[at] >> np.uint64(k) & one != 0):
                    if known[at] >> np.uint64(k) & one != 0:
                        position += 1
                    else:
                        run -= 1
                    k += 1
            if k > last:
                return _cut_or(PAST_BLOCK, position, end)
            if category:
                known[at] |= one << np.uint64(k)
            k += 1
        if run_of_ends:
            run_of_ends -= 1
            if refine and k <= last:
                rest = known[at] & band & (np.uint64(0xFFFFFFFFFFFFFFFF) << np.uint64(k))
                while rest:
                    position += 1
                    rest &= rest - one
    if position > end:
        return ENDED
    return TOO_LONG if end - position >= 8 or interval + 1 < intervals or run_of_ends else WHOLE


@njit(cache=True, nogil=True)
def one_bit_each(
    data: Bytes, starts: Places, intervals: int, size: int,
    blocks: Places, mcus: int, restart: int, noted: int, notes: Places,
) -> int:  # fmt: skip # pragma: no cover
    """Check the lengths of a later DC scan of a progressive picture, which holds one bit per block; note the bits.

    The arguments are those of `sequential`.
    """
    left, block = mcus, 0
    for interval in range(intervals):
        here = min(left, restart) if restart > 0 else left
        position = starts[interval] * 8 if interval else 0
        spare = _end(starts, intervals, size, interval) - position - here * blocks.sum()
        if spare < 0:
            return ENDED
        if spare >= 8:
            return TOO_LONG
        left -= here
        for _ in range(here if noted >= 0 else 0):
            for c in range(blocks.size):
                for _ in range(blocks[c]):
                    if c == noted:
                        notes[0, block] = peek(data, position) >> 15
                        block += 1
                    position += 1
    return ENDED if left else WHOLE
