"""Laws of docs/training/quarter.py."""

import runpy
from pathlib import Path

import pytest
import torch

from raycolor.models import checkpoints
from raycolor.models.build import build_model

QUARTER = runpy.run_path(str(Path(__file__).parents[2] / "docs" / "training" / "quarter.py"))


def test_the_first_convolution_gives_the_mean_over_squares(tmp_path):
    """Within the edges: of doubled features and the skip at twice the size, as of the features and the folded skip."""
    torch.manual_seed(0)
    old = build_model("unet", {"head": "bins", "pretrained": False, "pooling": 2}).eval()
    checkpoints.save(tmp_path / "old", old, method="unet", training={}, dataset={}, metrics={})
    QUARTER["main"](str(tmp_path / "old"), str(tmp_path / "new"))
    new = checkpoints.load(str(tmp_path / "new")).model()
    assert (new.config()["output_stride"], new.config()["pooling"]) == (4, 1)
    found = {}
    for name, network in (("old", old), ("new", new)):
        network.levels[-1].convs[0].register_forward_hook(lambda *given, name=name: found.update({name: given[2]}))
    L_net = torch.rand(1, 1, 96, 96) * 2 - 1
    with torch.inference_mode():
        colors = [network(L_net) for network in (old, new)]
    inside = (slice(None), slice(None), slice(1, -1), slice(1, -1))
    expected = torch.nn.functional.avg_pool2d(found["old"], 2)[inside]
    assert found["new"][inside].numpy() == pytest.approx(expected.numpy(), abs=1e-4 * float(expected.std()) + 1e-5)
    assert colors[0].shape == colors[1].shape


def test_later_kernels_keep_their_sum():
    """On flat features a kernel gives what it gave, whichever way it is brought over."""
    kernel = torch.randn(5, 4, 3, 3)
    for shares in ("DOUBLED", "STRAIGHT"):
        spread = QUARTER["spread"](kernel, QUARTER[shares])
        assert torch.allclose(spread.sum(dim=(2, 3)), kernel.sum(dim=(2, 3)), atol=1e-5)
    folded = QUARTER["fold"](kernel).unflatten(1, (4, 4)).sum(dim=(2, 3, 4))
    assert torch.allclose(folded, kernel.sum(dim=(2, 3)), atol=1e-5)
