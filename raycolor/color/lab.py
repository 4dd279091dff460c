"""L*a*b* to sRGB for torch tensors with the channel third from the end; differentiable."""

from __future__ import annotations

import torch
from torch import Tensor

from raycolor.color.arrays import DELTA, LINEAR_KNEE, RGB_FROM_WHITE
from raycolor.errors import ShapeError


def lab_to_rgb(lab: Tensor) -> Tensor:
    """Convert L*a*b* to gamma-encoded sRGB, not clipped; inverse of `arrays.rgb_to_lab`.

    Args:
        lab: (..., 3, H, W) float; L in 0..100, a and b in Lab units.

    Returns:
        (..., 3, H, W), same dtype; in [0, 1] where the color is in gamut (to rounding).

    Raises:
        ShapeError: the third axis from the end is not 3, or the type is not floating point.
    """
    if lab.ndim < 3 or lab.shape[-3] != 3:
        raise ShapeError(f"lab has shape {tuple(lab.shape)}: expected (..., 3, H, W)")
    if not lab.is_floating_point():
        raise ShapeError(f"lab has type {lab.dtype}: expected floating point")
    L, a, b = lab.unbind(-3)
    fy = (L + 16) / 116
    f = torch.stack([fy + a / 500, fy, fy - b / 200], dim=-3)
    x, y, z = torch.where(f > DELTA, f**3, 3 * DELTA**2 * (f - 4 / 29)).unbind(-3)
    weights = torch.as_tensor(RGB_FROM_WHITE, dtype=lab.dtype, device=lab.device)
    # Sums written out: a matrix product may run in TF32 or bf16, and grays would then get a tint.
    linear_rgb = torch.stack([row[0] * x + row[1] * y + row[2] * z for row in weights], dim=-3)
    # Clamping inside the power keeps its gradient finite where the other branch is taken.
    curved = 1.055 * linear_rgb.clamp(min=LINEAR_KNEE) ** (1 / 2.4) - 0.055
    return torch.where(linear_rgb <= LINEAR_KNEE, linear_rgb * 12.92, curved)
