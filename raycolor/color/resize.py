"""The one way photographs are resized: training and inference must show the network the same quantity."""

from __future__ import annotations

from typing import Any

import cv2
from numpy.typing import NDArray


def resize_area(pixels: NDArray[Any], height: int, width: int) -> NDArray[Any]:
    """Resize without aliasing, on sRGB-encoded values: the same in training and inference.

    Args:
        pixels: (H, W) or (H, W, 3), uint8 or uint16.

    Returns:
        The same type at (height, width); area averages where it shrinks, linear interpolation where it grows.
    """
    shrinks = height <= pixels.shape[0] and width <= pixels.shape[1]
    return cv2.resize(pixels, (width, height), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)
