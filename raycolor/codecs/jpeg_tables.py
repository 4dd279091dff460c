"""The scans of a JPEG, each with the tables that are in force at it.

Source: ITU-T T.81 sections B.2.4.1 (DQT), B.2.4.2 (DHT) and B.2.4.4 (DRI).
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import NamedTuple

from raycolor.codecs.jpeg_file import DHT, DQT, DRI, SOS, JpegFile, ScanHeader, Segment, scan_header
from raycolor.errors import DecodeError


class Scan(NamedTuple):
    """A scan, and what the segments before it have defined; its tables change with the next one."""

    sos: Segment
    header: ScanHeader
    huffman: dict[int, bytes]
    """Class * 16 + number -> 16 counts and the symbols."""
    quanta: dict[int, bytes]
    """Number -> precision * 16 and the 64 values in zigzag order."""
    restart: int
    """MCUs in a restart interval, 0 for none."""

    def codes(self, number: int) -> bytes:
        """Return the Huffman table of this class * 16 + number.

        Raises:
            DecodeError: `decode_error` where no segment before the scan defines it.
        """
        if number not in self.huffman:
            raise DecodeError("decode_error", "JPEG: a scan uses a Huffman table that is not defined")
        return self.huffman[number]


def read_scans(file: JpegFile) -> Iterator[Scan]:
    """Yield the scans in order; DecodeError `decode_error` for one whose header is damaged."""
    huffman: dict[int, bytes] = {}
    quanta: dict[int, bytes] = {}
    restart = 0
    for segment in file.segments:
        payload = segment.payload
        if segment.marker == DHT:
            huffman |= _huffman_tables(payload)
        elif segment.marker == DQT:
            quanta |= _quantization_tables(payload)
        elif segment.marker == DRI and len(payload) >= 2:
            (restart,) = struct.unpack_from(">H", payload)
        elif segment.marker == SOS:
            yield Scan(segment, scan_header(file, segment), huffman, quanta, restart)


def _huffman_tables(payload: bytes) -> dict[int, bytes]:
    found: dict[int, bytes] = {}
    at = 0
    while at + 17 <= len(payload):
        size = 16 + sum(payload[at + 1 : at + 17])
        found[payload[at]] = payload[at + 1 : at + 1 + size]
        at += 1 + size
    return found


def _quantization_tables(payload: bytes) -> dict[int, bytes]:
    found: dict[int, bytes] = {}
    at = 0
    while at < len(payload):
        kind = payload[at]
        size = 128 if kind >> 4 else 64
        if at + 1 + size <= len(payload):
            found[kind & 15] = bytes([kind & 0xF0]) + payload[at + 1 : at + 1 + size]
        at += 1 + size
    return found
