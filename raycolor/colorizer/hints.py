"""Color hints: what is known of the color at a place, spread over what belongs together with it."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple, cast

import cv2
import numpy as np
from numpy.typing import NDArray

from raycolor.color.arrays import rgb_to_lab
from raycolor.color.resize import resize_area
from raycolor.colorizer.hint_list import Hint
from raycolor.errors import ImageError

Plane = NDArray[np.float32]

_L_STEP: Final = 7.5  # lightness, and
_AB_STEP: Final = 12.0  # network's color, between neighbors that count as far as _REACH
_REACH: Final = 0.5  # of the plane's side: how far color goes where nothing changes
_PATCH: Final = 2  # pixels of a network's own hint on each side: Zhang's were trained with 1 to 9 in all
_FARTHEST: Final = 2.6  # where exp(-d^2) is 0.1%


class PlacedHint(NamedTuple):
    """A hint on the network's plane."""

    row: int
    column: int
    ab: tuple[float, float]


def place(hints: Sequence[Hint], size: tuple[int, int], plane: tuple[int, int]) -> list[PlacedHint]:
    """Find hints on a smaller picture of the photograph.

    Args:
        hints: of the photograph.
        size: height and width of the photograph, upright.
        plane: height and width of the smaller picture.

    Raises:
        ImageError: `bad_hint`, outside the photograph.
    """
    height, width = size
    for hint in hints:
        if hint.x >= width or hint.y >= height:
            raise ImageError(
                "bad_hint",
                f"the hint at {hint.x:g}, {hint.y:g} lies outside the picture of {width} x {height} pixels: mend it",
            )
    return [PlacedHint(int(hint.y / height * plane[0]), int(hint.x / width * plane[1]), _ab(hint)) for hint in hints]


def _ab(hint: Hint) -> tuple[float, float]:
    """Return a and b of a hint's color."""
    lab = rgb_to_lab(np.asarray(hint.rgb, np.float64) / 255)
    return float(lab[1]), float(lab[2])


def spread(ab: Plane, L: Plane, hints: Sequence[PlacedHint]) -> Plane:
    """Spread hints over the network's color.

    From the place of a hint its color goes on to what belongs together with it: a path costs little while lightness and
    the network's color change slowly, and much across an edge of either. With the cost of the cheapest path the hint
    fades into the network's color; between hints the nearer one counts more.

    Args:
        ab: (h, w, 2) in Lab units, by the network.
        L: (h', w') in 0..100, the photograph's lightness; hints are placed on it.
        hints: may be none.

    Returns:
        (h', w', 2): at each hint its color, elsewhere between the network's and those of hints; ab itself without any.

    Source: Yatziv and Sapiro 2006, Fast Image and Video Colorization Using Chrominance Blending: geodesic distances and
        blending by their inverse powers.
    """
    if not hints:
        return ab
    if ab.shape[:2] != L.shape:
        if ab.shape[0] > L.shape[0]:
            ab = np.stack([resize_area(np.ascontiguousarray(ab[..., i]), *L.shape) for i in (0, 1)], -1)
        else:
            ab = cast(Plane, cv2.resize(ab, L.shape[::-1], interpolation=cv2.INTER_LINEAR))
    distances = _distances(L, ab)
    colors, weights, near = np.zeros(ab.shape, np.float64), np.zeros(L.shape), np.full(L.shape, np.inf)
    for hint in hints:
        far = distances(hint.row * L.shape[1] + hint.column).reshape(L.shape)
        weight = 1 / (far**4 + 1e-9)
        colors += weight[..., None] * np.asarray(hint.ab)
        weights += weight
        near = np.minimum(near, far)
    share = np.exp(-(near**2))[..., None]
    share[near > _FARTHEST] = 0
    color = colors / np.maximum(weights, 1e-30)[..., None]
    return cast(Plane, (ab + share * (color - ab)).astype(np.float32))


def _distances(L: Plane, ab: Plane) -> Callable[[int], NDArray[np.float64]]:
    """Return a function: number of a pixel -> cost of the cheapest path to every pixel, infinite beyond `_FARTHEST`."""
    # Loaded with the first hint: who gives none does not wait for it.
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import dijkstra

    height, width = L.shape
    # Grain is no edge.
    smooth = cv2.bilateralFilter(np.ascontiguousarray(L, np.float32), 7, 14, 2)
    number = np.arange(height * width).reshape(height, width)
    step = 1 / (_REACH * math.sqrt(height * width))
    rows, columns, costs = [], [], []
    for down, right in ((0, 1), (1, 0), (1, 1), (1, -1)):
        here = (slice(0, height - down), slice(max(0, -right), width - max(0, right)))
        there = (slice(down, height), slice(max(0, right), width - max(0, -right)))
        light = (smooth[here] - smooth[there]) / _L_STEP
        color = (ab[here] - ab[there]) / _AB_STEP
        cost = light.astype(np.float64) ** 2 + (color.astype(np.float64) ** 2).sum(-1) + math.hypot(down, right) * step
        rows.append(number[here].ravel())
        columns.append(number[there].ravel())
        costs.append(cost.ravel())
    graph = coo_array(
        (np.concatenate(costs), (np.concatenate(rows), np.concatenate(columns))), shape=(L.size, L.size)
    ).tocsr()
    return lambda start: cast(NDArray[np.float64], dijkstra(graph, directed=False, indices=start, limit=_FARTHEST))


def as_input(L: Plane, hints: Sequence[PlacedHint]) -> Plane:
    """Put hints beside lightness, for a network that takes them itself.

    Args:
        L: (h, w) in 0..100.
        hints: placed on it.

    Returns:
        (h, w, 4): L; a and b in Lab units and 1 around each hint, 0 elsewhere.
    """
    made = np.zeros((*L.shape, 4), np.float32)
    made[..., 0] = L
    for hint in hints:
        top, left = max(0, hint.row - _PATCH), max(0, hint.column - _PATCH)
        made[top : hint.row + _PATCH + 1, left : hint.column + _PATCH + 1, 1:] = (*hint.ab, 1)
    return made
