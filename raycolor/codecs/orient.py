"""Turn a stored picture upright and back, for the eight EXIF orientations."""

from __future__ import annotations

from typing import Any, Final

from numpy.typing import NDArray

from raycolor.errors import ShapeError

# orientation -> (swap rows and columns first, then flip rows, then flip columns) that turns the stored picture upright.
# Source: EXIF 2.32 section 4.6.4, tag 0x0112.
_STEPS: Final[dict[int, tuple[bool, bool, bool]]] = {
    1: (False, False, False),
    2: (False, False, True),
    3: (False, True, True),
    4: (False, True, False),
    5: (True, False, False),
    6: (True, False, True),
    7: (True, True, True),
    8: (True, True, False),
}


def upright(plane: NDArray[Any], orientation: int) -> NDArray[Any]:
    """Turn a picture as stored into the upright one.

    Args:
        plane: (H, W) or (H, W, C), any type.
        orientation: 1..8 as in EXIF.

    Returns:
        A view of `plane`, (W, H, ...) for orientations 5 to 8. Not C-contiguous but for orientation 1.

    Raises:
        ShapeError: `plane` has fewer than two axes, or the orientation is not 1..8.
    """
    swap, rows, columns = _steps(plane, orientation)
    turned = plane.swapaxes(0, 1) if swap else plane
    return turned[:: -1 if rows else 1, :: -1 if columns else 1]


def as_stored(plane: NDArray[Any], orientation: int) -> NDArray[Any]:
    """Undo `upright`: `as_stored(upright(p, o), o)` equals p. A view; same arguments, shapes and errors."""
    swap, rows, columns = _steps(plane, orientation)
    turned = plane[:: -1 if rows else 1, :: -1 if columns else 1]
    return turned.swapaxes(0, 1) if swap else turned


def _steps(plane: NDArray[Any], orientation: int) -> tuple[bool, bool, bool]:
    if orientation not in _STEPS:
        raise ShapeError(f"orientation = {orientation}: must be 1 to 8")
    if plane.ndim < 2:
        raise ShapeError(f"a plane has at least two axes, this one has shape {plane.shape}")
    return _STEPS[orientation]
