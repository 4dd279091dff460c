"""A U-Net on a pretrained encoder: EfficientNet-Lite with skips into a resize-convolution decoder."""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar, Final, Literal, NamedTuple

import torch
from pydantic import Field
from torch import Tensor, nn

from raycolor.models.bins import BinsHead, read_features
from raycolor.models.blocks import ColorNet, NetworkConfig, Upsample, init_he
from raycolor.models.efficientnet import EfficientNetLite, Variant


class UNetConfig(NetworkConfig):
    """Configuration of the U-Net."""

    pretrained: bool = Field(True, description="start the encoder from the ImageNet weights of the installed package")
    encoder: Variant = Field("lite0", description="EfficientNet-Lite: lite2 errs a little less, at a sixth more time")
    frozen_blocks: int = Field(5, ge=-1, le=21, description="first encoder blocks that stay as they are; -1 for none")
    widths: list[int] = Field(
        [128, 96, 64, 48], min_length=4, max_length=4, description="decoder channels, deepest first"
    )
    encoder_lr: float = Field(0.2, ge=0, le=1, description="the encoder's share of the learning rate")
    convs: int = Field(2, ge=1, le=3, description="convolutions in each decoder level")
    dropout: float = Field(0.0, ge=0, lt=1, description="dropout of whole channels of the deepest features")
    head: Literal["ab", "bins"] = Field("ab", description="what is predicted: ab itself, or a distribution over it")
    bin_spacing: float = Field(10.0, ge=4, le=40, description="distance of the nodes of the bins head, Lab units")
    temperature: float = Field(1.0, gt=0.05, le=2, description="of the bins head's mean: below 1 more vivid")
    rebalance: float = Field(0.0, ge=0, le=1, description="how far the bins head brings rare colors forward")
    saturation: float = Field(1.0, ge=0, le=3, description="factor on the color that the bins head is read as")
    pooling: Literal[1, 2, 4] = Field(
        1, description="side of the squares of features that the bins head is read at: 2 reads a quarter"
    )
    input_px: int | None = Field(
        None, ge=64, le=1024, description="side at which it sees photographs; null for that of those it was trained on"
    )


_BINS_LR = 5.0  # the bins head's share of the learning rate


class DecoderLevel(nn.Module):
    """Double the size, join the skip, convolve."""

    def __init__(self, inputs: int, skip: int, outputs: int, convs: int) -> None:
        super().__init__()
        self.resize = Upsample("bilinear")
        layers: list[nn.Module] = []
        for number in range(convs):
            channels = inputs + skip if number == 0 else outputs
            layers += [
                nn.Conv2d(channels, outputs, 3, padding=1, bias=False),
                nn.BatchNorm2d(outputs),
                nn.ReLU(inplace=True),
            ]
        self.convs = nn.Sequential(*layers)

    def forward(self, x: Tensor, skip: Tensor) -> Tensor:
        return self.convs(torch.cat([self.resize(x), skip], dim=1))  # type: ignore[no-any-return]


SUBSAMPLE: Final = 3  # all pixels of the bins head would cost more than half of the rest of the network


class Subsampled(NamedTuple):
    """What training on the bins head reads: some pixels of the half-size plane, and the whole color if asked."""

    logits: Tensor
    """(B, K, ...): every `SUBSAMPLE`-th pixel of every `SUBSAMPLE`-th row of the half-size plane."""
    ab_net: Tensor | None
    """(B, 2, H, W), network units."""


