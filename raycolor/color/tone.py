"""Tell gray, toned and color photographs apart from a small antialiased thumbnail in Lab."""

from __future__ import annotations

import math
from typing import Any, Final, Literal, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from raycolor.color.kernels import pixels_to_lab
from raycolor.errors import ShapeError

Kind = Literal["gray", "toned", "color"]

THUMBNAIL_PX: Final = 64  # longer side; area averaging takes JPEG chroma noise and film grain away
_TONES: Final = 24  # groups of equal size that the tone curve is read from
# Fitted on photographs and synthetic toning of their grays, checked on others by benchmarks/tone.py.
_GRAY_CHROMA: Final = 2.0  # Lab units; a cast that nobody sees
_FAINT_COLOR: Final = 6.0  # Lab units; half of what the faintest of 2,374 color photographs has
_UNEXPLAINED: Final = 8.0  # Lab units; see `Traits.unexplained`
_COHERENCE_WEIGHT: Final = 1.5
_SLACK: Final = 14.0  # Lab units; at this chroma the residual counts half
# What toning can look like: hue in degrees from..to, and the chroma it stays below.
_WARM: Final = (20.0, 110.0, 55.0)  # sepia, fading, yellowed paper
_BLUE: Final = (225.0, 268.0, 60.0)  # cyanotype; skies are a little more purple
_FAINT: Final = 12.0  # selenium, gold, green: any hue below this chroma


class Traits(NamedTuple):
    """The measurements that `classify_tone` uses."""

    chroma: float  # 98th percentile of chroma, Lab units
    residual: float  # 95th percentile of the distance from the tone curve, Lab units
    tone_chroma: float  # 95th percentile of the tone curve's chroma, Lab units
    tone_hue: float  # the tone curve's hue, degrees in [0, 360)
    coherence: float  # correlation of the distance from the tone curve between neighbors, -1..1

    @property
    def unexplained(self) -> float:
        """The residual, weighed by how it lies: colors of things lie in patches, coding noise along edges."""
        return self.residual * math.exp(_COHERENCE_WEIGHT * self.coherence)


def measure(rgb: NDArray[np.uint8] | NDArray[np.uint16]) -> Traits:
    """Measure how colorful a photograph is, and how much of that a single toning cannot explain.

    A toned photograph has one color for each lightness: its tone curve ab(L), read as the median of ab in groups of
    equal lightness, explains it. What is left is the residual; it counts less where the curve itself has chroma,
    because strong toning varies more (fading, JPEG, averaging).

    Args:
        rgb: (H, W, 3) uint8 or uint16 sRGB.

    Raises:
        ShapeError: another shape or type, or no pixel.
    """
    if rgb.ndim != 3 or rgb.shape[2] != 3 or rgb.dtype not in (np.uint8, np.uint16) or 0 in rgb.shape:
        raise ShapeError(f"rgb is {rgb.dtype} {rgb.shape}: expected uint8 or uint16 (H, W, 3)")
    small = _thumbnail(rgb)
    L, a, b = (plane.reshape(-1) for plane in pixels_to_lab(small))
    curve_a, curve_b = _tone_curve(L, a, b)
    tone = np.hypot(curve_a, curve_b)
    rest_a, rest_b = a - curve_a, b - curve_b
    residual = np.hypot(rest_a, rest_b) / (1 + tone / _SLACK)
    hue = np.degrees(np.arctan2((curve_b * tone).mean(), (curve_a * tone).mean())) % 360
    chroma = np.quantile(np.hypot(a, b), 0.98)
    return Traits(
        float(chroma),
        float(np.quantile(residual, 0.95)),
        float(np.quantile(tone, 0.95)),
        float(hue),
        _coherence(np.stack([rest_a, rest_b]).reshape(2, *small.shape[:2])),
    )


def classify_tone(rgb: NDArray[np.uint8] | NDArray[np.uint16]) -> Kind:
    """Tell whether a photograph is gray, toned (sepia, selenium, cyanotype, faded, split-toned) or color.

    Colored pixels on 1% of a photograph (a stamp, a caption) change nothing. Color photographs of a
    single hue that a toning could have (a sky, the sea, dunes) are the ones it takes for toned: 6 of 718 measured.

    Args:
        rgb: (H, W, 3) uint8 or uint16 sRGB.

    Raises:
        ShapeError: another shape or type, or no pixel.
    """
    traits = measure(rgb)
    if traits.chroma < _GRAY_CHROMA:
        return "gray"
    if traits.chroma < _FAINT_COLOR:
        return "toned"
    return "toned" if traits.unexplained <= _UNEXPLAINED and _could_be_toning(traits) else "color"


def _could_be_toning(traits: Traits) -> bool:
    """Tell whether a toning exists with the tone curve's hue at its chroma."""
    if traits.tone_chroma < _FAINT:
        return True
    return any(low <= traits.tone_hue <= high and traits.tone_chroma < most for low, high, most in (_WARM, _BLUE))


def _coherence(rest: Any) -> float:
    """Correlate (2, h, w) with itself one pixel to the right and one down; 0 where there are no neighbors."""
    energy = float((rest**2).sum())
    if min(rest.shape[1:]) < 3 or energy == 0:
        return 0.0
    across, down = (rest[:, :, 1:] * rest[:, :, :-1]).sum(), (rest[:, 1:] * rest[:, :-1]).sum()
    return float(across + down) / (2 * energy)


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
    order = np.argsort(L, kind="stable")
    count = min(_TONES, len(L))
    size, longer = divmod(len(L), count)
    # The first groups have one pixel more; a row per group takes a tenth of the time of a call per group.
    split = longer * (size + 1)
    rows = [order[:split].reshape(longer, size + 1), order[split:].reshape(count - longer, size)]

    def of_groups(reduce: Any, plane: Any) -> Any:
        return np.concatenate([reduce(plane[row], axis=1) for row in rows if row.size])

    centers = of_groups(np.mean, L)
    return np.interp(L, centers, of_groups(np.median, a)), np.interp(L, centers, of_groups(np.median, b))
