"""Trained networks whose distributions over colors another network learns from (distillation)."""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn

from raycolor.errors import ConfigError
from raycolor.models.bins import BinsHead
from raycolor.models.blocks import ColorNet, to_channels_last
from raycolor.models.checkpoints import Checkpoint
from raycolor.models.unet import UNet


class Teacher:
    """What a checkpoint with bins heads, a U-Net or an ensemble of some, says of training photographs.

    Source: Hinton, Vinyals & Dean 2015, arXiv:1503.02531, at temperature 1.
    """

    def __init__(self, checkpoint: Checkpoint, learner: UNet, device: torch.device) -> None:
        """Load the networks.

        Args:
            checkpoint: never trained here.
            learner: the network that learns, with a bins head; both predict shares of the same colors.
            device: where batches will be.

        Raises:
            ConfigError: a network without a bins head, or with another grid.
            CheckpointError: the checkpoint cannot be loaded.
        """
        network = to_channels_last(checkpoint.model().to(device)).requires_grad_(False)
        head = cast(BinsHead, learner.head)
        members = getattr(network, "members", None)
        self._learner = learner
        self._networks: list[UNet] = []
        for member in cast(list[ColorNet], list(members) if isinstance(members, nn.ModuleList) else [network]):
            if not isinstance(member, UNet) or not isinstance(member.head, BinsHead):
                raise ConfigError(f"teacher {checkpoint.source}: {member.name} predicts no distribution: name another")
            if member.head.count != head.count or member.head.spacing != head.spacing:
                raise ConfigError(
                    f"teacher {checkpoint.source}: its bins are {member.head.spacing:g} Lab units apart, those of this "
                    f"network {head.spacing:g}: use the same network.bin_spacing"
                )
            self._networks.append(member)

    @torch.no_grad()
    def shares(self, L_net: Tensor, start: tuple[int, int]) -> Tensor:
        """Return the networks' mean distribution at the pixels that a training asks for.

        Args:
            L_net: (B, 1, H, W).
            start: first row and column of the learner's last features; see `UNet.sampled`.

        Returns:
            (B, K, h, w) float32, sums to 1 over K.
        """
        size = [side // self._learner.output_stride for side in L_net.shape[2:]]
        found = []
        for network in self._networks:
            features = nn.functional.interpolate(network.features(L_net), size=size, mode="area")
            found.append(network.head(self._learner.sampled(features, start)).float().softmax(dim=1))
        return torch.stack(found).mean(dim=0)
