"""sRGB to L*a*b*, back, and the gamut for numpy arrays in float64: the reference for every faster path."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from raycolor.errors import ShapeError

Array = NDArray[np.float64]

# ITU-R BT.709 primaries at D65 to six decimals, as scikit-image has them: the four-decimal matrix printed in
# IEC 61966-2-1 moves saturated colors by up to 0.025 delta E, this one stays within 0.006 of scikit-image.
XYZ_FROM_RGB: Final[Array] = np.array(
    [[0.412453, 0.357580, 0.180423], [0.212671, 0.715160, 0.072169], [0.019334, 0.119193, 0.950227]]
)
# White is the matrix row sums, not the tabulated D65: then every gray has a = b = 0.
WHITE: Final[Array] = XYZ_FROM_RGB.sum(axis=1)
WHITE_FROM_RGB: Final[Array] = XYZ_FROM_RGB / WHITE[:, None]  # linear RGB to XYZ relative to white
RGB_FROM_WHITE: Final[Array] = np.linalg.inv(WHITE_FROM_RGB).astype(np.float64)

DELTA: Final = 6 / 29  # CIE 15:2004, where the cube root meets its straight part
SRGB_KNEE: Final = 0.04045  # IEC 61966-2-1, encoded side
LINEAR_KNEE: Final = SRGB_KNEE / 12.92  # the same point on the linear side, so that the two functions are inverses


def check_last_axis(values: NDArray[Any], name: str) -> None:
    """Refuse an array whose last axis is not 3 long."""
    if values.ndim == 0 or values.shape[-1] != 3:
        raise ShapeError(f"{name} has shape {values.shape}: the last axis must be 3 long")


def srgb_decode(rgb: ArrayLike) -> Array:
    """Convert gamma-encoded sRGB in [0, 1] to linear RGB, elementwise; values below 0 follow the straight part.

    Source: IEC 61966-2-1.
    """
    values = np.asarray(rgb, dtype=np.float64)
    return np.where(values <= SRGB_KNEE, values / 12.92, ((np.maximum(values, SRGB_KNEE) + 0.055) / 1.055) ** 2.4)


def srgb_encode(linear_rgb: ArrayLike) -> Array:
    """Convert linear RGB to gamma-encoded sRGB, elementwise, without clipping; inverse of `srgb_decode`.

    Source: IEC 61966-2-1.
    """
    values = np.asarray(linear_rgb, dtype=np.float64)
    return np.where(values <= LINEAR_KNEE, values * 12.92, 1.055 * np.maximum(values, LINEAR_KNEE) ** (1 / 2.4) - 0.055)


def lab_to_linear(lab: ArrayLike) -> Array:
    """Convert (..., 3) L*a*b* to linear RGB, not clipped; through `srgb_encode` the inverse of `rgb_to_lab` to 1e-9.

    Raises:
        ShapeError: the last axis is not 3.
    """
    values = np.asarray(lab, dtype=np.float64)
    check_last_axis(values, "lab")
    fy = (values[..., 0] + 16) / 116
    f = np.stack([fy + values[..., 1] / 500, fy, fy - values[..., 2] / 200], axis=-1)
    xyz = np.where(f > DELTA, f**3, 3 * DELTA**2 * (f - 4 / 29))
    linear: Array = xyz @ RGB_FROM_WHITE.T
    return linear


def rgb_to_lab(rgb: ArrayLike) -> Array:
    """Convert gamma-encoded sRGB to L*a*b* (D65, 2-degree observer).

    Args:
        rgb: (..., 3), each channel in [0, 1]. Values outside are converted, not clipped.

    Returns:
        (..., 3) float64. L in [0, 100]; for in-gamut input a in [-86.2, 98.3] and b in [-107.9, 94.5];
        grays have a = b = 0 to 1e-9.

    Raises:
        ShapeError: the last axis is not 3.

    Source: IEC 61966-2-1 for sRGB; CIE 15:2004 for Lab.
    """
    values = np.asarray(rgb, dtype=np.float64)
    check_last_axis(values, "rgb")
    xyz = srgb_decode(values) @ WHITE_FROM_RGB.T
    f = np.where(xyz > DELTA**3, np.cbrt(xyz), xyz / (3 * DELTA**2) + 4 / 29)
    fx, fy, fz = f[..., 0], f[..., 1], f[..., 2]
    return np.stack([116 * fy - 16, 500 * (fx - fy), 200 * (fy - fz)], axis=-1)


def in_gamut(lab: ArrayLike, tol: float = 1e-9) -> NDArray[np.bool_]:
    """Tell which colors have sRGB within [0, 1] before clipping.

    Args:
        lab: (..., 3); L in 0..100, a and b in Lab units.
        tol: how far linear RGB may lie outside [0, 1]; white comes back as 1 + 2e-16.

    Returns:
        (...) bool.

    Raises:
        ShapeError: the last axis is not 3.
    """
    linear_rgb = lab_to_linear(lab)
    inside: NDArray[np.bool_] = np.all((linear_rgb >= -tol) & (linear_rgb <= 1 + tol), axis=-1)
    return inside
