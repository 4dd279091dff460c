"""Headers: what a file says before decoding, limits, and files that are no image."""

from __future__ import annotations

import struct
import tracemalloc
import zlib

import numpy as np
import pytest
from codec_samples import HEIGHT, NAMES, WIDTH, gray, picture, samples, save, tiff
from PIL import Image

from raycolor.codecs import can_be_exact, decode, read_header
from raycolor.errors import DecodeError


def reason(data: bytes, **limits: int) -> str:
    """Return why the file is refused."""
    with pytest.raises(DecodeError) as caught:
        decode(data, **limits)
    assert caught.value.detail
    assert "\n" not in caught.value.detail
    return caught.value.reason


@pytest.mark.parametrize("name", NAMES)
def test_header_agrees_with_the_decoded_picture(name):
    """Size, pages, grayness and alpha of the header are those of the decoded pages."""
    data = samples()[name]
    header, photo = read_header(data), decode(data)
    assert photo.header == header
    assert (header.width, header.height) == (WIDTH, HEIGHT)
    assert len(photo.pages) == len(photo.alpha) == header.pages
    assert header.total_pixels == header.pages * WIDTH * HEIGHT
    for page, alpha in zip(photo.pages, photo.alpha, strict=True):
        assert page.shape == ((HEIGHT, WIDTH) if header.gray else (HEIGHT, WIDTH, 3))
        assert page.dtype == (np.uint16 if header.bit_depth > 8 else np.uint8)
        assert page.flags.c_contiguous
        assert (alpha is not None) == header.alpha
        assert alpha is None or (alpha.shape == page.shape[:2] and alpha.dtype == page.dtype)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("jpeg-gray", ("jpeg", 8, 1, "gray", False)),
        ("jpeg-gray-progressive", ("jpeg", 8, 1, "gray", True)),
        ("jpeg-420", ("jpeg", 8, 3, "ycbcr", False)),
        ("jpeg-cmyk", ("jpeg", 8, 4, "cmyk", False)),
        ("png-1", ("png", 1, 1, "gray", False)),
        ("png-la-16", ("png", 16, 2, "gray", False)),
        ("png-palette-alpha", ("png", 4, 4, "palette", False)),
        ("tiff-8-white", ("tiff", 8, 1, "gray", False)),
        ("tiff-rgb-16-lzw", ("tiff", 16, 3, "rgb", False)),
        ("webp", ("webp", 8, 3, "rgb", False)),
        ("jp2-16-rgb", ("jp2", 16, 3, "rgb", False)),
    ],
)
def test_header_fields(name, expected):
    """Format, depth, channels, color space and progression are read from the file."""
    header = read_header(samples()[name])
    assert (header.format, header.bit_depth, header.channels, header.color, header.progressive) == expected


