"""The torch path: against the float64 reference, gradients, refusals."""

import numpy as np
import pytest
import torch

from raycolor.color.arrays import rgb_to_lab
from raycolor.color.lab import lab_to_rgb
from raycolor.errors import ShapeError


def as_lab(rgb: torch.Tensor) -> torch.Tensor:
    """Return the reference's Lab of sRGB, (..., 3, H, W) float64 both."""
    return torch.from_numpy(np.moveaxis(rgb_to_lab(np.moveaxis(rgb.double().numpy(), -3, -1)), -1, -3))


def test_inverts_the_reference():
    """In float64 the Lab of the numpy reference gives the sRGB back, on both sides of each branch."""
    rgb = torch.rand(2, 3, 40, 40, generator=torch.Generator().manual_seed(5), dtype=torch.float64)
    rgb[0, :, :4] *= 0.03  # below both knees
    assert (lab_to_rgb(as_lab(rgb)) - rgb).abs().max() < 1e-10


@pytest.mark.parametrize(("dtype", "bound"), [(torch.float32, 2e-6), (torch.float64, 1e-9)])
def test_colors_without_chroma_are_gray(dtype, bound):
    """a = b = 0 gives R = G = B at every L, to 1e-9 in float64 and to rounding in float32."""
    lab = torch.zeros(3, 1, 1024, dtype=dtype)
    lab[0] = torch.linspace(0, 100, 1024, dtype=dtype)
    rgb = lab_to_rgb(lab)
    assert (rgb - rgb[:1]).abs().max() < bound


def test_gradients_are_finite():
    """Black, white and the knees give finite gradients: no power of zero is differentiated."""
    rgb = torch.tensor([0.0, 1e-8, 0.04045, 1.0]).expand(3, 1, 4)
    lab = as_lab(rgb).float().requires_grad_()
    lab_to_rgb(lab).sum().backward()
    assert lab.grad is not None
    assert lab.grad.isfinite().all()


def test_refusals():
    """Another channel axis and integers are refused, naming shape or type."""
    with pytest.raises(ShapeError, match=r"\(4, 4, 3\)"):
        lab_to_rgb(torch.zeros(4, 4, 3))
    with pytest.raises(ShapeError, match=r"\(3, 4\)"):
        lab_to_rgb(torch.zeros(3, 4))
    with pytest.raises(ShapeError, match=r"uint8"):
        lab_to_rgb(torch.zeros(3, 4, 4, dtype=torch.uint8))
