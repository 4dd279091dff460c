"""Prove that a JPEG holds every coefficient, before any pixel is decoded.

All scans down to the last bit, every block of each, restart markers in order, and no byte left over. Memory is taken
as far as the data reaches: the first scan of a picture spends at least a bit on every block.
Source: ITU-T T.81 sections A.2 (order of blocks), G.1.1 (progressions).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

import numpy as np
from numpy.typing import NDArray

from raycolor.codecs import jpeg_file, jpeg_scan, jpeg_walk
from raycolor.codecs.jpeg_file import PROGRESSIVE, Component, JpegFile
from raycolor.codecs.jpeg_scan import Bytes
from raycolor.codecs.jpeg_tables import Scan, read_scans
from raycolor.codecs.jpeg_walk import Places
from raycolor.errors import DecodeError, Reason

# Passing over a block costs a decoder a quarter of a microsecond per scan, even where the scan says nothing of it. A
# black page has 25 such passes to a byte, photographs two.
MAX_PASSES_PER_BYTE: Final = 100
_UNSEEN: Final = 99  # bits of a coefficient that are still to come, before any scan of it
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
    """Which bits of which coefficients have come."""

    file: JpegFile
    missing: dict[int, NDArray[np.int64]]  # component -> (64,) bits to come
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
    state = _State(file, {c.ident: np.full(64, _UNSEEN) for c in file.components})
    if len(state.missing) < len(file.components):
        raise DecodeError("decode_error", "JPEG: two components with the same name")
    for scan in read_scans(file):
        _check_scan(state, scan)
    absent = sum(int(bits.any()) for bits in state.missing.values())
    if absent:
        what = f"the last bits of {absent} of {len(file.components)} components"
        raise DecodeError("truncated", f"JPEG: the file ends before the scans that hold {what}")


def luma_blocks(file: JpegFile, scan: Scan) -> tuple[Bytes, Places, Places, Places]:
    """Return where the luma's blocks stand in a scan of several components, the first DC one or of whole blocks.

    Returns:
        The scan's bytes without stuffing; of each block in raster order the sum of its DC differences (of a later DC
        scan of a progressive picture its one bit), the bit at which its AC codes begin, and how many bits these have.

    Raises:
        DecodeError: as `check_whole`.
    """
    luma = file.components[0]
    bits = _unstuffed(file, scan)
    notes = np.zeros((3, _mcus(file) * luma.h * luma.v), np.int64)
    _refuse(file, scan, _walk_dc(file, scan, bits, notes))
    rows, columns = -(-file.height // 8), -(-file.width // 8)
    tall, wide = _mcu_shape(file)
    shape = 3, -(-file.height // tall), -(-file.width // wide), luma.v, luma.h
    raster = notes.reshape(shape).swapaxes(2, 3).reshape(3, shape[1] * luma.v, -1)[:, :rows, :columns]
    values, where, lengths = np.ascontiguousarray(raster).reshape(3, -1)
    return bits[0], values, where, lengths


def _check_scan(state: _State, scan: Scan) -> None:
    components, tables, first, last, bits = scan.header
    _check_progression(state, components, first, last, bits >> 4, bits & 15)
    file = state.file
    if file.sof in _ARITHMETIC:
        return
    unstuffed = _unstuffed(file, scan)
    if first:
        known = state.known.setdefault(components[0].ident, np.zeros(_blocks(file, components[0]), dtype=np.uint64))
        codes = jpeg_scan.lookup(scan.codes(16 | (tables[0] & 15)))
        status = jpeg_walk.progressive_ac(*unstuffed, scan.restart, first, last, bits >> 4 > 0, codes, known)
    else:
        status = _walk_dc(file, scan, unstuffed, np.zeros((3, 0), np.int64))
    _refuse(file, scan, status)


def _unstuffed(file: JpegFile, scan: Scan) -> tuple[Bytes, Places, int, int]:
    start, end = scan.sos.scan
    raw, starts, intervals, size = jpeg_scan.unstuff(np.frombuffer(file.data, np.uint8, end - start, start))
    if intervals > 1 and starts[intervals - 1] == size:
        intervals -= 1  # some writers close the last interval with a restart marker, too
    return raw, starts, intervals, size


def _refuse(file: JpegFile, scan: Scan, status: int) -> None:
    if status != jpeg_walk.WHOLE:
        reason, what = _WRONG[status]
        raise DecodeError(reason, f"JPEG: scan {file.scans.index(scan.sos) + 1} {what}")


def _check_progression(state: _State, components: list[Component], first: int, last: int, high: int, low: int) -> None:
    """Check that each bit of each coefficient comes once and in order, and note what has come."""
    for component in components:
        missing = state.missing[component.ident]
        expected = high if high else _UNSEEN
        possible = first <= last <= 63 and low <= 13 and (not high or low == high - 1)
        if state.file.sof in PROGRESSIVE:
            # DC and AC stand in scans of their own, AC of one component only and behind its DC.
            possible &= last == 0 if first == 0 else len(components) == 1 and missing[0] != _UNSEEN
        if not possible or (missing[first : last + 1] != expected).any():
            what = f"coefficients {first} to {last}, bits {high} to {low}"
            raise DecodeError("decode_error", f"JPEG: a scan is missing, or repeated, before that of {what}")
        missing[first : last + 1] = low


def _walk_dc(file: JpegFile, scan: Scan, unstuffed: tuple[Bytes, Places, int, int], notes: Places) -> int:
    """Walk along a scan with DC coefficients; note its luma blocks, if `notes` has room for them; return the status."""
    components, tables, _, last, bits = scan.header
    if len(components) == 1:
        blocks, mcus = [1], _blocks(file, components[0])
    else:
        blocks, mcus = [c.h * c.v for c in components], _mcus(file)
    noted = components.index(file.components[0]) if notes.size else -1
    if bits >> 4:
        return int(jpeg_walk.one_bit_each(*unstuffed, np.array(blocks), mcus, scan.restart, noted, notes))
    dc, ac, many, quantum = [], [], [], []
    for component, table in zip(components, tables, strict=True):
        dc.append(_steps(scan, table >> 4, is_dc=True)[0])
        ones = _steps(scan, 16 | (table & 15), is_dc=False) if last else (dc[-1], dc[-1][:0])
        ac.append(ones[0])
        many.append(ones[1])
        if component.table not in scan.quanta:
            raise DecodeError("decode_error", "JPEG: a scan uses a quantization table that is not defined")
        values = scan.quanta[component.table]
        quantum.append(values[1] if values[0] == 0 else values[1] * 256 + values[2])
    return int(
        jpeg_walk.sequential(
            *unstuffed, np.array(blocks), mcus, scan.restart, noted, notes, bits & 15,
            np.stack(dc), np.stack(ac), np.stack(many), np.array(quantum), last > 0,
        )
    )  # fmt: skip


def _steps(scan: Scan, number: int, *, is_dc: bool) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    one, many = jpeg_walk.steps(np.frombuffer(scan.codes(number), np.uint8), is_dc)
    if not one.size:
        raise DecodeError("decode_error", "JPEG: impossible Huffman table")
    return one, many


def _mcu_shape(file: JpegFile) -> tuple[int, int]:
    """Return height and width in pixels of an MCU of all components."""
    return 8 * max(c.v for c in file.components), 8 * max(c.h for c in file.components)


def _mcus(file: JpegFile) -> int:
    """Return the MCUs of a scan of several components."""
    tall, wide = _mcu_shape(file)
    return -(-file.height // tall) * -(-file.width // wide)


def _blocks(file: JpegFile, component: Component) -> int:
    """Return the blocks of a component in a scan of its own."""
    tall, wide = _mcu_shape(file)
    return -(-file.height * component.v // tall) * -(-file.width * component.h // wide)
