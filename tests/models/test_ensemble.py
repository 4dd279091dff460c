"""Networks that answer together, saved and fused like any other."""

import math
import runpy
from pathlib import Path

import pytest
import torch

from raycolor.color.scale import net_to_ab
from raycolor.errors import ConfigError, ShapeError
from raycolor.models import checkpoints
from raycolor.models.build import build_model
from raycolor.models.fused import fuse

MAIN = runpy.run_path(str(Path(__file__).parents[2] / "docs" / "training" / "ensemble.py"))["main"]
BINS = {"name": "unet", "config": {"head": "bins", "widths": [16, 16, 8, 8], "convs": 1}}
POOLED = {"name": "unet", "config": {**BINS["config"], "pooling": 2}}
FOLDED = {"name": "unet", "config": {**BINS["config"], "output_stride": 4}}
SHARP = {"name": "unet", "config": {**BINS["config"], "temperature": 0.1}}
PLAIN = {"name": "unet", "config": {"encoder": "lite2", "widths": [16, 16, 8, 8], "convs": 1}}


def saved(folder, seed, member):
    """Save a network with weights drawn from a seed, and return it."""
    torch.manual_seed(seed)
    network = build_model(member["name"], member["config"], pretrained=False).eval()
    for parameter in network.head.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    checkpoints.save(
        folder,
        network,
        method="unet",
        training={"crop_px": 64},
        dataset={"image_size": 64},
        metrics={"mse": float(seed)},
    )
    return network


def test_distributions_are_averaged_before_their_color_is_read(tmp_path):
    """The normalized geometric mean, from the file as it was written; a description that builds the same again."""
    first, second = (saved(tmp_path / name, seed, BINS) for seed, name in enumerate("ab"))
    MAIN(str(tmp_path / "both"), str(tmp_path / "a"), str(tmp_path / "b"))
    checkpoint = checkpoints.load(str(tmp_path / "both"))
    network = checkpoint.model()
    L_net = torch.rand(2, 1, 64, 96) * 2 - 1
    with torch.inference_mode():
        color, confidence = network.color(L_net)
        assert torch.allclose(network(L_net), color)
        shares = [one.head(one.features(L_net)).double().softmax(dim=1) for one in (first, second)]
        both = (shares[0] * shares[1]).sqrt()
        both = both / both.sum(dim=1, keepdim=True)
        expected = first.resize(torch.einsum("bkhw,kc->bchw", both, first.head.centers.double()).float())
        entropy = -(both * both.log()).sum(dim=1).mean(dim=(1, 2)) / math.log(first.head.count)
        alone = first.color(L_net)[0]
    assert torch.allclose(color, expected, atol=1e-5)
    assert torch.allclose(confidence, (1 - entropy).float(), atol=1e-5)
    assert not torch.allclose(color, alone, atol=1e-3)
    assert checkpoint.method == "ensemble"
    assert network.config() == checkpoint.network["config"]
    assert checkpoint.skeleton().stride == 32


@pytest.mark.parametrize("second", [BINS, PLAIN])
def test_every_second_network_sees_a_mirrored_photograph(tmp_path, second):
    """Mirroring the photograph is the same as letting the other network see it mirrored, saved as well."""
    for seed, (name, member) in enumerate({"a": BINS, "b": second}.items()):
        saved(tmp_path / name, seed, member)
    MAIN("--mirror", str(tmp_path / "ab"), str(tmp_path / "a"), str(tmp_path / "b"))
    MAIN("--mirror", str(tmp_path / "ba"), str(tmp_path / "b"), str(tmp_path / "a"))
    MAIN(str(tmp_path / "plain"), str(tmp_path / "a"), str(tmp_path / "b"))
    first, other, plain = (checkpoints.load(str(tmp_path / name)).model() for name in ("ab", "ba", "plain"))
    L_net = torch.rand(2, 1, 64, 96, generator=torch.Generator().manual_seed(5)) * 2 - 1
    with torch.inference_mode():
        color = first.color(L_net)[0]
        assert torch.allclose(color, other.color(L_net.flip(3))[0].flip(3), atol=1e-5)
        assert (color - plain.color(L_net)[0]).abs().max() > 1e-4
    assert checkpoints.load(str(tmp_path / "ab")).network["config"]["mirror"] is True
    assert "mirror" not in checkpoints.load(str(tmp_path / "plain")).network["config"]


