"""Vary the lightness of training photographs as cameras, films and age do; color stays."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from raycolor.color.arrays import DELTA, RGB_FROM_WHITE
from raycolor.color.scale import AB_SPAN, L_HALF
from raycolor.dataset.config import AugmentConfig

Plane = NDArray[np.float32]

_LUMINANCE = np.array([0.2126, 0.7152, 0.0722])  # of linear sRGB, what L is made of
_BYTES = np.linspace(-1, 1, 256, dtype=np.float32)  # what each stands for in network units


def crop_window(augment: AugmentConfig, rng: np.random.Generator, size_px: int, crop_px: int) -> tuple[int, int, int]:
    """Draw (top, left, side) of a crop out of a photograph of size_px x size_px."""
    low = max(8, round(crop_px * augment.zoom)) if augment.zoom < 1 else crop_px
    high = size_px if augment.zoom < 1 else crop_px
    side = int(rng.integers(low, high + 1))
    top, left = (int(start) for start in rng.integers(0, size_px - side + 1, 2))
    return top, left, side


def vary(augment: AugmentConfig, rng: np.random.Generator, L_net: Plane, ab_net: Plane) -> None:
    """Change lightness in place as another film and aging would.

    Args:
        augment: what may happen.
        rng: decides what does.
        L_net: (H, W), in [-1, 1]; changed, and in [-1, 1] after every step.
        ab_net: (2, H, W), network units.
    """
    if rng.random() < augment.film:
        _film(rng, L_net, ab_net)
    if rng.random() < augment.aging:
        _age(rng, L_net)


def _film(rng: np.random.Generator, L_net: Plane, ab_net: Plane) -> None:
    """Make lightness from another mix of the primaries; whites stay white."""
    mix = rng.dirichlet((2.0, 3.0, 1.5))
    share = rng.uniform(0.3, 1.0)
    weights = share * mix + (1 - share) * _LUMINANCE
    fy = (L_net * L_HALF + (L_HALF + 16)) / 116
    f = np.stack([fy + ab_net[0] * (AB_SPAN / 500), fy, fy - ab_net[1] * (AB_SPAN / 200)], axis=-1)
    xyz = np.where(f > DELTA, f**3, 3 * DELTA**2 * (f - 4 / 29))
    linear = xyz @ np.asarray(RGB_FROM_WHITE, dtype=np.float32).T
    Y = np.clip(linear, 0, 1) @ weights.astype(np.float32)
    root = np.where(Y > DELTA**3, np.cbrt(Y), Y / (3 * DELTA**2) + 4 / 29)
    np.clip((116 * root - 16) / L_HALF - 1, -1, 1, out=L_net)


def _age(rng: np.random.Generator, L_net: Plane) -> None:
    """Fade, change contrast, blur, add grain and compress, each at random."""
    for probability, step in AGING:
        if rng.random() < probability:
            step(rng, L_net)
            # A hair outside is enough: a negative base has no fractional power, and the next step may be one.
            np.clip(L_net, -1, 1, out=L_net)


def _bend(rng: np.random.Generator, L_net: Plane) -> None:
    """Change the tone curve, as paper and development do."""
    np.copyto(L_net, ((L_net + 1) / 2) ** np.float32(np.exp(rng.normal(0, 0.25))) * 2 - 1)


def _fade(rng: np.random.Generator, L_net: Plane) -> None:
    """Lighten blacks and darken whites, as fading and yellowing do."""
    low, high = rng.uniform(-1, -0.6), rng.uniform(0.65, 1)
    np.copyto(L_net, np.float32(low) + (L_net + 1) * np.float32((high - low) / 2))


def _blur(rng: np.random.Generator, L_net: Plane) -> None:
    np.copyto(L_net, cv2.GaussianBlur(L_net, (0, 0), rng.uniform(0.4, 1.2)))


def _grain(rng: np.random.Generator, L_net: Plane) -> None:
    grain = rng.standard_normal(L_net.shape, dtype=np.float32)
    if rng.random() < 0.5:  # coarser than a pixel
        grain = 2 * np.asarray(cv2.GaussianBlur(grain, (0, 0), 0.7), dtype=np.float32)
    L_net += grain * np.float32(rng.uniform(0.01, 0.08))


def _compress(rng: np.random.Generator, L_net: Plane) -> None:
    """Compress to a JPEG and back."""
    codes = np.rint((L_net + 1) * 127.5).astype(np.uint8)
    done, packed = cv2.imencode(".jpg", codes, [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(35, 92))])
    if done:
        np.copyto(L_net, _BYTES[np.asarray(cv2.imdecode(packed, cv2.IMREAD_GRAYSCALE))])


AGING: Final[tuple[tuple[float, Callable[[np.random.Generator, Plane], None]], ...]] = (
    (0.5, _bend),
    (0.5, _fade),
    (0.3, _blur),
    (0.5, _grain),
    (0.3, _compress),
)
"""What age and poor copies do, in this order: the probability of each, and what changes a plane within [-1, 1]."""
