"""Pixel losses on ab in network units, and the adversarial losses of the GAN."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal

import torch.nn.functional as F
from torch import Tensor

from raycolor.errors import ConfigError

if TYPE_CHECKING:
    from raycolor.models.bins import BinTargets

PixelLoss = Literal["mse", "l1", "huber"]
AdversarialLoss = Literal["lsgan", "minimax"]

HUBER_BETA: Final = 0.03  # 3.3 Lab units: below it errors weigh by their square, above by their size


def pixel_loss(kind: PixelLoss, predicted: Tensor, truth: Tensor) -> Tensor:
    """Average the error of ab over pixels and both channels.

    Args:
        kind: `mse` is equation (1) of the report, averaged instead of summed; `l1` the prose of section 2.7;
            `huber` squares errors below `HUBER_BETA` and takes larger ones by their size.
        predicted: (B, 2, H, W), network units.
        truth: (B, 2, H, W), network units.

    Returns:
        Scalar, float32.

    Raises:
        ConfigError: an unknown kind.
    """
    # bf16 sums lose small errors: the loss is always taken in float32.
    predicted, truth = predicted.float(), truth.float()
    if kind == "mse":
        return F.mse_loss(predicted, truth)
    if kind == "l1":
        return F.l1_loss(predicted, truth)
    if kind == "huber":
        return F.smooth_l1_loss(predicted, truth, beta=HUBER_BETA)
    raise ConfigError(f"pixel loss {kind!r}: unknown: choose mse, l1 or huber")


def bins_cross_entropy(logits: Tensor, targets: BinTargets, rarity: Tensor | None = None) -> Tensor:
    """Average the cross-entropy of predicted distributions over pixels.

    Args:
        logits: (B, K, H, W).
        targets: node (n, B, H, W) of bins and share (n, B, H, W) of each, of the true color.
        rarity: (K,) weight of each bin, None for 1; a pixel weighs as its bins do (Zhang et al. 2016,
            arXiv:1603.08511, equation 2).

    Returns:
        Scalar, float32.
    """
    log_p = logits.float().log_softmax(dim=1)
    found = log_p.gather(1, targets.node.transpose(0, 1)).transpose(0, 1)
    loss = -(targets.share * found).sum(dim=0)
    if rarity is not None:
        loss = loss * (targets.share * rarity[targets.node]).sum(dim=0)
    return loss.mean()


def distribution_cross_entropy(logits: Tensor, shares: Tensor) -> Tensor:
    """Average the cross-entropy of predicted distributions with others over pixels.

    Args:
        logits: (B, K, H, W).
        shares: (B, K, H, W), the other distributions; each sums to 1 over K.

    Returns:
        Scalar, float32.
    """
    return -(shares * logits.float().log_softmax(dim=1)).sum(dim=1).mean()


def colorfulness_gap(predicted: Tensor, truth: Tensor) -> Tensor:
    """Average the difference of colorfulness over photographs.

    Colorfulness here is the spread of ab plus 0.37 of the distance of its mean from gray (Hasler and Suesstrunk 2003,
    their measure in CIELAB), in network units: it has a gradient everywhere.

    Args:
        predicted: (B, 2, H, W), network units.
        truth: (B, 2, H, W), network units.

    Returns:
        Scalar, float32.
    """
    return (_colorfulness(predicted.float()) - _colorfulness(truth.float())).abs().mean()


def _colorfulness(ab_net: Tensor) -> Tensor:
    small = 1e-6  # the root has no slope at 0
    spread = (ab_net.var(dim=(2, 3), unbiased=False).sum(dim=1) + small).sqrt()
    center = (ab_net.mean(dim=(2, 3)).square().sum(dim=1) + small).sqrt()
    return spread + 0.37 * center


def discriminator_loss(kind: AdversarialLoss, real_logits: Tensor, fake_logits: Tensor) -> Tensor:
    """Average the discriminator's loss on true color (label 1) and on predicted color (label 0).

    Args:
        kind: `lsgan` is the report's squared error per patch (section 2.7; Mao et al. 2017, arXiv:1611.04076),
            `minimax` the log form of equation (3), whose second term must read log(1 - D(G(z))).
        real_logits: (B, 1, h, w) for true color.
        fake_logits: (B, 1, h, w) for predicted color.

    Returns:
        Scalar, float32.

    Raises:
        ConfigError: an unknown kind.
    """
    real, fake = real_logits.float(), fake_logits.float()
    if kind == "lsgan":
        return 0.5 * ((real - 1).square().mean() + fake.square().mean())
    if kind == "minimax":
        return 0.5 * (F.softplus(-real).mean() + F.softplus(fake).mean())
    raise ConfigError(f"adversarial loss {kind!r}: unknown: choose lsgan or minimax")


def generator_adversarial_loss(kind: AdversarialLoss, fake_logits: Tensor) -> Tensor:
    """Return the discriminator's loss on predicted color with the label true.

    For `minimax` this is -log D(G(z)), which has the fixed point of equation (3) but does not flatten out while the
    discriminator wins (Goodfellow et al. 2014, section 3).

    Args:
        kind: as in `discriminator_loss`.
        fake_logits: (B, 1, h, w) for predicted color.

    Raises:
        ConfigError: an unknown kind.
    """
    fake = fake_logits.float()
    if kind == "lsgan":
        return (fake - 1).square().mean()
    if kind == "minimax":
        return F.softplus(-fake).mean()
    raise ConfigError(f"adversarial loss {kind!r}: unknown: choose lsgan or minimax")
