"""The loss of a network trained without a discriminator: a pixel loss, and further terms."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import torch
from torch import Tensor, nn

from raycolor.errors import ConfigError
from raycolor.models.bins import BinsHead
from raycolor.models.blocks import ColorNet
from raycolor.models.checkpoints import Checkpoint
from raycolor.models.losses import (
    bins_cross_entropy,
    colorfulness_gap,
    distribution_cross_entropy,
    pixel_loss,
)
from raycolor.models.perceptual import PerceptualLoss
from raycolor.models.unet import Subsampled, UNet
from raycolor.training.config import LossConfig
from raycolor.training.teacher import Teacher


class Objective:
    """Runs the network on a batch and takes the loss."""

    def __init__(
        self,
        network: ColorNet,
        config: LossConfig,
        device: torch.device,
        teacher: Checkpoint | None = None,
    ) -> None:
        """Prepare.

        Args:
            network: that will be trained.
            config: the terms and their weights; the pixel loss, which is named, weighs 1.
            device: where batches will be.
            teacher: whose distribution is learned from by `config.distillation`.

        Raises:
            ConfigError: weights of terms that the network does not have, or a teacher that does not fit it.
        """
        self._config = config
        self._unet = network if isinstance(network, UNet) and isinstance(network.head, BinsHead) else None
        if config.balance and self._unet is None:
            raise ConfigError("loss.balance: only unet with network.head=bins takes it: leave it out")
        self._teacher = None
        if teacher is not None:
            if self._unet is None:
                raise ConfigError("teacher: only unet with network.head=bins learns from one: leave it out")
            self._teacher = Teacher(teacher, self._unet, device)
        self._perceptual = PerceptualLoss().to(device) if config.perceptual else None
        self._whole = bool(config.colorfulness or config.perceptual)

    def predict(self, forward: Callable[..., Any] | nn.Module, L_net: Tensor, step: int) -> Tensor | Subsampled:
        """Run the network on (B, 1, H, W); update `step` decides which pixels the bins head is asked for."""
        if self._unet is None:
            return forward(L_net)  # type: ignore[no-any-return]
        return forward(L_net, subsample=_start(self._unet, step), whole=self._whole)  # type: ignore[no-any-return]

    def loss(self, output: Tensor | Subsampled, L_net: Tensor, ab_net: Tensor, step: int) -> dict[str, Tensor]:
        """Compare with the truth (B, 2, H, W), network units.

        Args:
            output: of `predict` for the same `L_net` and `step`.
            L_net: (B, 1, H, W).
            ab_net: (B, 2, H, W).
            step: the update.

        Returns:
            `loss`, the sum, and its terms before weighting if there is more than one; scalars, float32.
        """
        chosen = self._config
        truth = ab_net if chosen.chroma_gain == 1 else ab_net * chosen.chroma_gain
        terms: dict[str, tuple[float, Tensor]] = {}
        if isinstance(output, Subsampled) and self._unet is not None:
            head, start = cast(BinsHead, self._unet.head), _start(self._unet, step)
            sampled = self._unet.sampled(nn.functional.avg_pool2d(truth, self._unet.output_stride), start)
            terms["pixel"] = (1.0, pixel_loss(chosen.pixel_loss, head.mean(output.logits, plain=True), sampled))
            targets = head.targets(sampled)
            head.observe(targets)
            rarity = head.rarity() ** chosen.balance if chosen.balance else None
            terms["classes"] = (
                chosen.classes * (1 - chosen.distillation),
                bins_cross_entropy(output.logits, targets, rarity),
            )
            if self._teacher is not None:
                shares = self._teacher.shares(L_net, start)
                taught = distribution_cross_entropy(output.logits, shares)
                terms["distillation"] = (chosen.classes * chosen.distillation, taught)
            whole = output.ab_net
        else:
            whole = output if isinstance(output, Tensor) else output.ab_net
            if whole is not None:
                terms["pixel"] = (1.0, pixel_loss(chosen.pixel_loss, whole, truth))
        if whole is not None and chosen.colorfulness:
            terms["colorfulness"] = (chosen.colorfulness, colorfulness_gap(whole, truth))
        if whole is not None and self._perceptual is not None:
            terms["perceptual"] = (chosen.perceptual, self._perceptual(L_net, whole, truth))
        total = torch.stack([weight * term for weight, term in terms.values()]).sum()
        parts = {name: term for name, (_, term) in terms.items()} if len(terms) > 1 else {}
        return {"loss": total, **parts}


def _start(network: UNet, step: int) -> tuple[int, int]:
    """Return the first row and column that update `step` asks the bins head for: each in its turn."""
    return step // network.subsample % network.subsample, step % network.subsample