class UNet(ColorNet):
    """A U-Net on a pretrained encoder; ab is computed at half size and enlarged."""

    name: ClassVar[str] = "unet"

    def __init__(self, settings: UNetConfig, *, load: bool = True) -> None:
        super().__init__(settings)
        self._options = settings
        self.stride, self.input_px = 32, settings.input_px
        self.encoder = EfficientNetLite(settings.encoder)
        self.dropout = nn.Dropout2d(settings.dropout)
        self.levels = nn.ModuleList()
        inputs = self.encoder.channels
        for skip, width in zip(reversed(self.encoder.skip_channels), settings.widths, strict=True):
            self.levels.append(DecoderLevel(inputs, skip, width, settings.convs))
            inputs = width
        init_he(self.levels)
        self.head: nn.Conv2d | BinsHead
        if settings.head == "bins":
            self.head = BinsHead(
                inputs,
                settings.bin_spacing,
                settings.temperature,
                settings.rebalance,
                settings.saturation,
                settings.pooling,
            )
        else:
            self.head = nn.Conv2d(inputs, 2, kernel_size=3, padding=1)
            nn.init.normal_(self.head.weight, std=1e-3)
            nn.init.zeros_(self.head.bias)  # type: ignore[arg-type]
        self.resize = Upsample("bilinear", 2 * settings.pooling if settings.head == "bins" else 2)
        self.last_doublings = ("resize",)
        if settings.pretrained and load:
            self.encoder.load_imagenet()
        for module in self.encoder.first(settings.frozen_blocks):
            module.requires_grad_(False)

    def parameter_groups(self) -> list[tuple[Iterable[nn.Parameter], float]]:
        """See `ColorNet.parameter_groups`; what is pretrained moves slowly, logits have a long way to go."""
        head_lr = _BINS_LR if isinstance(self.head, BinsHead) else 1.0
        return [
            (self.encoder.parameters(), self._options.encoder_lr),
            (self.levels.parameters(), 1.0),
            (self.head.parameters(), head_lr),
        ]

    def train(self, mode: bool = True) -> UNet:
        """See `nn.Module.train`; frozen blocks keep their running statistics."""
        super().train(mode)
        for module in self.encoder.first(self._options.frozen_blocks):
            module.eval()
        return self

    def forward(
        self, L_net: Tensor, *, subsample: tuple[int, int] | None = None, whole: bool = True
    ) -> Tensor | Subsampled:
        """Predict color.

        Args:
            L_net: (B, 1, H, W) in [-1, 1], H and W multiples of 32.
            subsample: of the bins head, in training: return the logits of every `SUBSAMPLE`-th pixel, from this row and
                column of the half-size plane on.
            whole: with `subsample`: the color of all pixels, too.

        Returns:
            (B, 2, H, W), network units; with `subsample` a `Subsampled`.

        Raises:
            ShapeError: the input has another shape.
        """
        features = self.features(L_net)
        if subsample is None:
            if isinstance(self.head, BinsHead) and features.device.type != "cpu" and not features.requires_grad:
                return self.resize(read_features([self.head], [features])[0])  # type: ignore[no-any-return]
            return self.resize(self._read(features))  # type: ignore[no-any-return]
        logits = self.head(features[:, :, subsample[0] :: SUBSAMPLE, subsample[1] :: SUBSAMPLE])
        if not whole:
            return Subsampled(logits, None)
        ab_net = self.head.mean(self.head(features)) if isinstance(self.head, BinsHead) else self.head(features)
        return Subsampled(logits, Upsample("bilinear")(ab_net))

    def color(self, L_net: Tensor) -> tuple[Tensor, Tensor | None]:
        """See `ColorNet.color`; the bins head gives a confidence."""
        features = self.features(L_net)
        if not isinstance(self.head, BinsHead):
            return self.resize(self.head(features)), None
        ab_net, confidence = read_features([self.head], [features])
        return self.resize(ab_net), confidence

    def features(self, L_net: Tensor) -> Tensor:
        """Return the last features of the decoder (B, C, H / 2, W / 2) for (B, 1, H, W)."""
        self.check_input(L_net)
        *skips, x = self.encoder(L_net)
        x = self.dropout(x)
        for level, skip in zip(self.levels, reversed(skips), strict=True):
            x = level(x, skip)
        return x  # type: ignore[no-any-return]

    def _read(self, features: Tensor) -> Tensor:
        """Return color of features, by operations that torch can export and differentiate."""
        if isinstance(self.head, BinsHead):
            return self.head.mean(self.head.at_reading(features))
        return self.head(features)  # type: ignore[no-any-return]
