"""The float64 reference: against scikit-image, exact laws, refusals."""

import numpy as np
import pytest
from skimage.color import rgb2lab

from raycolor.color.arrays import DELTA, LINEAR_KNEE, SRGB_KNEE, lab_to_linear, rgb_to_lab, srgb_decode, srgb_encode
from raycolor.errors import ShapeError


def cube(step: int) -> np.ndarray:
    """Every `step`-th 8-bit color and the faces' last one, as (N, 3) in [0, 1]."""
    levels = np.unique(np.r_[0:256:step, 255])
    return np.stack(np.meshgrid(levels, levels, levels, indexing="ij"), axis=-1).reshape(-1, 3) / 255


def test_agrees_with_scikit_image():
    """No color of a dense sample is 0.01 delta E (CIE76) or more from scikit-image's."""
    rgb = cube(5)
    assert np.linalg.norm(rgb_to_lab(rgb) - rgb2lab(rgb), axis=-1).max() < 0.01


@pytest.mark.parametrize("level", [0.0, 0.002, 0.008, SRGB_KNEE - 1e-6, SRGB_KNEE, SRGB_KNEE + 1e-6, 0.1, 0.5, 1.0])
def test_grays_have_no_chroma(level):
    """Every gray lands on a = b = 0 to 1e-9, on both sides of each branch."""
    assert np.abs(rgb_to_lab([level] * 3)[1:]).max() < 1e-9


def test_ends_of_lightness():
    """Black is L = 0 and white L = 100."""
    assert rgb_to_lab([0.0, 0.0, 0.0])[0] == pytest.approx(0, abs=1e-12)
    assert rgb_to_lab([1.0, 1.0, 1.0])[0] == pytest.approx(100, abs=1e-12)


def test_round_trip():
    """Lab and back gives the same sRGB to 1e-9 everywhere in the cube."""
    rgb = cube(7)
    assert np.abs(srgb_encode(lab_to_linear(rgb_to_lab(rgb))) - rgb).max() < 1e-9


def test_round_trip_outside_the_gamut():
    """Colors outside [0, 1] are converted, not clipped."""
    rgb = np.array([[1.2, 0.5, -0.1], [-0.02, 0.0, 1.5]])
    assert np.abs(srgb_encode(lab_to_linear(rgb_to_lab(rgb))) - rgb).max() < 1e-9


def test_branches_meet():
    """Both sRGB functions are continuous to 1e-6 at their knee, which IEC 61966-2-1 rounds to four digits."""
    assert srgb_decode(SRGB_KNEE + 1e-9) - srgb_decode(SRGB_KNEE) < 1e-6
    assert srgb_encode(LINEAR_KNEE + 1e-10) - srgb_encode(LINEAR_KNEE) < 1e-5


def test_dark_branch_of_lab():
    """Below (6/29)^3 of white, L is 24389/27 times luminance (CIE 15:2004), on either side of the branch alike."""
    level = 0.9 * DELTA**3
    assert rgb_to_lab(srgb_encode([level] * 3))[0] == pytest.approx(24389 / 27 * level, rel=1e-9)
    below, above = (rgb_to_lab(srgb_encode([DELTA**3 * (1 + sign * 1e-9)] * 3))[0] for sign in (-1, 1))
    assert above == pytest.approx(below, abs=1e-6)


def test_stated_ranges():
    """The ranges in the docstrings are those of the cube's surface, where the extremes lie."""
    lab = rgb_to_lab(cube(9))
    np.testing.assert_allclose(lab.min(axis=0), [0, -86.2, -107.9], atol=0.1)
    np.testing.assert_allclose(lab.max(axis=0), [100, 98.3, 94.5], atol=0.1)


@pytest.mark.parametrize("shape", [(), (4,), (3, 8, 8), (5, 2)])
@pytest.mark.parametrize("convert", [rgb_to_lab, lab_to_linear])
def test_refuses_other_shapes(convert, shape):
    """A last axis that is not 3 long is refused with the shape."""
    with pytest.raises(ShapeError, match="last axis must be 3"):
        convert(np.zeros(shape))
