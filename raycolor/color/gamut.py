"""The sRGB gamut in Lab for numpy arrays in float64: the test, and lowering chroma until a color fits.

`raycolor.color.lab` has the same two for torch; the kernels do it while they join.
"""

from __future__ import annotations

from typing import cast

import numpy as np
from numpy.typing import ArrayLike, NDArray

from raycolor.color.arrays import Array, lab_to_linear

TOLERANCE = 1e-9  # linear RGB; white comes back as 1 + 2e-16
_HALVINGS = 50  # chroma under 200 then moves by less than 1e-12


def in_gamut(lab: ArrayLike, tol: float = TOLERANCE) -> NDArray[np.bool_]:
    """Tell which colors have sRGB within [0, 1] before clipping.

    Args:
        lab: (..., 3); L in 0..100, a and b in Lab units.
        tol: how far linear RGB may lie outside [0, 1].

    Returns:
        (...) bool.

    Raises:
        ShapeError: the last axis is not 3.
    """
    linear_rgb = lab_to_linear(lab)
    return cast(NDArray[np.bool_], np.all((linear_rgb >= -tol) & (linear_rgb <= 1 + tol), axis=-1))


def fit_chroma(lab: ArrayLike, tol: float = TOLERANCE) -> Array:
    """Lower the chroma of out-of-gamut colors until their sRGB lies in [0, 1]; keep L and hue.

    In-gamut colors come back bit for bit, so a second call changes nothing. A color with L outside 0..100 has no
    in-gamut chroma and becomes gray.

    Args:
        lab: (..., 3); L in 0..100, a and b in Lab units.
        tol: as for `in_gamut`.

    Returns:
        (..., 3) float64 with the same L.

    Raises:
        ShapeError: the last axis is not 3.
    """
    result = np.array(lab, dtype=np.float64)
    outside = ~in_gamut(result, tol)
    colors = result[outside]
    low = np.zeros(len(colors))
    high = np.ones(len(colors))
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        fits = in_gamut(_scale_chroma(colors, middle), tol)
        low = np.where(fits, middle, low)
        high = np.where(fits, high, middle)
    result[outside] = _scale_chroma(colors, low)
    return result


def _scale_chroma(colors: Array, factor: Array) -> Array:
    """Multiply a and b of (N, 3) Lab colors by (N,) factors."""
    return np.concatenate([colors[:, :1], colors[:, 1:] * factor[:, None]], axis=1)
