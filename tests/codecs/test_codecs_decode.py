"""Decoding: the archive's values, untouched, whatever the format."""

from __future__ import annotations

import io

import numpy as np
import pytest
import tifffile
from codec_samples import gray, picture, samples, save, tiff, wide
from PIL import Image

from raycolor.codecs import decode, decode_luma, half_size_luma
from raycolor.errors import DecodeError


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("png-1", (gray() > 127) * np.uint8(255)),
        ("png-8", gray()),
        ("png-16", wide(gray())),
        ("png-la-16", wide(gray())),
        ("png-rgb", picture()),
        ("png-rgba-16", wide(picture())),
        ("tiff-1", (gray() > 127) * np.uint8(255)),
        ("tiff-8", gray()),
        ("tiff-8-white", 255 - gray()),
        ("tiff-8-lzw", gray()),
        ("tiff-16-deflate", wide(gray())),
        ("tiff-16-big-endian", wide(gray())),
        ("tiff-rgb-16-lzw", wide(picture())),
        ("tiff-rgb-big", picture()),
        ("webp-lossless-alpha", picture()),
        ("jp2-8", gray()),
        ("jp2-16-rgb", wide(picture())),
        ("j2k", gray()),
        ("bmp", picture()),
    ],
)
def test_lossless_formats_give_the_values_written(name, expected):
    """Every value of a lossless file comes out as it went in, at its own depth; min-is-white is turned over."""
    page = decode(samples()[name]).pages[0]
    assert page.dtype == expected.dtype
    np.testing.assert_array_equal(page, expected)


@pytest.mark.parametrize("name", ["png-palette", "png-palette-alpha", "gif"])
def test_palettes_become_rgb(name):
    """A palette file gives the colors Pillow gives."""
    with Image.open(io.BytesIO(samples()[name])) as image:
        expected = np.asarray(image.convert("RGBA"))
    photo = decode(samples()[name])
    np.testing.assert_array_equal(photo.pages[0], expected[..., :3])
    if photo.alpha[0] is not None:
        np.testing.assert_array_equal(photo.alpha[0], expected[..., 3])


def test_palette_tiff_becomes_rgb():
    """A TIFF color map of 16-bit values is reduced to the 8 bits its indices can tell apart."""
    image = Image.fromarray(picture()).quantize(64)
    np.testing.assert_array_equal(decode(save(image, "TIFF")).pages[0], np.asarray(image.convert("RGB")))


@pytest.mark.parametrize("bits", [2, 4, 12])
def test_odd_depths_reach_full_range(bits):
    """Samples of 2, 4 and 12 bits are scaled evenly so that the largest value is white."""
    white = (1 << bits) - 1
    values = (np.arange(64 * 64).reshape(64, 64) % (white + 1)).astype(np.uint8 if bits < 8 else np.uint16)
    page = decode(tiff(values, photometric="minisblack", bitspersample=bits)).pages[0]
    full = 255 if bits < 8 else 65535
    np.testing.assert_array_equal(page, np.rint(values / white * full).astype(page.dtype))


@pytest.mark.parametrize("name", ["jpeg-gray", "jpeg-gray-progressive", "jpeg-gray-restart", "jpeg-420"])
def test_jpeg_decodes_as_pillow_decodes(name):
    """JPEG pages equal Pillow's, which uses another build of the same library, to 2 levels (chroma upsampling)."""
    with Image.open(io.BytesIO(samples()[name])) as image:
        expected = np.asarray(image).astype(int)
    assert np.abs(decode(samples()[name]).pages[0] - expected).max() <= (0 if "gray" in name else 2)


def test_cmyk_is_converted_once():
    """CMYK of Adobe's inverted kind and of the plain kind both come out as the picture that went in."""
    adobe = save(Image.fromarray(picture()).convert("CMYK"), "JPEG", quality=100, subsampling="4:4:4")
    assert b"Adobe" in adobe
    error = np.abs(decode(adobe).pages[0].astype(int) - picture()).mean()
    assert error < 3
    # Without Adobe's marker the same bytes mean uninverted ink: the picture's negative in C, M, Y and K.
    at = adobe.index(b"\xff\xee")
    plain = adobe[:at] + adobe[at + 16 :]
    assert np.abs(decode(plain).pages[0].astype(int) - picture()).mean() > 50


def test_luma_is_the_y_of_the_file():
    """decode_luma gives Y' itself: for a gray file the picture, for YCbCr what Pillow calls Y."""
    np.testing.assert_array_equal(decode_luma(decode(samples()["jpeg-gray"])), decode(samples()["jpeg-gray"]).pages[0])
    with Image.open(io.BytesIO(samples()["jpeg-420"])) as image:
        image.draft("YCbCr", image.size)
        np.testing.assert_array_equal(decode_luma(decode(samples()["jpeg-420"])), np.asarray(image)[..., 0])
    with pytest.raises(DecodeError, match="holds no luma"):
        decode_luma(decode(samples()["jpeg-cmyk"]))


@pytest.mark.parametrize(("height", "width"), [(1, 1), (2, 2), (1, 5), (6, 1), (7, 10), (8, 9), (43, 61)])
def test_half_size_luma_is_the_mean_of_each_block(height, width):
    """Each sample is the mean of the pixels its chroma sample stands for, also at odd edges."""
    plane = gray(height, width)
    half = half_size_luma(plane)
    assert half.shape == ((height + 1) // 2, (width + 1) // 2)
    for y in range(half.shape[0]):
        for x in range(half.shape[1]):
            mean = plane[2 * y : 2 * y + 2, 2 * x : 2 * x + 2].mean()
            assert abs(half[y, x] - mean) <= 0.5


def test_animated_png_gives_the_still_picture():
    """Of an animated PNG the default image is taken, and the header says it was animated."""
    frames = [Image.fromarray(gray(seed=i)) for i in range(3)]
    data = save(frames[0], "PNG", save_all=True, append_images=frames[1:])
    photo = decode(data)
    assert photo.header.animated
    assert photo.notes == ["animated: first frame"]
    np.testing.assert_array_equal(photo.pages[0], gray(seed=0))


@pytest.mark.parametrize("kind", ["GIF", "WEBP"])
def test_animated_files_give_their_first_frame(kind):
    """The first frame is decoded and noted."""
    frames = [Image.fromarray(picture(seed=i)) for i in range(3)]
    options = {"lossless": True} if kind == "WEBP" else {}
    photo = decode(save(frames[0], kind, save_all=True, append_images=frames[1:], **options))
    assert photo.header.animated
    assert len(photo.pages) == 1
    assert np.abs(photo.pages[0].astype(int) - picture()).mean() < (1 if kind == "WEBP" else 12)


def test_tiff_pages_may_differ():
    """Pages of one TIFF keep their own sizes, depths, colors and orientations."""
    pages = [gray(), wide(gray(20, 30)), picture(11, 12)]
    out = io.BytesIO()
    with tifffile.TiffWriter(out) as writer:
        for i, page in enumerate(pages):
            photometric = "rgb" if page.ndim == 3 else "minisblack"
            tag = (274, "H", 1, (1, 6, 3)[i], False)
            writer.write(page, photometric=photometric, metadata=None, extratags=[tag])
    photo = decode(out.getvalue())
    assert [photo.orientation(i) for i in range(3)] == [1, 6, 3]
    for page, expected in zip(photo.pages, pages, strict=True):
        np.testing.assert_array_equal(page, expected)
