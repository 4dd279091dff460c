"""CIEDE2000 color differences."""

from __future__ import annotations

import torch
from skimage.color import deltaE_ciede2000
from torch import Tensor


def delta_e00(lab: Tensor, truth: Tensor) -> Tensor:
    """Return the CIEDE2000 color difference of every pixel (kL = kC = kH = 1), computed by scikit-image on the CPU.

    Args:
        lab: (B, 3, H, W), Lab units.
        truth: (B, 3, H, W), Lab units.

    Returns:
        (B, H, W), not negative, of the type and on the device of `lab`.
    """
    found = deltaE_ciede2000(lab.cpu().numpy(), truth.cpu().numpy(), channel_axis=1)  # type: ignore[no-untyped-call]
    return torch.as_tensor(found, dtype=lab.dtype, device=lab.device)
