"""A page joined band by band is the page joined at once, to the last bit."""

import numpy as np
import pytest

from raycolor.color import kernels
from raycolor.color.joined import JoinedPage
from raycolor.color.kernels import lightness
from raycolor.errors import ShapeError

RNG = np.random.default_rng(31)
AB = RNG.normal(0, 30, (7, 9, 2)).astype(np.float32)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("shape", [(53, 40), (53, 40, 3), (1, 1), (2000, 700), (0, 5)])
def test_bands_make_up_the_whole(dtype, shape):
    """Rows asked for in any bands, and the array of all, equal one call of `join`."""
    page = RNG.integers(0, np.iinfo(dtype).max, shape).astype(dtype)
    whole = kernels.join(dtype, page if page.ndim == 2 else lightness(page), AB)
    joined = JoinedPage(page, AB)
    assert (joined.shape, joined.dtype) == (whole.shape, whole.dtype)
    np.testing.assert_array_equal(np.asarray(joined), whole)
    bands = [joined[top : top + 11] for top in range(0, shape[0], 11)]
    np.testing.assert_array_equal(np.concatenate([whole[:0], *bands]), whole)


@pytest.mark.parametrize(("top", "height"), [(-1, 10), (6, 10), (0, 4)])
def test_a_band_outside_the_picture_is_refused(top, height):
    """Five rows have to lie within the rows there are."""
    with pytest.raises(ShapeError, match="of a picture of"):
        kernels.join(np.uint8, np.zeros((5, 3), np.uint8), AB, top=top, height=height)
