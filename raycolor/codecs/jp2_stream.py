"""Checks that a JPEG 2000 codestream holds every tile whole, and that its bytes are worth the pixels it claims.

Source: ISO/IEC 15444-1 annexes A.4 (delimiting markers), A.6 (coding styles), B.6 to B.10 (precincts and packets).
"""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass
from typing import Final

from raycolor.errors import DecodeError

SOT, SOD, COD, COC = 0xFF90, 0xFF93, 0xFF52, 0xFF53
# A page of one color is a few hundred bytes whatever its size. Photographs have some 4 pixels to a byte, and 100 where
# nothing is left of them.
MAX_PIXELS_PER_BYTE: Final = 2000
FREE_PIXELS: Final = 4_000_000
_SLACK: Final = 256  # zero bytes in a row that no packet header explains, and no coder makes
# Coded data is stuffed so that no two bytes of it look like a marker; SOP (FF91) and EPH (FF92) may stand between.
_MARKER: Final = re.compile(rb"\xff[\x90\x93-\xff]")


@dataclass(frozen=True)
class _Style:
    """One COD or COC: layers, code-block area, whether bits are coded raw and by the 5-3 wavelet, and its precincts."""

    layers: int
    block_area: int
    raw: bool
    reversible: bool
    precincts: tuple[tuple[int, int], ...]  # exponents of (width, height), from the smallest resolution to the largest

    def packets(self, width: int, height: int) -> int:
        """Return the number of packets of one component of a tile of this size that begins at a precinct's edge."""
        found = 0
        for left, (wide, tall) in zip(reversed(range(len(self.precincts))), self.precincts, strict=True):
            # Halved `left` times the picture is a resolution; `wide` or `tall` times more it counts precincts.
            found += -(-width >> (left + wide)) * -(-height >> (left + tall))
        return found * self.layers


def check_whole(stream: bytes) -> bool:
    """Check a codestream's tiles before anything is decoded; return whether its default is the reversible wavelet.

    Raises:
        DecodeError: `truncated` where a tile, a part of one, or the least that its packets take is missing;
            `decode_error` where its data is overwritten or its parts are out of order; `too_large` where it claims
            over 2,000 pixels for each of its bytes, from 4 megapixels on.
    """
    x1, y1, x0, y0, wide, tall, left, top = struct.unpack_from(">8I", stream, 8)
    (channels,) = struct.unpack_from(">H", stream, 40)
    pixels = (x1 - x0) * (y1 - y0)
    if pixels > max(FREE_PIXELS, MAX_PIXELS_PER_BYTE * len(stream)):
        limit = f"the limit is {MAX_PIXELS_PER_BYTE:,} a byte"
        raise DecodeError("too_large", f"JPEG 2000: {pixels:,} pixels in {len(stream):,} bytes, {limit}")
    if not wide or not tall or left > x0 or top > y0 or left + wide <= x0 or top + tall <= y0:
        raise DecodeError("decode_error", "JPEG 2000: impossible tile size")
    tiles = -(-(x1 - left) // wide) * -(-(y1 - top) // tall)
    styles, at = _header(stream, 2, channels)
    if not styles:
        raise DecodeError("decode_error", "JPEG 2000: no coding style (COD)")
    reversible = styles[0].reversible
    parts: dict[int, list[tuple[int, int]]] = {}  # tile -> (first byte, end) of its parts' data
    announced: dict[int, int] = {}
    while stream[at : at + 2] == b"\xff\x90" and at + 12 <= len(stream):
        _, tile, size, part, count = struct.unpack_from(">HHIBB", stream, at + 2)
        end = at + size if size else _end(stream)
        more, data = _header(stream, at + 12, channels)
        if tile >= tiles or part != len(parts.get(tile, ())) or not data <= end:
            raise DecodeError("decode_error", f"JPEG 2000: part {part} of tile {tile} is out of place")
        if end > _end(stream):
            raise DecodeError("truncated", f"JPEG 2000: tile {tile} ends past the codestream's {len(stream):,} bytes")
        styles += more
        parts.setdefault(tile, []).append((data, end))
        announced[tile] = count or announced.get(tile, 0)
        at = end
    if stream[at : at + 2] != b"\xff\xd9":
        raise DecodeError("decode_error", "JPEG 2000: neither a tile nor the end follows a tile")
    whole = sum(len(found) >= announced[tile] for tile, found in parts.items())
    if whole < tiles:
        raise DecodeError("truncated", f"JPEG 2000: {tiles - whole} of {tiles} tiles are missing or not whole")
    width, height = min(wide, x1 - x0), min(tall, y1 - y0)
    packets = max(style.packets(width, height) for style in styles) * channels
    # A packet is a byte at least. Tiles at the picture's edge may be cut to a quarter of their packets.
    if packets > 4 * len(stream):
        raise DecodeError(
            "truncated", f"JPEG 2000: a tile has {packets:,} packets, the codestream {len(stream):,} bytes"
        )
    zeros = _longest_zeros(styles, packets, width * height * channels)
    for tile, found in parts.items():
        for start, end in found:
            if _MARKER.search(stream, start, end) or (zeros and stream.find(bytes(zeros), start, end) >= 0):
                raise DecodeError("decode_error", f"JPEG 2000: the data of tile {tile} is overwritten")
    return reversible


def _end(stream: bytes) -> int:
    """Return where the end-of-codestream marker stands; the file may be padded behind it."""
    return len(stream.rstrip(b"\0")) - 2


def _header(stream: bytes, at: int, channels: int) -> tuple[list[_Style], int]:
    """Read a main or tile-part header; return its coding styles and where it ends: at SOT, or behind SOD."""
    styles: list[_Style] = []
    while at + 4 <= len(stream):
        marker, length = struct.unpack_from(">HH", stream, at)
        if marker == SOT:
            return styles, at
        if marker == SOD:
            return styles, at + 2
        if marker < 0xFF00 or length < 2:
            raise DecodeError("decode_error", f"JPEG 2000: marker {marker:04X} in a header")
        payload = stream[at + 4 : at + 2 + length]
        if marker == COD and len(payload) >= 10:
            styles.append(_style(payload[0], int.from_bytes(payload[2:4], "big"), payload[5:]))
        elif marker == COC and styles and len(payload) >= 7 + (channels > 256):
            styles.append(_style(payload[1], styles[0].layers, payload[2:]))
        at += 2 + length
    raise DecodeError("truncated", "JPEG 2000: the file ends in a header")


def _style(flags: int, layers: int, fields: bytes) -> _Style:
    levels, wide, tall, modes = fields[0], (fields[1] & 15) + 2, (fields[2] & 15) + 2, fields[3]
    if levels > 32 or wide + tall > 12 or (flags & 1 and len(fields) < 6 + levels):
        raise DecodeError("decode_error", "JPEG 2000: impossible coding style")
    sizes = fields[5 : 6 + levels] if flags & 1 else b"\xff" * (levels + 1)
    precincts = tuple((s & 15, s >> 4) for s in sizes)
    return _Style(layers, 1 << (wide + tall), bool(modes & 1), fields[4] == 1, precincts)


def _longest_zeros(styles: list[_Style], packets: int, samples: int) -> int:
    """Return how many zero bytes in a row mean an overwritten piece, 0 for never.

    An empty packet is one zero byte; in the header of another one up to some two bits per code-block are zeros.
    Arithmetic codes hold no long runs; raw ones may.
    """
    if any(style.raw for style in styles):
        return 0
    return _SLACK + packets + samples // min(style.block_area for style in styles) // 2
