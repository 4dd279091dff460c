"""CIEDE2000 color differences."""

from __future__ import annotations

import math

import torch
from torch import Tensor


def delta_e00(lab: Tensor, truth: Tensor) -> Tensor:
    """Return the CIEDE2000 color difference of every pixel (kL = kC = kH = 1).

    Args:
        lab: (B, 3, H, W), Lab units.
        truth: (B, 3, H, W), Lab units.

    Returns:
        (B, H, W), not negative.

    Source: Sharma, Wu & Dalal 2005, doi:10.1002/col.20070.
    """
    L1, a1, b1 = lab.unbind(1)
    L2, a2, b2 = truth.unbind(1)
    mean_c7 = (0.5 * (torch.hypot(a1, b1) + torch.hypot(a2, b2))) ** 7
    stretch = 1 + 0.5 * (1 - torch.sqrt(mean_c7 / (mean_c7 + 25.0**7)))
    a1, a2 = a1 * stretch, a2 * stretch
    c1, c2 = torch.hypot(a1, b1), torch.hypot(a2, b2)
    turn = 2 * math.pi
    h1, h2 = torch.atan2(b1, a1) % turn, torch.atan2(b2, a2) % turn
    colored = c1 * c2 > 0

    step = h2 - h1
    step = torch.where(step > math.pi, step - turn, torch.where(step < -math.pi, step + turn, step))
    step = torch.where(colored, step, torch.zeros_like(step))
    d_hue = 2 * torch.sqrt(c1 * c2) * torch.sin(step / 2)

    total = h1 + h2
    far = (h1 - h2).abs() > math.pi
    # Half the sum of two hues lies opposite to both where they are more than half a turn apart.
    mean_h = torch.where(far, torch.where(total < turn, total + turn, total - turn), total) / 2
    mean_h = torch.where(colored, mean_h, total)

    mean_l, mean_c = 0.5 * (L1 + L2), 0.5 * (c1 + c2)
    degree = math.pi / 180
    t = (
        1
        - 0.17 * torch.cos(mean_h - 30 * degree)
        + 0.24 * torch.cos(2 * mean_h)
        + 0.32 * torch.cos(3 * mean_h + 6 * degree)
        - 0.20 * torch.cos(4 * mean_h - 63 * degree)
    )
    off_mid = (mean_l - 50) ** 2
    s_l = 1 + 0.015 * off_mid / torch.sqrt(20 + off_mid)
    s_c = 1 + 0.045 * mean_c
    s_h = 1 + 0.015 * mean_c * t
    mean_c7 = mean_c**7
    bend = 2 * torch.sqrt(mean_c7 / (mean_c7 + 25.0**7))
    rotation = -bend * torch.sin(60 * degree * torch.exp(-(((mean_h / degree - 275) / 25) ** 2)))
    x_l, x_c, x_h = (L2 - L1) / s_l, (c2 - c1) / s_c, d_hue / s_h
    return torch.sqrt((x_l**2 + x_c**2 + x_h**2 + rotation * x_c * x_h).clamp(min=0))
