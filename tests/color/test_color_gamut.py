"""Chroma fitting of the reference: the laws of lightness, hue and idempotence."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from raycolor.color.arrays import lab_to_rgb, rgb_to_lab
from raycolor.color.gamut import fit_chroma, in_gamut
from raycolor.errors import ShapeError

RNG = np.random.default_rng(3)
WILD = np.concatenate([RNG.uniform(0, 100, (4000, 1)), RNG.uniform(-128, 128, (4000, 2))], axis=1)


def test_results_are_in_gamut_with_L_and_hue_kept():
    """Fitted colors are in gamut; L is bit for bit as given; ab stays on its ray and does not grow."""
    fitted = fit_chroma(WILD)
    assert not in_gamut(WILD).all()
    assert in_gamut(fitted).all()
    np.testing.assert_array_equal(fitted[:, 0], WILD[:, 0])
    crossed = fitted[:, 1] * WILD[:, 2] - fitted[:, 2] * WILD[:, 1]
    assert np.abs(crossed / np.hypot(WILD[:, 1], WILD[:, 2])).max() < 1e-12
    assert ((fitted[:, 1:] * WILD[:, 1:]) >= 0).all()
    assert (np.hypot(*fitted[:, 1:].T) <= np.hypot(*WILD[:, 1:].T) + 1e-12).all()


def test_no_chroma_is_given_away():
    """A fitted color lies on the gamut's edge: a thousandth more chroma would leave it."""
    outside = WILD[~in_gamut(WILD)]
    fitted = fit_chroma(outside)
    more = fitted * [1, 1.001, 1.001]
    colored = np.hypot(fitted[:, 1], fitted[:, 2]) > 1
    assert not in_gamut(more[colored], tol=1e-8).any()


def test_in_gamut_colors_are_untouched_and_twice_is_once():
    """What fits comes back bit for bit, so a second call changes nothing."""
    lab = rgb_to_lab(RNG.random((2000, 3)))
    np.testing.assert_array_equal(fit_chroma(lab), lab)
    fitted = fit_chroma(WILD)
    np.testing.assert_array_equal(fit_chroma(fitted), fitted)


def test_the_argument_is_not_written():
    """The array given stays as it was."""
    before = WILD.copy()
    fit_chroma(WILD)
    np.testing.assert_array_equal(WILD, before)


@given(L=st.sampled_from([0.0, 100.0]), a=st.floats(-128, 128), b=st.floats(-128, 128))
def test_black_and_white_have_no_chroma(L, a, b):
    """At either end of L only gray is left, to the tolerance of linear RGB."""
    rgb = lab_to_rgb(fit_chroma([L, a, b]))
    np.testing.assert_allclose(rgb, L / 100, atol=1e-6)  # 1e-9 in one channel, times the matrix and sRGB's slope


def test_tolerance_has_two_sides():
    """A color 1e-4 outside is in gamut with a tolerance of 1e-3 and outside with 1e-5."""
    lab = rgb_to_lab([1.0001, 0.5, 0.5])
    assert in_gamut(lab, tol=1e-3)
    assert not in_gamut(lab, tol=1e-5)


@pytest.mark.parametrize("function", [in_gamut, fit_chroma])
def test_refuses_other_shapes(function):
    """A last axis that is not 3 long is refused."""
    with pytest.raises(ShapeError, match="last axis must be 3"):
        function(np.zeros((3, 4)))
