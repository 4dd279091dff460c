"""Laws of the three networks and the discriminator."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

import pytest
import torch

from raycolor.errors import ConfigError, ShapeError
from raycolor.models.build import MODEL_NAMES, build_discriminator, build_model
from raycolor.models.efficientnet import EfficientNetLite
from raycolor.models.regression import RegressionNet, load_encoder_weights
from raycolor.models.resnet import resnet18_to_layer2

SMALL: dict[str, dict[str, Any]] = {
    "regression": {},
    "autoencoder": {"bottleneck": 8},
    "gan": {"base": 8},
    "unet": {"pretrained": False, "frozen_blocks": -1, "convs": 1},
}


def pictures(count: int, size_px: int = 224) -> torch.Tensor:
    """Lightness that varies in a way a network can tell apart."""
    generator = torch.Generator().manual_seed(3)
    coarse = torch.rand(count, 1, 7, 7, generator=generator) * 2 - 1
    return torch.nn.functional.interpolate(coarse, size=(size_px, size_px), mode="bilinear")


@pytest.fixture(autouse=True)
def _one_thread_and_seed():
    torch.manual_seed(0)


@pytest.mark.parametrize("name", MODEL_NAMES)
def test_output_has_two_planes_of_the_input_size(name):
    """Color comes at the size of the input, finite; networks that end in tanh stay in [-1, 1]."""
    model = build_model(name, SMALL[name]).eval()
    height, width = (224, 224) if model.fixed_size_px else (2 * model.stride, 5 * model.stride)
    with torch.no_grad():
        out = model(torch.rand(2, 1, height, width) * 2 - 1)
    assert out.shape == (2, 2, height, width)
    assert torch.isfinite(out).all()
    if name in ("autoencoder", "gan"):
        assert out.abs().max() <= 1


@pytest.mark.parametrize("name", MODEL_NAMES)
def test_both_signs_of_a_and_b_are_reachable(name):
    """No activation stands between the last layer and either sign of a or b (a ReLU there would)."""
    model = build_model(name, SMALL[name]).train()
    if name in ("gan", "unet"):
        last = model.last if name == "gan" else model.head
    else:
        last = [layer for layer in model.decoder if hasattr(layer, "weight")][-1]
    for sign in (-1.0, 1.0):
        with torch.no_grad():
            last.weight.zero_()
            if name == "gan":
                model.last_skip.weight.zero_()
            last.bias.fill_(sign * 0.5)
            out = model(pictures(2))
        expected = torch.tensor(sign * 0.5)
        if name in ("autoencoder", "gan"):
            expected = expected.tanh()
        assert torch.allclose(out, expected.expand_as(out), atol=1e-5)


@pytest.mark.parametrize("name", MODEL_NAMES)
def test_every_parameter_gets_a_gradient(name):
    """No layer is built and then left out of the forward pass."""
    model = build_model(name, SMALL[name]).train()
    model(pictures(2)).square().mean().backward()
    without = [key for key, value in model.named_parameters() if value.grad is None or not value.grad.abs().sum() > 0]
    assert without == []


@pytest.mark.parametrize("name", MODEL_NAMES)
def test_config_rebuilds_the_same_network(name):
    """config() is complete: build_model of it takes the same state dict and gives the same output."""
    model = build_model(name, SMALL[name]).eval()
    twin = build_model(name, model.config()).eval()
    twin.load_state_dict(model.state_dict(), strict=True)
    picture = pictures(1)
    with torch.no_grad():
        assert torch.equal(model(picture), twin(picture))


@pytest.mark.parametrize("name", MODEL_NAMES)
def test_wrong_shapes_are_refused(name):
    """An input the network cannot take is named with the multiple it needs, not an error from inside torch."""
    model = build_model(name, SMALL[name])
    with pytest.raises(ShapeError, match=r"expected \(B, 1, H, W\)"):
        model(torch.zeros(1, 3, 224, 224))
    with pytest.raises(ShapeError, match="resize"):
        model(torch.zeros(1, 1, 225, 224))


def test_unknown_network_and_keys_are_refused_by_name():
    """A typo in a name or key never falls back to a default."""
    with pytest.raises(ConfigError, match="'regresion': unknown: choose one of regression, autoencoder, gan"):
        build_model("regresion")
    with pytest.raises(ConfigError, match="network gan: unknown key 'bases': known keys are base"):
        build_model("gan", {"bases": 8})
    with pytest.raises(ConfigError, match="network gan: base = 7"):
        build_model("gan", {"base": 7})
    with pytest.raises(ConfigError, match="network autoencoder: norm = 'layer'"):
        build_model("autoencoder", {"norm": "layer"})
    with pytest.raises(ConfigError, match="discriminator: unknown key 'depth'"):
        build_discriminator({"depth": 3})


def test_regression_encoder_is_resnet18_to_layer2():
    """The encoder is torchvision's: weights of its ResNet-18 fit and give the same numbers, at 1/8 of the size."""
    from torchvision.models import resnet18

    torch.manual_seed(4)
    theirs = torch.nn.Sequential(OrderedDict(list(resnet18(weights=None).named_children())[:6]))
    for value in theirs.buffers():
        if value.is_floating_point():
            value.uniform_(0.5, 1.5)  # running means and variances
    ours = resnet18_to_layer2(inputs=3)
    ours.load_state_dict(theirs.state_dict(), strict=True)
    rgb = torch.randn(2, 3, 64, 64)
    for training in (True, False):
        found, expected = ours.train(training)(rgb), theirs.train(training)(rgb)
        assert found.shape == (2, 128, 8, 8)
        assert torch.equal(found, expected)
    model = build_model("regression")
    assert isinstance(model, RegressionNet)
    assert model.encoder.state_dict().keys() == theirs.state_dict().keys()


