"""Prove that a JPEG holds every coefficient, before any pixel is decoded.

All scans down to the last bit, every block of each, restart markers in order, and no byte left over. Memory is taken
as far as the data reaches: the first scan of a picture spends at least a bit on every block.
Source: ITU-T T.81 sections A.2 (order of blocks), G.1.1 (progressions).
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from raycolor.codecs import jpeg_file, jpeg_scan, jpeg_walk
from raycolor.codecs.jpeg_file import DHT, DQT, DRI, SOS, Component, JpegFile, Segment
from raycolor.codecs.jpeg_tables import chosen, huffman_tables, quantization_tables
from raycolor.errors import DecodeError, Reason

# Passing over a block costs a decoder a quarter of a microsecond per scan, even where the scan says nothing of it. A
# black page has 25 such passes to a byte, photographs two.
MAX_PASSES_PER_BYTE: Final = 100
_UNSEEN: Final = 99  # bits of a coefficient that are still to come, before any scan of it
_PROGRESSIVE: Final = (0xC2, 0xCA)
_ARITHMETIC: Final = (0xC9, 0xCA)
_WRONG: Final[dict[int, tuple[Reason, str]]] = {
    jpeg_walk.BAD_CODE: ("decode_error", "holds an impossible Huffman code"),
    jpeg_walk.ENDED: ("truncated", "ends, or its restart markers run out of order, before its last block"),
    jpeg_walk.TOO_LONG: ("decode_error", "goes on after its last block: data was lost or changed before"),
    jpeg_walk.TOO_BRIGHT: ("decode_error", "holds a brightness that no picture has: data before it is damaged"),
    jpeg_walk.PAST_BLOCK: ("decode_error", "holds a coefficient behind the last one of its block"),
}


@dataclass
class _State:
    """What the segments so far have defined, and which bits of which coefficients have come."""

    file: JpegFile
    huffman: dict[int, bytes] = field(default_factory=dict)
    quanta: dict[int, bytes] = field(default_factory=dict)
    restart: int = 0
    missing: dict[int, NDArray[np.int64]] = field(default_factory=dict)  # component -> (64,) bits to come
    known: dict[int, NDArray[np.uint64]] = field(default_factory=dict)  # component -> coefficients that are not zero


def check_whole(file: JpegFile) -> None:
    """Check that no part of a JPEG's picture is missing or contradicts the others.

    Arithmetic coding is checked by its headers alone: its decoder takes any bits for a picture.

    Raises:
        DecodeError: `truncated` where scans or blocks are missing, `decode_error` where what is there is damaged,
            `too_large` where scans that say next to nothing would cost more time than the file's size is worth.
    """
    headers = [jpeg_file.scan_header(file, sos) for sos in file.scans]
    passes = sum(_blocks(file, component) for header in headers for component in header.components)
    if len(headers) > 1 and passes > MAX_PASSES_PER_BYTE * len(file.data):
        raise DecodeError("too_large", f"JPEG: {len(headers)} scans over {passes:,} blocks in {len(file.data):,} bytes")
    state = _State(file, missing={c.ident: np.full(64, _UNSEEN) for c in file.components})
    if len(state.missing) < len(file.components):
        raise DecodeError("decode_error", "JPEG: two components with the same name")
    for segment in file.segments:
        if segment.marker == DHT:
            state.huffman |= huffman_tables(segment.payload)
        elif segment.marker == DQT:
            state.quanta |= quantization_tables(segment.payload)
        elif segment.marker == DRI and len(segment.payload) >= 2:
            (state.restart,) = struct.unpack_from(">H", segment.payload)
        elif segment.marker == SOS:
            _check_scan(state, segment)
    absent = sum(int(bits.any()) for bits in state.missing.values())
    if absent:
        what = f"the last bits of {absent} of {len(file.components)} components"
        raise DecodeError("truncated", f"JPEG: the file ends before the scans that hold {what}")


def _check_scan(state: _State, sos: Segment) -> None:
    components, tables, first, last, bits = jpeg_file.scan_header(state.file, sos)
    high, low = bits >> 4, bits & 15
    if state.file.sof not in _PROGRESSIVE:
        first, last, high, low = 0, 63, 0, 0
    _check_progression(state, components, first, last, high, low)
    if state.file.sof in _ARITHMETIC:
        return
    raw, starts, intervals, size = jpeg_scan.unstuff(jpeg_scan.scan_array(state.file.data, *sos.scan))
    if intervals > 1 and starts[intervals - 1] == size:
        intervals -= 1  # some writers close the last interval with a restart marker, too
    scan = raw, starts, intervals, size
    if first:
        known = state.known.setdefault(
            components[0].ident, np.zeros(_blocks(state.file, components[0]), dtype=np.uint64)
        )
        codes = jpeg_scan.lookup(chosen(state.huffman, 16 | (tables[0] & 15)))
        status = jpeg_walk.progressive_ac(
            raw, starts, intervals, size, state.restart, first, last, high > 0, codes, known
        )
    else:
        status = _walk_dc(state, scan, components, tables, whole=last > 0, refine=high > 0, shift=low)
    if status != jpeg_walk.WHOLE:
        reason, what = _WRONG[status]
        raise DecodeError(reason, f"JPEG: scan {state.file.scans.index(sos) + 1} {what}")


def _check_progression(state: _State, components: list[Component], first: int, last: int, high: int, low: int) -> None:
    """Check that each bit of each coefficient comes once and in order, and note what has come."""
    for component in components:
        missing = state.missing[component.ident]
        expected = high if high else _UNSEEN
        possible = first <= last <= 63 and low <= 13 and (not high or low == high - 1)
        if state.file.sof in _PROGRESSIVE:
            # DC and AC stand in scans of their own, AC of one component only and behind its DC.
            possible &= last == 0 if first == 0 else len(components) == 1 and missing[0] != _UNSEEN
        if not possible or (missing[first : last + 1] != expected).any():
            what = f"coefficients {first} to {last}, bits {high} to {low}"
            raise DecodeError("decode_error", f"JPEG: a scan is missing, or repeated, before that of {what}")
        missing[first : last + 1] = low


def _walk_dc(
    state: _State, scan: Any, components: list[Component], tables: bytes, *, whole: bool, refine: bool, shift: int
) -> int:
    file = state.file
    raw, starts, intervals, size = scan
    if len(components) == 1:
        blocks, mcus = [1], _blocks(file, components[0])
    else:
        blocks = [c.h * c.v for c in components]
        tall, wide = (8 * max(getattr(c, side) for c in file.components) for side in "vh")
        mcus = -(-file.height // tall) * -(-file.width // wide)
    if refine:
        return int(jpeg_walk.one_bit_each(starts, intervals, size, mcus, sum(blocks), state.restart))
    dc, ac, many, quantum = [], [], [], []
    for component, table in zip(components, tables, strict=True):
        dc.append(_steps(state, table >> 4, is_dc=True)[0])
        ones = _steps(state, 16 | (table & 15), is_dc=False) if whole else (dc[-1], dc[-1][:0])
        ac.append(ones[0])
        many.append(ones[1])
        if component.table not in state.quanta:
            raise DecodeError("decode_error", "JPEG: a scan uses a quantization table that is not defined")
        values = state.quanta[component.table]
        quantum.append(values[1] if values[0] == 0 else values[1] * 256 + values[2])
    return int(
        jpeg_walk.sequential(
            raw, starts, intervals, size, np.array(blocks, dtype=np.int64), mcus, state.restart, shift,
            np.stack(dc), np.stack(ac), np.stack(many), np.array(quantum, dtype=np.int64), whole,
        )
    )  # fmt: skip


def _steps(state: _State, number: int, *, is_dc: bool) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    one, many = jpeg_walk.steps(np.frombuffer(chosen(state.huffman, number), np.uint8), is_dc)
    if not one.size:
        raise DecodeError("decode_error", "JPEG: impossible Huffman table")
    return one, many


def _blocks(file: JpegFile, component: Component) -> int:
    """Return the blocks of a component in a scan of its own."""
    widest, tallest = max(c.h for c in file.components), max(c.v for c in file.components)
    width, height = -(-file.width * component.h // widest), -(-file.height * component.v // tallest)
    return -(-width // 8) * -(-height // 8)
