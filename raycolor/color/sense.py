"""Tell gray, toned and color photographs apart from a small antialiased thumbnail in Lab."""

from __future__ import annotations

from typing import Any, Final, Literal, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from raycolor.color.kernels import rgb8_to_lab, rgb16_to_lab
from raycolor.errors import ShapeError

Kind = Literal["gray", "toned", "color"]

THUMBNAIL_PX: Final = 64  # longer side; area averaging takes JPEG chroma noise and film grain away
_TONES: Final = 24  # groups of equal size that the tone curve is read from
# Measured by benchmarks/sense.py.
_GRAY_CHROMA: Final = 2.0  # Lab units; a cast that nobody sees
_COLOR_RESIDUAL: Final = 4.0  # Lab units
_SLACK: Final = 20.0  # Lab units


class Traits(NamedTuple):
    """What `sense` decides by; in Lab units."""

    chroma: float  # 98th percentile of chroma
    residual: float  # 95th percentile of the distance from the tone curve


def measure(rgb: NDArray[np.uint8] | NDArray[np.uint16]) -> Traits:
    """Measure how colorful a photograph is, and how much of that a single toning cannot explain.

    A toned photograph has one color for each lightness: its tone curve ab(L), read as the median of ab in groups of
    equal lightness, explains it. What is left is the residual; it shrinks with the curve's own chroma, because
    strong toning varies more (fading, JPEG, averaging).

    Args:
        rgb: (H, W, 3) uint8 or uint16 sRGB.

    Raises:
        ShapeError: another shape or type, or no pixel.
    """
    if rgb.ndim != 3 or rgb.shape[2] != 3 or rgb.dtype not in (np.uint8, np.uint16) or 0 in rgb.shape:
        raise ShapeError(f"rgb is {rgb.dtype} {rgb.shape}: expected uint8 or uint16 (H, W, 3)")
    small = _thumbnail(rgb)
    planes = rgb8_to_lab(small) if small.dtype == np.uint8 else rgb16_to_lab(small)
    L, a, b = (plane.reshape(-1) for plane in planes)
    curve_a, curve_b = _tone_curve(L, a, b)
    chroma = np.hypot(curve_a, curve_b)
    residual = np.hypot(a - curve_a, b - curve_b) / (1 + chroma / _SLACK)
    return Traits(float(np.quantile(np.hypot(a, b), 0.98)), float(np.quantile(residual, 0.95)))


def sense(rgb: NDArray[np.uint8] | NDArray[np.uint16]) -> Kind:
    """Tell whether a photograph is gray, toned (sepia, selenium, cyanotype, faded, split-toned) or color.

    Args:
        rgb: (H, W, 3) uint8 or uint16 sRGB.

    Raises:
        ShapeError: another shape or type, or no pixel.
    """
    traits = measure(rgb)
    if traits.chroma < _GRAY_CHROMA:
        return "gray"
    return "color" if traits.residual > _COLOR_RESIDUAL else "toned"


def _thumbnail(rgb: Any) -> Any:
    """Average down to THUMBNAIL_PX on the longer side; smaller pictures stay as they are."""
    # Every n-th pixel of a big scan is plenty to average: a hundred and more still make one of the thumbnail.
    step = max(1, max(rgb.shape[:2]) // (16 * THUMBNAIL_PX))
    rgb = rgb[::step, ::step]
    height, width = rgb.shape[:2]
    factor = THUMBNAIL_PX / max(height, width)
    if factor >= 1:
        return np.ascontiguousarray(rgb)
    size = (max(1, round(width * factor)), max(1, round(height * factor)))
    return cv2.resize(np.ascontiguousarray(rgb), size, interpolation=cv2.INTER_AREA)


def _tone_curve(L: Any, a: Any, b: Any) -> tuple[Any, Any]:
    """Read a and b as functions of L from medians of groups of equal size, straight between their centers."""
    groups = np.array_split(np.argsort(L, kind="stable"), min(_TONES, len(L)))
    centers = [L[group].mean() for group in groups]
    curve_a = np.interp(L, centers, [np.median(a[group]) for group in groups])
    curve_b = np.interp(L, centers, [np.median(b[group]) for group in groups])
    return curve_a, curve_b
