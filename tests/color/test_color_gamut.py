"""The gamut test, and the reference that the compiled join is held against."""

import numpy as np
import pytest
from fitting import fit_chroma

from raycolor.color.arrays import in_gamut, rgb_to_lab
from raycolor.errors import ShapeError

RNG = np.random.default_rng(3)
WILD = np.concatenate([RNG.uniform(0, 100, (4000, 1)), RNG.uniform(-128, 128, (4000, 2))], axis=1)


def test_the_reference_fits_chroma_and_nothing_else():
    """Fitted colors are in gamut; L is bit for bit as given; ab stays on its ray and does not grow."""
    fitted = fit_chroma(WILD)
    assert not in_gamut(WILD).all()
    assert in_gamut(fitted).all()
    np.testing.assert_array_equal(fitted[:, 0], WILD[:, 0])
    crossed = fitted[:, 1] * WILD[:, 2] - fitted[:, 2] * WILD[:, 1]
    assert np.abs(crossed / np.hypot(WILD[:, 1], WILD[:, 2])).max() < 1e-12
    assert (np.hypot(*fitted[:, 1:].T) <= np.hypot(*WILD[:, 1:].T) + 1e-12).all()
    inside = rgb_to_lab(RNG.random((2000, 3)))
    np.testing.assert_array_equal(fit_chroma(inside), inside)


def test_the_reference_gives_no_chroma_away():
    """A fitted color lies on the gamut's edge: a thousandth more chroma would leave it."""
    fitted = fit_chroma(WILD[~in_gamut(WILD)])
    more = fitted * [1, 1.001, 1.001]
    colored = np.hypot(fitted[:, 1], fitted[:, 2]) > 1
    assert not in_gamut(more[colored], tol=1e-8).any()


def test_tolerance_has_two_sides():
    """A color 1e-4 outside is in gamut with a tolerance of 1e-3 and outside with 1e-5."""
    lab = rgb_to_lab([1.0001, 0.5, 0.5])
    assert in_gamut(lab, tol=1e-3)
    assert not in_gamut(lab, tol=1e-5)


def test_refuses_other_shapes():
    """A last axis that is not 3 long is refused."""
    with pytest.raises(ShapeError, match="last axis must be 3"):
        in_gamut(np.zeros((3, 4)))
