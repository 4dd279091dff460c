"""Method 3 of the report: a U-Net generator and a PatchGAN discriminator on (L, ab)."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from pydantic import Field
from torch import Tensor, nn

from raycolor.errors import ShapeError
from raycolor.models.blocks import ColorNet, NetworkConfig, Norm, Upsample, UpsampleMode, norm_layer


class GanConfig(NetworkConfig):
    """Configuration of the generator."""

    base: int = Field(32, ge=8, le=128, multiple_of=8, description="channels of the first level")
    levels: int = Field(5, ge=2, le=8, description="halvings; height and width are multiples of 2^levels")
    max_multiple: int = Field(8, ge=1, le=16, description="widest level in multiples of `base`")
    norm: Norm = Field("group", description="normalization behind every convolution but the first and last")
    upsample: UpsampleMode = Field("nearest", description="resizing before each convolution of the decoder")
    dropout: float = Field(0.0, ge=0.0, lt=1.0, description="dropout in the three deepest levels (pix2pix: 0.5)")


class Down(nn.Module):
    """Halve height and width: (B, C, H, W) -> (B, outputs, H/2, W/2)."""

    def __init__(self, inputs: int, outputs: int, norm: Norm) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, kernel_size=4, stride=2, padding=1, bias=norm == "none")
        self.norm = norm_layer(norm, outputs)

    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.leaky_relu(self.norm(self.conv(x)), 0.2)


class Up(nn.Module):
    """Double height and width: (B, C, H, W) -> (B, outputs, 2H, 2W)."""

    def __init__(self, inputs: int, outputs: int, norm: Norm, mode: UpsampleMode, dropout: float) -> None:
        super().__init__()
        # Resizing before a plain convolution: transposed ones leave checkerboards (Odena et al. 2016).
        self.resize = Upsample(mode)
        self.conv = nn.Conv2d(inputs, outputs, kernel_size=3, padding=1, bias=norm == "none")
        self.norm = norm_layer(norm, outputs)
        self.dropout = nn.Dropout2d(dropout)

    def forward(self, x: Tensor) -> Tensor:
        return self.dropout(nn.functional.relu(self.norm(self.conv(self.resize(x)))))  # type: ignore[no-any-return]


class GanGenerator(ColorNet):
    """U-Net with skip connections at every level, the input itself among them; tanh at the end.

    Source: Isola et al. 2017, arXiv:1611.07004, with resize-convolutions and a narrower base.
    """

    name: ClassVar[str] = "gan"

    def __init__(self, settings: GanConfig) -> None:
        super().__init__(settings)
        self.stride = 2**settings.levels
        widths = [settings.base * min(2**level, settings.max_multiple) for level in range(settings.levels)]
        self.downs = nn.ModuleList(
            Down(1 if level == 0 else widths[level - 1], width, "none" if level == 0 else settings.norm)
            for level, width in enumerate(widths)
        )
        self.ups = nn.ModuleList()
        inputs = widths[-1]
        for level in reversed(range(settings.levels)):
            outputs = widths[level - 1] if level else settings.base
            dropout = settings.dropout if level >= settings.levels - 3 else 0.0
            self.ups.append(Up(inputs, outputs, settings.norm, settings.upsample, dropout))
            inputs = 2 * outputs
        # L at full resolution tells the last layer where the edges are. Two convolutions added up are one on the
        # concatenation, without copying the widest plane of the network to make room for a 33rd channel.
        self.last = nn.Conv2d(settings.base, 2, kernel_size=3, padding=1)
        self.last_skip = nn.Conv2d(1, 2, kernel_size=3, padding=1, bias=False)

    def forward(self, L_net: Tensor) -> Tensor:
        """Predict color.

        Args:
            L_net: (B, 1, H, W) in [-1, 1], H and W multiples of `stride`.

        Returns:
            (B, 2, H, W) network units in [-1, 1].

        Raises:
            ShapeError: the input has another shape.
        """
        self.check_input(L_net)
        skips = []
        x = L_net
        for down in self.downs:
            skips.append(x)
            x = down(x)
        for up in self.ups[:-1]:
            x = torch.cat([up(x), skips.pop()], dim=1)
        x = self.ups[-1](x)
        return (self.last(x) + self.last_skip(L_net)).tanh()  # type: ignore[no-any-return]


class DiscriminatorConfig(NetworkConfig):
    """Configuration of the discriminator."""

    base: int = Field(32, ge=8, le=128, multiple_of=8, description="channels of the first layer")
    layers: int = Field(3, ge=0, le=5, description="halvings; 0: a logit per pixel, 3: per patch of 70 px")
    norm: Norm = Field("instance", description="normalization behind every convolution but the first and last")


class PatchDiscriminator(nn.Module):
    """Tell true from predicted color by patches: one logit per patch of (L, ab).

    Source: Isola et al. 2017, arXiv:1611.07004, appendix 6.1.2.
    """

    def __init__(self, settings: DiscriminatorConfig) -> None:
        super().__init__()
        self.settings = settings
        layers: list[nn.Module] = []
        bias = settings.norm == "none"
        inputs, outputs = 3, settings.base
        for level in range(settings.layers):
            layers.append(nn.Conv2d(inputs, outputs, 4, stride=2, padding=1, bias=bias or level == 0))
            if level:
                layers.append(norm_layer(settings.norm, outputs))
            layers.append(nn.LeakyReLU(0.2))
            inputs, outputs = outputs, min(2 * outputs, 8 * settings.base)
        kernel, padding = (4, 1) if settings.layers else (1, 0)
        layers.append(nn.Conv2d(inputs, outputs, kernel, padding=padding, bias=bias or settings.layers == 0))
        if settings.layers:
            layers.append(norm_layer(settings.norm, outputs))
        layers += [nn.LeakyReLU(0.2), nn.Conv2d(outputs, 1, kernel, padding=padding)]
        self.layers = nn.Sequential(*layers)

    def config(self) -> dict[str, Any]:
        """Return the complete configuration that `build_discriminator` takes."""
        return self.settings.model_dump()

    def forward(self, L_net: Tensor, ab_net: Tensor) -> Tensor:
        """Return a logit per patch.

        Args:
            L_net: (B, 1, H, W) in [-1, 1]; H and W at least 32.
            ab_net: (B, 2, H, W) network units.

        Returns:
            (B, 1, h, w) logits, high for true color; (h, w) = (H, W) with `layers` 0.

        Raises:
            ShapeError: the shapes do not fit together.
        """
        if L_net.ndim != 4 or L_net.shape[1] != 1 or ab_net.shape != (L_net.shape[0], 2, *L_net.shape[2:]):
            raise ShapeError(
                f"discriminator: L of shape {tuple(L_net.shape)} with ab of shape {tuple(ab_net.shape)}: "
                "expected (B, 1, H, W) and (B, 2, H, W)"
            )
        planes = torch.cat([L_net, ab_net], dim=1).contiguous(memory_format=torch.channels_last)
        return self.layers(planes)  # type: ignore[no-any-return]
