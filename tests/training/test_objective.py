"""Laws of what is minimized without a discriminator, and of starting from a checkpoint."""

from __future__ import annotations

import pytest
import torch
from synthetic import step_settings

from raycolor.errors import ConfigError
from raycolor.models import checkpoints
from raycolor.models.bins import BinsHead
from raycolor.models.build import build_discriminator, build_model
from raycolor.models.losses import bins_cross_entropy, colorfulness_gap
from raycolor.models.perceptual import PerceptualLoss
from raycolor.training.config import LossConfig, TrainingConfig
from raycolor.training.encoder import apply_weights, read_weights
from raycolor.training.objective import Objective
from raycolor.training.settings import resolve
from raycolor.training.step import GanStep, PixelStep

CPU = torch.device("cpu")
BINS = {"head": "bins", "pretrained": False, "widths": [16, 16, 8, 8], "convs": 1}


def planes(size: int = 64, count: int = 2) -> tuple[torch.Tensor, torch.Tensor]:
    torch.manual_seed(0)
    L_net = torch.rand(count, 1, size, size) * 2 - 1
    smooth = torch.nn.functional.interpolate(torch.rand(count, 2, 4, 4) * 0.6 - 0.3, size=(size, size), mode="bilinear")
    return L_net, smooth


def test_cross_entropy_is_least_at_the_truth():
    """The true distribution scores its own entropy; any other scores more."""
    torch.manual_seed(0)
    bins = BinsHead(4, 10.0, 1.0, 0.0)
    targets = bins.targets(torch.tensor([0.033, -0.02]).reshape(1, 2, 1, 1))
    dense = torch.zeros(bins.count).index_add_(0, targets.node.flatten(), targets.share.flatten())
    best = bins_cross_entropy((dense + 1e-9).log().reshape(1, -1, 1, 1), targets)
    entropy = -(dense * (dense + 1e-9).log()).sum()
    assert float(best) == pytest.approx(float(entropy), abs=1e-4)
    for seed in range(5):
        noise = torch.randn(bins.count, generator=torch.Generator().manual_seed(seed))
        assert bins_cross_entropy(((dense + 1e-3).log() + noise).reshape(1, -1, 1, 1), targets) > best


def test_rare_bins_weigh_more():
    """A pixel of a bin with weight 3 counts three times."""
    bins = BinsHead(4, 10.0, 1.0, 0.0)
    targets = bins.targets(bins.centers[5].reshape(1, 2, 1, 1))
    logits = torch.randn(1, bins.count, 1, 1)
    rarity = torch.ones(bins.count)
    plain = bins_cross_entropy(logits, targets, rarity)
    rarity[5] = 3.0
    assert float(bins_cross_entropy(logits, targets, rarity)) == pytest.approx(3 * float(plain), rel=1e-4)


def test_colorfulness_gap():
    """Equal colors have none; half the chroma has a larger one than nine tenths; gray has a finite gradient."""
    _, truth = planes()
    assert float(colorfulness_gap(truth, truth)) == 0.0
    assert colorfulness_gap(0.5 * truth, truth) > colorfulness_gap(0.9 * truth, truth) > 0
    gray = torch.zeros_like(truth, requires_grad=True)
    colorfulness_gap(gray, truth).backward()
    assert torch.isfinite(gray.grad).all()


def test_perceptual_distance():
    """None between equal colorings, some between others, and a gradient that reaches the prediction."""
    L_net, truth = planes(size=32, count=1)
    perceptual = PerceptualLoss()
    assert float(perceptual(L_net, truth, truth)) == 0.0
    guess = torch.zeros_like(truth, requires_grad=True)
    loss = perceptual(L_net, guess, truth)
    loss.backward()
    assert float(loss.detach()) > 0
    assert torch.isfinite(guess.grad).all()
    assert float(guess.grad.abs().sum()) > 0


@pytest.mark.parametrize("network", [BINS, {**BINS, "head": "ab"}])
def test_the_loss_is_the_weighted_sum_of_its_terms(network):
    """Total = pixel + weight times each other term, for both heads."""
    L_net, ab_net = planes()
    torch.manual_seed(0)
    net = build_model("unet", network)
    chosen = LossConfig(pixel="huber", classes=0.3, colorfulness=0.5)
    objective = Objective(net, chosen, CPU)
    losses = {k: v.detach() for k, v in objective.loss(objective.predict(net, L_net, 4), L_net, ab_net, 4).items()}
    total = losses["pixel"] + 0.5 * losses["colorfulness"] + 0.3 * losses.get("classes", 0.0)
    assert float(losses["loss"]) == pytest.approx(float(total), rel=1e-5)
    assert ("classes" in losses) == (network["head"] == "bins")


