"""Laws of what a photograph becomes before it is stored."""

import io

import numpy as np
import pytest
from PIL import Image

from raycolor.color.arrays import rgb_to_lab
from raycolor.dataset.planes import colorfulness, planes_of, square_rgb
from raycolor.errors import DecodeError


def png(array, **options):
    sink = io.BytesIO()
    Image.fromarray(array).save(sink, "PNG", **options)
    return sink.getvalue()


@pytest.fixture
def rng():
    return np.random.default_rng(11)


def test_planes_are_rounded_lab(rng):
    """L and ab are the reference's Lab, rounded to their bytes: within half a step and the kernels' own error."""
    rgb = rng.integers(0, 256, (32, 32, 3), dtype=np.uint8)
    L, ab = planes_of(rgb)
    expected = rgb_to_lab(rgb / 255.0)
    assert (L.dtype, ab.dtype, L.shape, ab.shape) == (np.uint8, np.int8, (32, 32), (2, 32, 32))
    assert np.abs(L.astype(float) * 100 / 255 - expected[..., 0]).max() <= 0.5 * 100 / 255 + 0.01
    assert np.abs(ab[0] - expected[..., 1]).max() <= 0.5 + 0.01
    assert np.abs(ab[1] - expected[..., 2]).max() <= 0.5 + 0.01


def test_shrinking_is_an_area_mean_of_encoded_rgb(rng):
    """Each pixel of a picture shrunk to a third is the mean of nine: no pixel is skipped, which would alias."""
    rgb = rng.integers(0, 256, (48, 48, 3), dtype=np.uint8)
    mean = rgb.reshape(16, 3, 16, 3, 3).mean(axis=(1, 3))
    assert np.abs(square_rgb(png(rgb), 16) - mean).max() <= 0.5 + 1e-6


@pytest.mark.parametrize(("height", "width"), [(20, 41), (41, 20), (20, 20)])
def test_the_square_is_the_middle(rng, height, width):
    """Tall and wide pictures lose the same at both ends."""
    rgb = rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
    top, left = (height - 20) // 2, (width - 20) // 2
    np.testing.assert_array_equal(square_rgb(png(rgb), 20), rgb[top : top + 20, left : left + 20])


def test_pictures_are_upright(rng):
    """A camera's rotation tag is obeyed: the planes are those of the picture turned by hand."""
    rgb = rng.integers(0, 256, (16, 24, 3), dtype=np.uint8)
    exif = Image.Exif()
    exif[0x0112] = 6
    turned = square_rgb(png(rgb, exif=exif), 16)
    np.testing.assert_array_equal(turned, square_rgb(png(np.ascontiguousarray(np.rot90(rgb, -1))), 16))


def test_gray_pictures_have_no_ab(rng):
    """A gray file gives ab = 0 everywhere and the L of its levels."""
    gray = rng.integers(0, 256, (16, 16), dtype=np.uint8)
    L, ab = planes_of(square_rgb(png(gray), 16))
    assert not ab.any()
    np.testing.assert_array_equal(L, planes_of(np.repeat(gray[..., None], 3, axis=2))[0])


def test_sixteen_bits_agree_with_eight(rng):
    """A 16-bit picture gives the planes of its 8-bit twin."""
    rgb = rng.integers(0, 256, (8, 8, 3), dtype=np.uint8)
    for wide, narrow in zip(planes_of(rgb.astype(np.uint16) * 257), planes_of(rgb), strict=True):
        assert np.abs(wide.astype(int) - narrow.astype(int)).max() <= 1
    assert colorfulness(rgb.astype(np.uint16) * 257) == pytest.approx(colorfulness(rgb), rel=1e-4)


def test_small_pictures_are_enlarged(rng):
    """A picture smaller than asked is enlarged, not refused."""
    assert square_rgb(png(rng.integers(0, 256, (5, 7, 3), dtype=np.uint8)), 16).shape == (16, 16, 3)


def test_broken_pictures_are_decode_errors():
    """What is no picture is a DecodeError with a reason."""
    with pytest.raises(DecodeError, match="not_an_image"):
        square_rgb(b"hello, this is text", 16)


def test_colorfulness_is_the_published_formula(rng):
    """Hasler and Suesstrunk's M^(3), written out; gray has none."""
    rgb = rng.integers(0, 256, (20, 20, 3), dtype=np.uint8)
    red, green, blue = np.moveaxis(rgb.astype(float), -1, 0)
    rg, yb = red - green, (red + green) / 2 - blue
    expected = np.sqrt(rg.var() + yb.var()) + 0.3 * np.sqrt(rg.mean() ** 2 + yb.mean() ** 2)
    assert colorfulness(rgb) == pytest.approx(expected, rel=1e-5)
    assert colorfulness(np.repeat(rgb[..., :1], 3, axis=2)) == 0
