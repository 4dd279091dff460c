"""The tables that JPEG segments define: Huffman codes and quantization.

Source: ITU-T T.81 sections B.2.4.1 (DQT) and B.2.4.2 (DHT).
"""

from __future__ import annotations

from raycolor.errors import DecodeError


def huffman_tables(payload: bytes) -> dict[int, bytes]:
    """Return a DHT segment's tables: class * 16 + number -> 16 counts and the symbols."""
    found: dict[int, bytes] = {}
    at = 0
    while at + 17 <= len(payload):
        size = 16 + sum(payload[at + 1 : at + 17])
        found[payload[at]] = payload[at + 1 : at + 1 + size]
        at += 1 + size
    return found


def quantization_tables(payload: bytes) -> dict[int, bytes]:
    """Return a DQT segment's whole tables: number -> precision * 16 and the 64 values in zigzag order."""
    found: dict[int, bytes] = {}
    at = 0
    while at < len(payload):
        kind = payload[at]
        size = 128 if kind >> 4 else 64
        if at + 1 + size <= len(payload):
            found[kind & 15] = bytes([kind & 0xF0]) + payload[at + 1 : at + 1 + size]
        at += 1 + size
    return found


def chosen(tables: dict[int, bytes], number: int) -> bytes:
    """Return the Huffman table of this number.

    Raises:
        DecodeError: `decode_error` where no segment before the scan defines it.
    """
    if number not in tables:
        raise DecodeError("decode_error", "JPEG: a scan uses a Huffman table that is not defined")
    return tables[number]
