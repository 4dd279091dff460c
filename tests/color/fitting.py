"""The reference for lowering chroma: slow, float64, by halving."""

import numpy as np

from raycolor.color.arrays import in_gamut


def fit_chroma(lab: np.ndarray) -> np.ndarray:
    """Lower the chroma of (N..., 3) out-of-gamut colors until their sRGB lies in [0, 1]; keep L and hue."""
    result = np.array(lab, dtype=np.float64)
    outside = ~in_gamut(result)
    colors = result[outside]
    low, high = np.zeros((len(colors), 1)), np.ones((len(colors), 1))
    for _ in range(50):
        middle = (low + high) / 2
        fits = in_gamut(colors * np.hstack([np.ones_like(middle), middle, middle]))[:, None]
        low, high = np.where(fits, middle, low), np.where(fits, high, middle)
    colors[:, 1:] *= low
    result[outside] = colors
    return result
