"""Fused networks compute what the trained ones do, whatever went through them before."""

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from torch import nn

from raycolor.color.scale import L_to_net
from raycolor.models import checkpoints
from raycolor.models.blocks import Upsample
from raycolor.models.build import MODEL_NAMES, build_model
from raycolor.models.fused import FusedConv, fuse, onednn_convolution

SAMPLE = Path(__file__).resolve().parents[2] / "docs" / "sample"


def made(name):
    """Return a network whose normalization and last layer do something."""
    torch.manual_seed(5)
    network = build_model(name, pretrained=False)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.running_mean, -0.3, 0.3)
            nn.init.uniform_(module.running_var, 0.5, 2.0)
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.uniform_(module.bias, -0.3, 0.3)
    return network.eval()


def enlarged(ab_net, size):
    """Enlarge to the network's own size what a fused network leaves at half of it, or at less."""
    return Upsample("bilinear", size[0] // ab_net.shape[2])(ab_net)


@pytest.mark.skipif(not torch.backends.mkldnn.is_available(), reason="torch without oneDNN")
@pytest.mark.parametrize("activation", ["", "relu", "relu6"])
def test_torch_still_has_the_convolution_that_activates(activation):
    """The private function that networks are sped up by is there and computes what the public ones do."""
    x, weight, bias = torch.randn(1, 4, 9, 9), torch.randn(8, 2, 3, 3), torch.randn(8)
    expected = nn.functional.conv2d(x, weight, bias, 1, 1, 1, 2)
    expected = {"": lambda y: y, "relu": nn.functional.relu, "relu6": nn.functional.relu6}[activation](expected)
    found = onednn_convolution(x, weight, bias, [1, 1], [1, 1], [1, 1], 2, activation)
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("in_one", [True, False])
@pytest.mark.parametrize("name", MODEL_NAMES)
def test_fusing_changes_nothing_but_rounding(name, in_one, monkeypatch):
    """In float32 a fused network gives what the network gives, by oneDNN in one pass and without."""
    if not in_one:
        monkeypatch.setattr(FusedConv, "_works_in_one", lambda self: False)
    network = made(name)
    side = network.fixed_size_px or 96
    L_net = torch.rand(1, 1, side, side) * 2 - 1
    with torch.inference_mode():
        expected, found = network(L_net), enlarged(fuse(network).color(L_net)[0], (side, side))
    assert found.shape == expected.shape
    assert expected.abs().max() > 0
    assert (found - expected).abs().max() < 1e-4 * max(1.0, float(expected.abs().max()))


def test_normalization_and_activations_are_gone():
    """Neither normalization nor activation of the U-Net runs any more; all of its 57 convolutions are fused."""
    fused = fuse(made("unet"))
    ran, convolved = [], []
    for module in fused.modules():
        if isinstance(module, nn.BatchNorm2d | nn.ReLU):
            module.register_forward_hook(lambda *_: ran.append(1))
    for child in [fused.encoder, *(level for level in fused.levels)]:
        convolved += [module for module in child.forward.modules() if isinstance(module, FusedConv)]
    with torch.inference_mode():
        fused.color(torch.rand(1, 1, 64, 64))
    assert not ran
    assert len(convolved) == 56
    assert isinstance(fused.head.forward, FusedConv)


def test_constants_are_not_rounded():
    """What a convolution adds at every pixel alike stays float32 beside weights in bfloat16."""
    conv = nn.Conv2d(1, 1, 1)
    with torch.no_grad():
        conv.weight.fill_(-100.0)
        conv.bias.fill_(100.3)
    fused = FusedConv(conv, "", torch.bfloat16)
    if not fused._in_one:
        pytest.skip("no oneDNN in bfloat16 here")
    with torch.inference_mode():
        assert float(fused(torch.ones(1, 1, 8, 8)).mean()) == pytest.approx(0.3, abs=0.01)


def test_the_network_itself_stays_as_it_is():
    """Fusing works on a copy: the trained network gives the same bytes before and after."""
    network = made("unet")
    L_net = torch.rand(1, 1, 64, 64)
    with torch.inference_mode():
        before = network(L_net)
        fuse(network, torch.bfloat16)
        assert torch.equal(network(L_net), before)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_head_of_bins_keeps_its_confidence(dtype):
    """Color and confidence of a distribution come out of the fused network as of the network itself."""
    torch.manual_seed(6)
    network = build_model("unet", {"head": "bins"}, pretrained=False).eval()
    nn.init.normal_(network.head.conv.weight, std=3.0)
    L_net = torch.rand(1, 1, 96, 64) * 2 - 1
    with torch.inference_mode():
        ab_net, sure = network.color(L_net)
        with torch.autocast("cpu", torch.bfloat16, enabled=dtype == torch.bfloat16):
            found, found_sure = fuse(network, dtype).color(L_net)
    assert ab_net.abs().mean() > 0.01
    exact = dtype == torch.float32
    assert (enlarged(found, (96, 64)) - ab_net).abs().mean() < (1e-5 if exact else 1 / 110)
    assert abs(float(found_sure) - float(sure)) < (1e-4 if exact else 0.02)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_no_photograph_changes_the_next(dtype):
    """The same plane gives the same bytes first, after others, and in a network that has seen others first."""
    network = made("unet")
    planes = [torch.rand(1, 1, *size) * 2 - 1 for size in ((64, 96), (96, 64), (32, 128))]
    one, other = fuse(network, dtype), fuse(network, dtype)
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16, enabled=dtype == torch.bfloat16):
        forward = [one.color(plane)[0] for plane in planes] + [one.color(plane)[0] for plane in planes]
        backward = [other.color(plane)[0] for plane in reversed(planes)][::-1]
    for index, plane in enumerate(backward):
        assert torch.equal(forward[index], plane)
        assert torch.equal(forward[index + 3], plane)


@pytest.mark.slow
@pytest.mark.parametrize("name", checkpoints.shipped_names())
def test_bf16_agrees_with_float32_on_photographs(name):
    """Shipped networks: fused bf16 and float32 as trained differ by less than 1 Lab unit on average."""
    network = checkpoints.load(name).model()
    side = network.fixed_size_px or network.input_px or 256
    fused = fuse(network, torch.bfloat16)
    off, chroma = [], []
    with torch.inference_mode():
        for path in sorted(SAMPLE.glob("*.jpg")):
            gray = cv2.resize(cv2.imread(str(path), cv2.IMREAD_GRAYSCALE), (side, side), interpolation=cv2.INTER_AREA)
            L_net = torch.from_numpy(L_to_net(gray.astype(np.float32) / 2.55))[None, None]
            expected = network(L_net)
            with torch.autocast("cpu", torch.bfloat16):
                found = fused.color(L_net)[0].float()
            off.append(float((enlarged(found, (side, side)) - expected).abs().mean()) * 110)
            chroma.append(float(expected.abs().mean()) * 110)
    assert np.mean(off) < 1
    assert np.mean(chroma) > 2
