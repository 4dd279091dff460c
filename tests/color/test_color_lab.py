"""The torch path: against the float64 reference, gradients, refusals."""

import numpy as np
import pytest
import torch

from raycolor.color import arrays
from raycolor.color.lab import lab_to_rgb, rgb_to_lab
from raycolor.errors import ShapeError

GENERATOR = torch.Generator().manual_seed(5)
RGB = torch.rand(2, 3, 40, 40, generator=GENERATOR, dtype=torch.float64)
RGB[0, :, :4] *= 0.03  # below both knees


def channels_last(values: torch.Tensor) -> np.ndarray:
    """(..., 3, H, W) as (..., H, W, 3)."""
    return np.moveaxis(values.numpy(), -3, -1)


def test_equals_the_reference():
    """In float64 both directions equal the numpy reference."""
    lab = rgb_to_lab(RGB)
    np.testing.assert_allclose(channels_last(lab), arrays.rgb_to_lab(channels_last(RGB)), atol=1e-10)
    np.testing.assert_allclose(channels_last(lab_to_rgb(lab)), channels_last(RGB), atol=1e-10)


@pytest.mark.parametrize(("dtype", "bound"), [(torch.float32, 2e-4), (torch.float64, 1e-9)])
def test_grays_have_no_chroma(dtype, bound):
    """Every gray lands on a = b = 0, to 1e-9 in float64 and to rounding in float32."""
    gray = torch.linspace(0, 1, 1024, dtype=dtype).expand(3, 1, -1)
    assert rgb_to_lab(gray)[1:].abs().max() < bound


def test_gradients_are_finite():
    """Black, white and the knees give finite gradients: no power of zero is differentiated."""
    rgb = torch.tensor([0.0, 1e-8, 0.04045, 1.0]).expand(3, 1, 4).clone().requires_grad_()
    lab_to_rgb(rgb_to_lab(rgb)).sum().backward()
    assert rgb.grad is not None
    assert rgb.grad.isfinite().all()
    np.testing.assert_allclose(rgb.grad.numpy(), 1, rtol=0.02)  # sRGB's slope jumps by 1.7% at its knee


@pytest.mark.parametrize("convert", [rgb_to_lab, lab_to_rgb])
def test_refusals(convert):
    """Another channel axis and integers are refused, naming shape or type."""
    with pytest.raises(ShapeError, match=r"\(4, 4, 3\)"):
        convert(torch.zeros(4, 4, 3))
    with pytest.raises(ShapeError, match=r"\(3, 4\)"):
        convert(torch.zeros(3, 4))
    with pytest.raises(ShapeError, match=r"uint8"):
        convert(torch.zeros(3, 4, 4, dtype=torch.uint8))