def test_chroma_gain_scales_the_truth():
    """With a gain of 1.2 the least loss is at the truth times 1.2."""
    L_net, ab_net = planes()
    objective = Objective(build_model("regression"), LossConfig(chroma_gain=1.2), CPU)
    assert float(objective.loss(1.2 * ab_net, L_net, ab_net, 0)["loss"]) == pytest.approx(0.0, abs=1e-12)
    assert float(objective.loss(ab_net, L_net, ab_net, 0)["loss"]) > 0


def test_bins_learn_a_picture():
    """Some updates on one batch bring the mean of the distribution towards its color."""
    L_net, ab_net = planes(count=4)
    torch.manual_seed(0)
    settings = step_settings(total_steps=40, lr=1e-2, schedule="constant", pixel="huber", clip_norm=None)
    step = PixelStep(build_model("unet", {**BINS, "frozen_blocks": -1}), settings, CPU)
    first = step.update(L_net, ab_net, ["a"] * 4, 0)
    for k in range(1, 40):
        last = step.update(L_net, ab_net, ["a"] * 4, k)
    assert last["classes"] < 0.7 * first["classes"]
    assert last["pixel"] < 0.65 * first["pixel"]
    assert float(step.network.head.prior.max()) > 2 / step.network.head.count


def resolved(method: str, loss: dict[str, object], **network: object) -> TrainingConfig:
    return resolve(TrainingConfig(method=method, network=network, loss=LossConfig(**loss)))


def test_balance_needs_bins():
    """A weight that nothing would read is refused, with the way out."""
    with pytest.raises(ConfigError, match=r"loss\.balance: only"):
        Objective(build_model("regression"), LossConfig(balance=1.0), CPU)
    with pytest.raises(ConfigError, match=r"loss\.balance: only"):
        resolved("unet", {"balance": 1.0}, pretrained=False)


def test_a_discriminator_is_for_the_unet_too():
    """`loss.discriminator` gives the U-Net one, with its own settings; regression has no use for it."""
    config = resolved("unet", {"discriminator": True}, pretrained=False, discriminator={"base": 8})
    assert config.network["discriminator"]["base"] == 8
    assert (config.optim.beta1, config.loss.pixel) == (0.5, "huber")
    with pytest.raises(ConfigError, match=r"loss\.discriminator"):
        resolved("regression", {"discriminator": True})
    with pytest.raises(ConfigError, match=r"loss\.colorfulness"):
        resolved("unet", {"discriminator": True, "colorfulness": 1.0}, pretrained=False)


def test_the_unet_trains_against_a_discriminator():
    """The short adversarial stage: both networks move, and the pixel loss of a started U-Net stays in sight."""
    L_net, ab_net = planes()
    torch.manual_seed(0)
    net, discriminator = build_model("unet", BINS), build_discriminator({"base": 8, "layers": 2})
    before = [parameter.clone() for parameter in (net.head.conv.weight, next(discriminator.parameters()))]
    step = GanStep(net, discriminator, step_settings(total_steps=4, lr=1e-3, pixel="huber"), CPU)
    for k in range(2):
        losses = step.update(L_net, ab_net, ["a"] * 2, k)
    assert losses["pixel"] < 1
    after = net.head.conv.weight, next(discriminator.parameters())
    assert all(not torch.equal(old, new) for old, new in zip(before, after, strict=True))


def test_training_starts_from_a_checkpoint(tmp_path):
    """What fits in name and shape is taken over, another head is drawn anew; another method is refused."""
    torch.manual_seed(0)
    old = build_model("unet", {**BINS, "head": "ab"})
    checkpoints.save(tmp_path / "old", old, method="unet", training={}, dataset={}, metrics={})
    packed, digest = read_weights(str(tmp_path / "old"), "unet")
    assert len(digest) == 64
    new = build_model("unet", BINS)
    head = new.head.conv.weight.clone()
    apply_weights(new, packed)
    for key, value in old.state_dict().items():
        if not key.startswith("head"):
            assert torch.equal(new.state_dict()[key], value), key
    assert torch.equal(new.head.conv.weight, head)
    with pytest.raises(ConfigError, match="a checkpoint of unet, not gan"):
        read_weights(str(tmp_path / "old"), "gan")
    with pytest.raises(ConfigError, match="none of its weights fit"):
        apply_weights(build_model("gan", {"base": 8, "levels": 3}), packed)


def test_an_encoder_is_taken_over_whole_or_not_at_all():
    """Some layers of another encoder fit in shape, and would be noise where they come to stand."""
    old, new = (build_model("unet", {**BINS, "encoder": encoder}) for encoder in ("lite0", "lite2"))
    before = {key: value.clone() for key, value in new.state_dict().items()}
    apply_weights(new, checkpoints.pack_state(old.state_dict()))
    after = new.state_dict()
    assert all(torch.equal(after[key], before[key]) for key in after if key.startswith("encoder."))
    assert torch.equal(after["head.conv.weight"], old.state_dict()["head.conv.weight"])
