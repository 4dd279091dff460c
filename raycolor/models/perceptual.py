"""Perceptual distance of two colorings, in features of a pretrained network."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from raycolor.color import scale
from raycolor.color.lab import lab_to_rgb
from raycolor.models.efficientnet import EfficientNetLite

_LEVELS = 4  # features at 1/2 to 1/16 of the picture


class PerceptualLoss(nn.Module):
    """Mean difference of unit-length features of EfficientNet-Lite0, over four sizes.

    Source: Johnson et al. 2016, arXiv:1603.08155; features scaled to unit length per pixel as in Zhang et al. 2018,
    arXiv:1801.03924. The network is the one the U-Net starts from, with its three channels of color.
    """

    def __init__(self) -> None:
        super().__init__()
        self.encoder = EfficientNetLite(channels=3)
        self.encoder.load_imagenet()
        self.encoder.requires_grad_(False)
        self.eval()

    def train(self, mode: bool = True) -> PerceptualLoss:
        """See `nn.Module.train`; statistics stay as they were published."""
        return super().train(False)

    def forward(self, L_net: Tensor, ab_net: Tensor, truth: Tensor) -> Tensor:
        """Compare two colorings of the same lightness.

        Args:
            L_net: (B, 1, H, W), network units.
            ab_net: (B, 2, H, W), network units; the gradient runs to it.
            truth: (B, 2, H, W), network units.

        Returns:
            Scalar, float32.
        """
        seen = self._features(L_net, ab_net)
        with torch.no_grad():
            wanted = self._features(L_net, truth)
        gaps = [(mine - theirs).abs().sum(dim=1).mean() for mine, theirs in zip(seen, wanted, strict=True)]
        return torch.stack(gaps).mean()

    def _features(self, L_net: Tensor, ab_net: Tensor) -> list[Tensor]:
        lab = torch.cat([scale.net_to_L(L_net.float()), scale.net_to_ab(ab_net.float())], dim=1)
        features = self.encoder(lab_to_rgb(lab).clamp(0, 1) * 2 - 1)[:_LEVELS]
        return [nn.functional.normalize(feature.float(), dim=1, eps=1e-6) for feature in features]
