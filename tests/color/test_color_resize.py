"""The one way of resizing: area averages, whichever code makes them."""

import cv2
import numpy as np
import pytest

from raycolor.color.resize import resize_area


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("channels", [(), (3,)])
@pytest.mark.parametrize("size", [(1000, 800, 256, 256), (513, 777, 32, 288), (64, 64, 32, 32), (300, 301, 1, 1)])
def test_averages_are_those_of_opencv(dtype, channels, size):
    """Both ways of averaging agree within one code, at whole and broken ratios."""
    height, width, small_height, small_width = size
    top = np.iinfo(dtype).max
    pixels = np.random.default_rng(1).integers(0, top, (height, width, *channels), dtype=dtype, endpoint=True)
    found = resize_area(pixels, small_height, small_width)
    expected = cv2.resize(pixels, (small_width, small_height), interpolation=cv2.INTER_AREA)
    assert found.dtype == dtype
    assert found.shape == expected.shape
    off = np.abs(found.astype(int) - expected)
    assert off.max() <= 1
    if dtype == np.uint8 and small_height not in (height // 2, height // 4):
        assert off.mean() < 0.001


def test_flat_pictures_stay_flat():
    """White stays white: no rounding adds up beyond the largest code."""
    for top in (np.uint8(255), np.uint16(65535)):
        assert (resize_area(np.full((901, 1201), top), 97, 131) == top).all()
