"""Orientations: upright and back."""

from __future__ import annotations

import io

import numpy as np
import pytest
from codec_samples import picture
from PIL import Image, ImageOps

from raycolor.codecs import as_stored, upright
from raycolor.errors import ShapeError

ALL = range(1, 9)


@pytest.mark.parametrize("orientation", ALL)
@pytest.mark.parametrize("shape", [(5, 7), (5, 7, 3), (5, 7, 2), (1, 1), (1, 9)])
def test_as_stored_undoes_upright(orientation, shape):
    """Turning upright and back gives the same picture, without copying it."""
    plane = np.arange(np.prod(shape), dtype=np.uint16).reshape(shape)
    turned = upright(plane, orientation)
    assert np.shares_memory(turned, plane)
    assert turned.shape[:2] == (shape[1::-1] if orientation > 4 else shape[:2])
    np.testing.assert_array_equal(as_stored(turned, orientation), plane)
    np.testing.assert_array_equal(upright(as_stored(turned, orientation), orientation), turned)


@pytest.mark.parametrize("orientation", ALL)
def test_upright_is_what_viewers_show(orientation):
    """Each orientation agrees with Pillow's exif_transpose, an independent reading of the EXIF standard."""
    rgb = picture(6, 9)
    exif = Image.Exif()
    exif[0x0112] = orientation
    out = io.BytesIO()
    Image.fromarray(rgb).save(out, "PNG", exif=exif)
    with Image.open(out) as image:
        expected = np.asarray(ImageOps.exif_transpose(image))
    np.testing.assert_array_equal(upright(rgb, orientation), expected)


@pytest.mark.parametrize("orientation", [0, 9, -1])
def test_impossible_orientations_are_refused(orientation):
    """Only 1 to 8 are orientations."""
    with pytest.raises(ShapeError, match="must be 1 to 8"):
        upright(np.zeros((2, 2)), orientation)


def test_a_line_is_no_plane():
    """A plane has rows and columns."""
    with pytest.raises(ShapeError, match="two axes"):
        as_stored(np.zeros(3), 1)
