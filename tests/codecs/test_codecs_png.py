"""PNG pixels: every filter, interlacing, packed bits, transparency, and damage behind right checksums."""

from __future__ import annotations

import io
import struct
import zlib

import imagecodecs
import numpy as np
import pytest
from codec_samples import gray, picture, samples, wide
from PIL import Image

from raycolor.codecs import decode, read_header
from raycolor.errors import DecodeError

ADAM7 = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))


def png(head: tuple[int, ...], raw: bytes, *chunks: tuple[bytes, bytes]) -> bytes:
    """Return a PNG of this IHDR and these filtered rows."""
    parts = [(b"IHDR", struct.pack(">IIBBBBB", *head)), *chunks, (b"IDAT", zlib.compress(raw)), (b"IEND", b"")]
    body = (struct.pack(">I", len(p)) + k + p + struct.pack(">I", zlib.crc32(k + p)) for k, p in parts)
    return b"\x89PNG\r\n\x1a\n" + b"".join(body)


@pytest.mark.parametrize("kind", ["gray", "rgb", "gray 16", "rgb 16", "rgba"])
@pytest.mark.parametrize("name", ["NONE", "SUB", "UP", "AVG", "PAETH"])
def test_every_filter_is_undone(name, kind):
    """Noise filtered by libpng with each filter comes back: ties of Paeth's predictor and wrapping included."""
    rng = np.random.default_rng(2)
    channels = {"gray": 1, "gray 16": 1, "rgba": 4}.get(kind, 3)
    values = rng.integers(0, 4, (40, 31, channels), dtype=np.uint8) * 85  # few levels: many ties
    source = wide(values) if "16" in kind else values
    data = imagecodecs.png_encode(source.squeeze(), filter=getattr(imagecodecs.PNG.FILTER, name))
    photo = decode(data)
    page = photo.pages[0] if photo.alpha[0] is None else np.dstack([photo.pages[0], photo.alpha[0]])
    np.testing.assert_array_equal(page, source.squeeze())


@pytest.mark.parametrize(("height", "width"), [(1, 1), (3, 2), (8, 8), (21, 30)])
@pytest.mark.parametrize("deep", [False, True])
def test_interlaced_files(height, width, deep):
    """Adam7's seven passes are put together, also where passes are empty; Pillow sees the same in the 8-bit file."""
    source = wide(gray(height, width)) if deep else picture(height, width)
    raw = b""
    for x, y, dx, dy in ADAM7:
        part = source[y::dy, x::dx]
        if part.size:
            raw += b"".join(b"\0" + row.astype(">u2" if deep else "u1").tobytes() for row in part)
    data = png((width, height, 16 if deep else 8, 0 if deep else 2, 0, 0, 1), raw)
    assert read_header(data).progressive
    np.testing.assert_array_equal(decode(data).pages[0], source)
    if not deep:
        with Image.open(io.BytesIO(data)) as image:
            np.testing.assert_array_equal(np.asarray(image), source)


@pytest.mark.parametrize("depth", [1, 2, 4])
def test_packed_grays_reach_full_range(depth):
    """Samples of 1, 2 and 4 bits are scaled so that the largest is 255, whatever the row's spare bits hold."""
    width, height, levels = 13, 5, 1 << depth
    values = np.arange(width * height).reshape(height, width) % levels
    rows = b""
    for row in values:
        bits = "".join(f"{v:0{depth}b}" for v in row)
        bits += "1" * (-len(bits) % 8)
        rows += b"\0" + int(bits, 2).to_bytes(len(bits) // 8, "big")
    page = decode(png((width, height, depth, 0, 0, 0, 0), rows)).pages[0]
    np.testing.assert_array_equal(page, (values * 255 // (levels - 1)).astype(np.uint8))


def test_a_transparent_color_becomes_alpha():
    """tRNS of gray and RGB files names one value that is transparent; all others are opaque."""
    values = np.arange(16, dtype=np.uint8).reshape(4, 4)
    rows = b"".join(b"\0" + row.tobytes() for row in values)
    photo = decode(png((4, 4, 8, 0, 0, 0, 0), rows, (b"tRNS", b"\0\x05")))
    assert photo.alpha[0] is not None
    np.testing.assert_array_equal(photo.alpha[0], np.where(values == 5, 0, 255))
    np.testing.assert_array_equal(photo.pages[0], values)


@pytest.mark.parametrize(
    ("data", "match"),
    [
        (png((4, 4, 8, 0, 0, 0, 0), bytes(19)), "truncated: PNG: 19 of 20"),
        (png((4, 4, 8, 0, 0, 0, 0), b"\x05" * 20), "decode_error: PNG: a row has an unknown filter"),
        (png((4, 4, 8, 3, 0, 0, 0), bytes(20)), "decode_error: PNG: the palette is missing"),
        (png((4, 4, 3, 0, 0, 0, 0), bytes(20)), "decode_error: PNG: impossible header"),
        (png((0, 4, 8, 0, 0, 0, 0), bytes(20)), "decode_error: PNG: impossible header"),
    ],
)
def test_impossible_data_is_refused(data, match):
    """Right checksums do not make wrong contents right: each is told by name."""
    with pytest.raises(DecodeError, match=match):
        decode(data)


def test_checksums_are_compared():
    """A flipped bit in the image data is found by its chunk's checksum, not taken for a tone."""
    data = bytearray(samples()["png-8"])
    data[data.index(b"IDAT") + 40] ^= 4
    with pytest.raises(DecodeError, match="checksum of a IDAT chunk is wrong"):
        decode(bytes(data))


def test_palette_indices_past_the_palette_are_black():
    """An index without a color does not end the photograph."""
    rows = b"".join(b"\0" + bytes([0, 1, 2, 200]) for _ in range(2))
    page = decode(png((4, 2, 8, 3, 0, 0, 0), rows, (b"PLTE", b"\x10\x20\x30\x40\x50\x60"))).pages[0]
    np.testing.assert_array_equal(page[0], [[16, 32, 48], [64, 80, 96], [0, 0, 0], [0, 0, 0]])
