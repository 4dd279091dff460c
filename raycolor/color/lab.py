"""sRGB to L*a*b* and back for torch tensors with the channel third from the end; differentiable."""

from __future__ import annotations

import torch
from torch import Tensor

from raycolor.color.arrays import DELTA, LINEAR_KNEE, RGB_FROM_WHITE, SRGB_KNEE, WHITE_FROM_RGB
from raycolor.errors import ShapeError


def _check(values: Tensor, name: str) -> None:
    if values.ndim < 3 or values.shape[-3] != 3:
        raise ShapeError(f"{name} has shape {tuple(values.shape)}: expected (..., 3, H, W)")
    if not values.is_floating_point():
        raise ShapeError(f"{name} has type {values.dtype}: expected floating point, in [0, 1] for sRGB")


def _mix(matrix: object, channels: Tensor) -> Tensor:
    """Apply a 3x3 matrix to the channel axis."""
    weights = torch.as_tensor(matrix, dtype=channels.dtype, device=channels.device)
    # Sums written out: a matrix product may run in TF32 or bf16, and grays would then get a tint.
    r, g, b = channels.unbind(-3)
    return torch.stack([row[0] * r + row[1] * g + row[2] * b for row in weights], dim=-3)


def rgb_to_lab(rgb: Tensor) -> Tensor:
    """Convert gamma-encoded sRGB to L*a*b* (D65, 2-degree observer).

    Args:
        rgb: (..., 3, H, W) float, each channel in [0, 1]. Values outside are converted, not clipped.

    Returns:
        (..., 3, H, W), same dtype. L in [0, 100]; for in-gamut input
        a in [-86.2, 98.3] and b in [-107.9, 94.5].

    Raises:
        ShapeError: the third axis from the end is not 3, or the type is not floating point.

    Source: IEC 61966-2-1 for sRGB; CIE 15:2004 for Lab.
    """
    _check(rgb, "rgb")
    # Clamping inside each power keeps its gradient finite where the other branch is taken.
    curved = ((rgb.clamp(min=SRGB_KNEE) + 0.055) / 1.055) ** 2.4
    xyz = _mix(WHITE_FROM_RGB, torch.where(rgb <= SRGB_KNEE, rgb / 12.92, curved))
    root = xyz.clamp(min=DELTA**3) ** (1 / 3)
    f = torch.where(xyz > DELTA**3, root, xyz / (3 * DELTA**2) + 4 / 29)
    fx, fy, fz = f.unbind(-3)
    return torch.stack([116 * fy - 16, 500 * (fx - fy), 200 * (fy - fz)], dim=-3)


def lab_to_rgb(lab: Tensor) -> Tensor:
    """Convert L*a*b* to gamma-encoded sRGB, not clipped; inverse of `rgb_to_lab`.

    Args:
        lab: (..., 3, H, W) float; L in 0..100, a and b in Lab units.

    Returns:
        (..., 3, H, W), same dtype; in [0, 1] where the color is in gamut (to rounding).

    Raises:
        ShapeError: the third axis from the end is not 3, or the type is not floating point.
    """
    _check(lab, "lab")
    L, a, b = lab.unbind(-3)
    fy = (L + 16) / 116
    f = torch.stack([fy + a / 500, fy, fy - b / 200], dim=-3)
    linear_rgb = _mix(RGB_FROM_WHITE, torch.where(f > DELTA, f**3, 3 * DELTA**2 * (f - 4 / 29)))
    curved = 1.055 * linear_rgb.clamp(min=LINEAR_KNEE) ** (1 / 2.4) - 0.055
    return torch.where(linear_rgb <= LINEAR_KNEE, linear_rgb * 12.92, curved)
