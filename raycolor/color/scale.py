"""Lab to network units and to stored bytes, and back: the only home of 50, 100 and 110."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, TypeVar

import numpy as np

if TYPE_CHECKING:
    import torch
    from numpy.typing import NDArray

T = TypeVar("T", "NDArray[Any]", "torch.Tensor", float)

L_HALF: Final = 50.0  # L runs over 0..100
AB_SPAN: Final = 110.0  # covers every in-gamut a and b (-107.9..98.3); Zhang et al. 2016 divide by 110, too
BYTES_PER_L: Final = 255 / 100


def L_to_net(L: T) -> T:
    """Map L in 0..100 to network units in [-1, 1]."""
    return L / L_HALF - 1


def net_to_L(L_net: T) -> T:
    """Map network units in [-1, 1] to L in 0..100."""
    return (L_net + 1) * L_HALF


def ab_to_net(ab: T) -> T:
    """Map Lab units to network units: [-110, 110] to [-1, 1]."""
    return ab / AB_SPAN


def net_to_ab(ab_net: T) -> T:
    """Map network units to Lab units: [-1, 1] to [-110, 110]."""
    return ab_net * AB_SPAN


def L_to_bytes(L: NDArray[np.floating]) -> NDArray[np.uint8]:
    """Store L in 0..100 as uint8, L * 255 / 100 rounded; values outside are clipped. At most 0.2 L is lost."""
    return np.asarray(np.clip(np.rint(L * BYTES_PER_L), 0, 255), dtype=np.uint8)


def bytes_to_L(stored: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Read L in 0..100 (float32) from the uint8 of `L_to_bytes`."""
    return np.asarray(stored.astype(np.float32) / BYTES_PER_L)


def ab_to_bytes(ab: NDArray[np.floating]) -> NDArray[np.int8]:
    """Store a or b as int8 in Lab units, rounded and clipped to -128..127. At most 0.5 is lost."""
    return np.asarray(np.clip(np.rint(ab), -128, 127), dtype=np.int8)