@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
def test_orientation_is_read_wherever_it_stands(orientation):
    """EXIF in JPEG, PNG and WebP, and the TIFF tag, all give the header's orientation."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    for kind in ("JPEG", "PNG", "WEBP"):
        assert read_header(save(picture(), kind, exif=exif)).orientation == orientation, kind
    tag = (274, "H", 1, orientation, False)
    assert read_header(tiff(gray(), photometric="minisblack", extratags=[tag])).orientation == orientation


def test_orientation_in_xmp_counts_where_exif_has_none():
    """tiff:Orientation of the XMP packet is used, as element or attribute."""
    for text in (b'tiff:Orientation="6"', b"<tiff:Orientation>6</tiff:Orientation>"):
        assert read_header(save(gray(), "JPEG", xmp=b"<x>" + text + b"</x>")).orientation == 6


@pytest.mark.parametrize("name", NAMES)
def test_pixels_over_the_limit_are_refused(name):
    """One pixel over --max-pixels, over all pages together, is too large; exactly the limit is not."""
    data = samples()[name]
    pixels = WIDTH * HEIGHT * read_header(data).pages
    assert reason(data, max_pixels=pixels - 1) == "too_large"
    decode(data, max_pixels=pixels)


def test_pages_over_the_limit_are_refused():
    """A file of many small pages is bounded too."""
    assert reason(samples()["tiff-pages"], max_pages=2) == "too_large"


def _png_bomb() -> bytes:
    def chunk(kind: bytes, payload: bytes) -> bytes:
        return struct.pack(">I", len(payload)) + kind + payload + struct.pack(">I", zlib.crc32(kind + payload))

    head = struct.pack(">IIBBBBB", 65535, 65535, 8, 2, 0, 0, 0)
    body = chunk(b"IDAT", zlib.compress(bytes(1 << 20), 9))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + body + chunk(b"IEND", b"")


def _tiff_bomb() -> bytes:
    data = bytearray(tiff(gray(), photometric="minisblack"))
    for i in range(struct.unpack_from("<H", data, 8)[0]):
        tag, kind = struct.unpack_from("<HH", data, 10 + 12 * i)
        if tag in (256, 257):
            struct.pack_into("<HHII", data, 10 + 12 * i, tag, 4 if kind == 4 else 3, 1, 65535)
    return bytes(data)


def _jpeg_bomb() -> bytes:
    data = bytearray(samples()["jpeg-gray"])
    at = data.index(b"\xff\xc0")
    struct.pack_into(">HH", data, at + 5, 65535, 65535)
    return bytes(data)


def _gif_bomb() -> bytes:
    data = bytearray(samples()["gif"])
    struct.pack_into("<HH", data, 6, 65535, 65535)
    return bytes(data)


def _jp2_bomb() -> bytes:
    data = bytearray(samples()["jp2-8"])
    at = data.index(b"\xff\x4f\xff\x51")
    struct.pack_into(">II", data, at + 8, 65535, 65535)
    return bytes(data)


@pytest.mark.parametrize("bomb", [_png_bomb, _tiff_bomb, _jpeg_bomb, _gif_bomb, _jp2_bomb])
def test_bombs_are_refused_without_allocating(bomb):
    """A small file that claims 65535 x 65535 pixels is refused from its header, within 4 MB of memory."""
    data = bomb()
    tracemalloc.start()
    try:
        assert reason(data, max_pixels=250_000_000) == "too_large"
        assert tracemalloc.get_traced_memory()[1] < 4 << 20
    finally:
        tracemalloc.stop()


def test_large_but_allowed_pictures_raise_no_warning_of_pillow():
    """Over Pillow's own bound (89 megapixels) our limit alone decides, and Pillow's setting is as it was."""
    before = Image.MAX_IMAGE_PIXELS
    data = bytearray(samples()["bmp"])
    struct.pack_into("<ii", data, 18, 14000, 13500)
    assert read_header(bytes(data)).total_pixels == 189_000_000
    assert before == Image.MAX_IMAGE_PIXELS


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"", "empty"),
        (b"hello, this is text", "not_an_image"),
        (b"\0" * 4096, "not_an_image"),
        (b"<html><body>404</body></html>", "not_an_image"),
        (b"BMW is a car maker, this is no bitmap", "not_an_image"),
        (b"\xff", "truncated"),
        (b"\xff\xd8", "truncated"),
        (b"\x89PNG\r\n", "truncated"),
        (b"II*\0", "truncated"),
        (b"RIFF\x10\0", "truncated"),
        (b"\0\0\0\x20ftypheic" + bytes(20), "unsupported_format"),
        (b"8BPS" + bytes(30), "unsupported_format"),
        (b"%PDF-1.7", "unsupported_format"),
    ],
)
def test_what_is_no_image_has_a_reason(data, expected):
    """Empty files, text, mere signatures and foreign formats each give their reason."""
    assert reason(data) == expected


@pytest.mark.parametrize("dtype", [np.float32, np.float16, np.int16, np.uint32])
def test_measurements_are_unsupported(dtype):
    """Float, signed and 32-bit TIFFs have no agreed white: refused by name rather than guessed."""
    assert reason(tiff(gray().astype(dtype), photometric="minisblack")) == "unsupported_format"


def test_a_directory_loop_ends():
    """A TIFF whose last page points to its first is an error, not an endless job."""
    data = bytearray(tiff(gray(), photometric="minisblack"))
    count = struct.unpack_from("<H", data, 8)[0]
    struct.pack_into("<I", data, 10 + 12 * count, 8)
    assert reason(bytes(data)) == "decode_error"


def test_exactness_is_told_from_the_header():
    """Gray and YCbCr can keep their luma, CMYK and other formats cannot."""
    exact = {name for name, data in samples().items() if can_be_exact(read_header(data))}
    assert exact == {name for name in NAMES if name.startswith("jpeg-")} - {"jpeg-cmyk"}
