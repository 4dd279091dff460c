"""A colored page computed in bands of rows, so that it is never in memory as a whole."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from raycolor.color import kernels

_BAND_PIXELS: Final = 1 << 20


class JoinedPage:
    """A page's own lightness with predicted color, as encoders read it: `page[top:bottom]`, or as an array.

    Args:
        page: (H, W) or (H, W, 3), uint8 or uint16, sRGB-encoded.
        ab: (h, w, 2) float32 in Lab units, any size.

    Attributes:
        shape: (H, W, 3).
        dtype: the page's.
    """

    def __init__(self, page: NDArray[Any], ab: NDArray[np.float32]) -> None:
        self._page, self._ab = page, ab
        self.shape = (page.shape[0], page.shape[1], 3)
        self.dtype = page.dtype

    def __getitem__(self, rows: slice) -> NDArray[Any]:
        top, bottom, _ = rows.indices(self.shape[0])
        return self._join(top, bottom, None)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        whole = np.empty(self.shape, self.dtype)
        step = max(1, _BAND_PIXELS // max(1, self.shape[1]))
        for top in range(0, self.shape[0], step):
            bottom = min(top + step, self.shape[0])
            self._join(top, bottom, whole[top:bottom])
        return whole if dtype is None else whole.astype(dtype, copy=False)

    def _join(self, top: int, bottom: int, out: NDArray[Any] | None) -> NDArray[Any]:
        band = self._page[top:bottom]
        plane = band if band.ndim == 2 else kernels.lightness(band)
        joined: NDArray[Any] = kernels.join(self.dtype.type, plane, self._ab, out, top=top, height=self.shape[0])
        return joined
