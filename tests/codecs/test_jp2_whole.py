"""Damaged JPEG 2000: every tile is there and whole, and what a file may cost is bounded by its size."""

from __future__ import annotations

import struct
import tracemalloc

import imagecodecs
import numpy as np
import pytest
from codec_samples import gray, refused, save, wide

from raycolor.codecs import decode


def photograph(**options) -> bytes:
    """Return a bare codestream of a gray picture with grain."""
    grain = np.random.default_rng(2).normal(0, 4, (240, 320))
    picture = np.clip(gray(240, 320) * 0.8 + 25 + grain, 0, 255).astype(np.uint8)
    return save(picture, "JPEG2000", no_jp2=True, **options)


def tile_parts(data: bytes) -> list[tuple[int, int]]:
    """Return where each tile-part begins and ends."""
    at, found = data.index(b"\xff\x90"), []
    while data[at : at + 2] == b"\xff\x90":
        (size,) = struct.unpack_from(">I", data, at + 6)
        found.append((at, at + size))
        at += size
    return found


def test_a_missing_exchanged_or_doubled_tile_is_refused():
    """OpenJPEG leaves a missing tile black without an error: every tile must be there, each part in its order."""
    data = photograph(tile_size=(128, 128))
    parts = tile_parts(data)
    assert len(parts) == 6
    for start, stop in parts:
        assert "tiles are missing" in refused(data[:start] + data[stop:], "truncated")
        refused(data[:stop] + data[start:stop] + data[stop:], "decode_error")
    last = parts[-1][0]
    refused(data[:last] + b"\xff\xd9", "truncated")


@pytest.mark.parametrize("options", [{}, {"tile_size": (128, 128)}, {"quality_layers": [20, 5], "irreversible": True}])
def test_a_cut_codestream_that_was_closed_again_is_refused(options):
    """An end marker behind half the data makes no whole picture, nor does a tile whose size was set to what is left."""
    data = photograph(**options)
    first = tile_parts(data)[0][0]
    for place in range(first + 40, len(data) - 3, len(data) // 20):
        refused(data[:place] + b"\xff\xd9", "truncated", "decode_error")
        start = max(start for start, _ in tile_parts(data) if start < place)
        shorter = bytearray(data[:place])
        if place - start > 14:
            struct.pack_into(">I", shorter, start + 6, place - start)
            refused(bytes(shorter) + b"\xff\xd9", "truncated", "decode_error")


@pytest.mark.parametrize("fill", [b"\0", b"\xff", b"text "])
def test_an_overwritten_piece_is_refused_where_it_can_be_told(fill):
    """Zeros longer than any header explains, and bytes that would be markers, are no coded data: a lost sector."""
    data = photograph()
    place = len(data) // 2
    broken = data[:place] + (fill * 1024)[:1024] + data[place + 1024 :]
    if fill == b"text ":
        decode(broken)  # any other bytes are a picture to an arithmetic decoder: docs/guarantees.md counts them
    else:
        assert "overwritten" in refused(broken, "decode_error")


def test_unusual_codestreams_are_whole():
    """Precincts, layers, offsets, small code-blocks, one resolution, black pages: none is taken for damaged."""
    pages = (gray(300, 400), np.zeros((600, 800), np.uint8), np.full((60, 80), 255, np.uint8))
    variants = (
        {"precinct_size": (128, 128), "codeblock_size": (32, 32), "progression": "RPCL", "num_resolutions": 6},
        {"quality_layers": [100, 50, 20, 10, 5], "irreversible": True},
        {"tile_size": (100, 70)},
        {"offset": (30, 40), "tile_size": (100, 70), "tile_offset": (10, 20)},
        {"num_resolutions": 1, "progression": "LRCP"},
        {"precinct_size": (64, 64), "codeblock_size": (4, 4)},
    )
    for page in pages:
        for options in variants:
            np.testing.assert_allclose(decode(save(page, "JPEG2000", **options)).pages[0], page, atol=60)
        for codec in ("jp2", "j2k"):
            coded = imagecodecs.jpeg2k_encode(wide(page), codecformat=codec, reversible=True)
            np.testing.assert_array_equal(decode(coded).pages[0], wide(page))


def test_a_little_file_of_many_pixels_takes_no_memory():
    """A hundred bytes may say 250 megapixels of one gray: refused before any of them is allocated."""
    data = bytearray(imagecodecs.jpeg2k_encode(np.zeros((64, 64), np.uint8), codecformat="j2k", reversible=True))
    for at in (8, 24):  # the size of the image, and of its only tile
        struct.pack_into(">II", data, at, 15_800, 15_800)
    tracemalloc.start()
    assert "249,640,000 pixels" in refused(bytes(data), "too_large")
    assert tracemalloc.get_traced_memory()[1] < 100_000
    tracemalloc.stop()


def test_more_packets_than_bytes_are_truncated():
    """Precincts of one pixel and 65,535 layers cost gigabytes of bookkeeping: a packet takes a byte at least."""
    data = bytearray(photograph())
    style = data.index(b"\xff\x52")
    struct.pack_into(">H", data, style + 6, 65_535)
    assert "packets" in refused(bytes(data), "truncated")