def test_squares_of_one_size_are_one_reading():
    """Distributions of squares of four pixels are averaged, be they of averaged features or of a smaller plane."""
    torch.manual_seed(4)
    network = build_model("ensemble", {"members": [POOLED, FOLDED]}, pretrained=False).eval()
    for member in network.members:
        torch.nn.init.normal_(member.head.conv.weight, std=0.2)
    first, second = network.members
    L_net = torch.rand(1, 1, 64, 96) * 2 - 1
    with torch.inference_mode():
        logits = first.head(torch.nn.functional.avg_pool2d(first.features(L_net), 2))
        logits = (logits + second.head(second.features(L_net))) / 2
        assert logits.shape[2:] == (16, 24)
        assert torch.allclose(network.color(L_net)[0], first.resize(first.head.mean(logits)), atol=1e-5)


@pytest.mark.parametrize("other", [SHARP, POOLED, FOLDED, PLAIN])
def test_colors_are_averaged_where_readings_differ(other):
    """Distributions that are read in different ways, or are none, have no common reading: the mean of their colors."""
    torch.manual_seed(4)
    network = build_model("ensemble", {"members": [BINS, other]}, pretrained=False).eval()
    for member in network.members:
        torch.nn.init.normal_(next(iter(member.head.parameters())), std=0.2)
    L_net = torch.rand(1, 1, 64, 64) * 2 - 1
    with torch.inference_mode():
        colors = [member.color(L_net)[0] for member in network.members]
        assert torch.allclose(network.color(L_net)[0], (colors[0] + colors[1]) / 2, atol=1e-6)


def test_who_cannot_tell_makes_all_of_them_silent():
    """A member without confidence leaves none: half a mean would be read as a whole one."""
    network = build_model("ensemble", {"members": [BINS, PLAIN]}, pretrained=False).eval()
    assert network.color(torch.rand(1, 1, 64, 64))[1] is None


@pytest.mark.parametrize(
    "members",
    [
        [BINS, BINS],
        [BINS, PLAIN],
        [POOLED, POOLED],
        [FOLDED, POOLED],
        [POOLED, PLAIN],
        [PLAIN, {"name": "regression", "config": {}}],
        [PLAIN, {"name": "gan", "config": {}}],
    ],
)
@pytest.mark.parametrize("mirror", [False, True])
def test_fused_it_gives_the_same(members, mirror):
    """At the size at which all members end, before they enlarge it; else whole: halves are averaged with halves."""
    torch.manual_seed(3)
    network = build_model("ensemble", {"members": members, "mirror": mirror}, pretrained=False).eval()
    for member in network.members:
        last = [module for module in member.modules() if isinstance(module, torch.nn.Conv2d)][-1]
        torch.nn.init.normal_(last.weight, std=0.2)
        if last.bias is not None:
            torch.nn.init.zeros_(last.bias)  # that of bins begins with gray
    L_net = torch.rand(1, 1, 96, 96) * 2 - 1
    with torch.inference_mode():
        expected, found = network(L_net), fuse(network).color(L_net)[0]
    squares = [one["config"].get("output_stride", 2) * one["config"].get("pooling", 1) for one in members]
    ends = [0 if one["name"] == "gan" else 96 // square for one, square in zip(members, squares, strict=True)]
    side = ends[0] if ends[0] == ends[1] else 96
    assert found.shape[2] == side
    if side < 96:
        found = torch.nn.functional.interpolate(found, size=(96, 96), mode="bilinear", align_corners=False)
    assert expected.abs().max() > 0.01
    assert net_to_ab(found - expected).abs().max() < 0.01


def test_members_must_agree_on_what_they_take(tmp_path):
    """A member's fixed size is everyone's; training photographs of two sizes are refused, and a single member."""
    dense = {"name": "autoencoder", "config": {"bottleneck": 8}}
    network = build_model("ensemble", {"members": [PLAIN, dense]}, pretrained=False)
    assert network.fixed_size_px == 224
    with pytest.raises(ShapeError, match="resize it to 224x224"):
        network(torch.zeros(1, 1, 256, 256))
    with pytest.raises(ConfigError, match="members"):
        build_model("ensemble", {"members": [PLAIN]}, pretrained=False)
    saved(tmp_path / "a", 0, PLAIN)
    other = saved(tmp_path / "b", 1, PLAIN)
    checkpoints.save(tmp_path / "b", other, method="unet", training={}, dataset={"image_size": 128}, metrics={})
    with pytest.raises(SystemExit, match="another size"):
        MAIN(str(tmp_path / "both"), str(tmp_path / "a"), str(tmp_path / "b"))
