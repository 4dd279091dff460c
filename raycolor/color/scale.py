"""Lab to network units and to stored bytes, and back: the only home of 50, 100 and 110. Takes numpy and torch alike."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, TypeVar, cast

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


def _to_integers(values: Any, low: int, high: int, name: str) -> Any:
    """Round half to even, clip and narrow to an 8-bit type of numpy or torch, whichever `values` is."""
    if isinstance(values, np.ndarray | np.generic):
        return np.clip(np.rint(values), low, high).astype(name)
    import torch  # a tensor came in, so torch is loaded already

    return values.round().clamp(low, high).to(getattr(torch, name))


def L_to_bytes(L: T) -> T:
    """Store L in 0..100 as uint8, L * 255 / 100 rounded; values outside are clipped. At most 0.2 L is lost."""
    return cast(T, _to_integers(L * BYTES_PER_L, 0, 255, "uint8"))


def bytes_to_L(stored: T) -> T:
    """Read L in 0..100 (float32) from the uint8 of `L_to_bytes`."""
    return cast(T, _to_float32(stored) / BYTES_PER_L)


def ab_to_bytes(ab: T) -> T:
    """Store a or b as int8 in Lab units, rounded and clipped to -128..127. At most 0.5 is lost."""
    return cast(T, _to_integers(ab, -128, 127, "int8"))


def _to_float32(stored: Any) -> Any:
    """Widen to float32 in numpy or torch."""
    return stored.astype(np.float32) if isinstance(stored, np.ndarray | np.generic) else stored.float()