def test_the_regression_encoder_begins_as_a_resnet18_does():
    """The spread of every convolution's first weights is that of torchvision's, to the share that chance allows."""
    from torchvision.models import resnet18

    theirs = torch.nn.Sequential(OrderedDict(list(resnet18(weights=None).named_children())[:6])).state_dict()
    for name, value in resnet18_to_layer2(inputs=3).state_dict().items():
        if value.ndim == 4:
            # Thousands of draws: their standard deviation is known to about 1%.
            assert value.std().item() == pytest.approx(theirs[name].std().item(), rel=0.06), name
        else:
            assert torch.equal(value, theirs[name]), name


def test_encoder_weights_of_three_channels_are_summed_to_gray():
    """A ResNet-18 state gives the response that it gives to a gray picture; a foreign state is refused."""
    from torchvision.models import resnet18

    torch.manual_seed(5)
    resnet = resnet18(weights=None).eval()
    model = build_model("regression").eval()
    assert isinstance(model, RegressionNet)
    load_encoder_weights(model, {"state_dict": {f"module.{k}": v for k, v in resnet.state_dict().items()}}, "x.pth")
    gray = torch.rand(1, 1, 64, 64)
    with torch.no_grad():
        expected = resnet.bn1(resnet.conv1(gray.expand(-1, 3, -1, -1)))
        found = model.encoder.bn1(model.encoder.conv1(gray))
    assert torch.allclose(found, expected, atol=1e-5)
    with pytest.raises(ConfigError, match=r"x\.pth: no layer 'conv1\.weight'"):
        load_encoder_weights(model, {"features.0": torch.zeros(1)}, "x.pth")


def test_autoencoder_has_the_sizes_of_the_report():
    """Section 2.6: four halvings to 256 x 14 x 14, a dense layer to the bottleneck and one back."""
    model = build_model("autoencoder")
    assert (model.squeeze.in_features, model.squeeze.out_features) == (256 * 14 * 14, 256)
    assert (model.expand.in_features, model.expand.out_features) == (256, 256 * 14 * 14)
    convolutions = [m for m in model.encoder if isinstance(m, torch.nn.Conv2d)]
    assert [m.out_channels for m in convolutions] == [32, 64, 128, 256]
    with pytest.raises(ShapeError, match="224x224"):
        model(torch.zeros(1, 1, 256, 256))


@pytest.mark.parametrize(("layers", "expected"), [(0, (64, 64)), (3, (6, 6))])
def test_discriminator_gives_one_logit_per_patch(layers, expected):
    """With 0 layers every pixel is judged, with 3 patches; both L and ab change the verdict."""
    discriminator = build_discriminator({"base": 8, "layers": layers})
    L_net, ab_net = torch.rand(2, 1, 64, 64), torch.rand(2, 2, 64, 64, requires_grad=True)
    out = discriminator(L_net, ab_net)
    assert out.shape == (2, 1, *expected)
    assert not torch.equal(out, discriminator(-L_net, ab_net))
    out.square().sum().backward()
    assert ab_net.grad is not None
    assert ab_net.grad.abs().sum() > 0
    assert all(p.grad is not None for p in discriminator.parameters())
    with pytest.raises(ShapeError, match=r"\(B, 2, H, W\)"):
        discriminator(L_net, L_net)


@pytest.mark.parametrize("name", ["regression", "gan", "unet"])
def test_a_long_strip_passes(name):
    """Convolutional networks take any multiple of the stride, also one cell high."""
    model = build_model(name, SMALL[name]).eval()
    with torch.no_grad():
        assert model(torch.zeros(1, 1, model.stride, 40 * model.stride)).shape[-1] == 40 * model.stride


@pytest.mark.parametrize(
    ("variant", "skips", "deepest"), [("lite0", (16, 24, 40, 112), 320), ("lite2", (16, 24, 48, 120), 352)]
)
def test_encoders_take_over_the_published_weights(variant, skips, deepest):
    """Every layer finds its weights in the package, and features come at a half, a quarter ... of the size."""
    encoder = EfficientNetLite(variant).eval()
    drawn = {key: value.clone() for key, value in encoder.state_dict().items() if key.endswith("weight")}
    encoder.load_imagenet()
    state = encoder.state_dict()
    assert not [key for key, value in drawn.items() if torch.equal(value, state[key])]
    with torch.no_grad():
        features = encoder(pictures(1, 64))
    assert [tuple(x.shape[1:]) for x in features] == [
        (channels, 64 >> number, 64 >> number) for number, channels in enumerate((*skips, deepest), 1)
    ]
    assert (encoder.skip_channels, encoder.channels) == (skips, deepest)
