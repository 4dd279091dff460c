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
    shrinkage: float = Field(
        0.0, ge=0, le=4, description="how far the bins head holds a color back where its distribution disagrees"
    )
    pooling: Literal[1, 2, 4] = Field(
        1, description="side of the squares of features that the bins head is read at: 2 reads a quarter"
    )
    output_stride: Literal[2, 4] = Field(
        2, description="side of the squares that color is predicted for: 4 leaves out two fifths of the arithmetic"
    )
    input_px: int | None = Field(
        None, ge=64, le=1024, description="side at which it sees photographs; null for that of those it was trained on"
    )


_BINS_LR = 5.0  # the bins head's share of the learning rate


class DecoderLevel(nn.Module):
    """Double the size, or with `fold` fold the skip, of double the size, into four times its channels; join, convolve.

    Folded, nothing of the skip is lost, and the convolutions run over a quarter of the pixels (Shi et al. 2016,
    arXiv:1609.05158, the other way round).
    """

    def __init__(self, inputs: int, skip: int, outputs: int, convs: int, *, fold: bool = False) -> None:
        super().__init__()
        self.resize: nn.Module = nn.Identity() if fold else Upsample("bilinear")
        self.fold: nn.Module = nn.PixelUnshuffle(2) if fold else nn.Identity()
        layers: list[nn.Module] = []
        for number in range(convs):
            channels = inputs + skip * (4 if fold else 1) if number == 0 else outputs
            layers += [
                nn.Conv2d(channels, outputs, 3, padding=1, bias=False),
                nn.BatchNorm2d(outputs),
                nn.ReLU(inplace=True),
            ]
        self.convs = nn.Sequential(*layers)

    def forward(self, x: Tensor, skip: Tensor) -> Tensor:
        return self.convs(torch.cat([self.resize(x), self.fold(skip)], dim=1))  # type: ignore[no-any-return]


# Of the plane that color is predicted on: all of it would cost more than half of the rest of the network.
_SUBSAMPLES: Final = {2: 3, 4: 2}


class Subsampled(NamedTuple):
    """What training on the bins head reads: some pixels of its plane, and the whole color if asked."""

    logits: Tensor
    """(B, K, ...): every `UNet.subsample`-th pixel of every `UNet.subsample`-th row of the last features."""
    ab_net: Tensor | None
    """(B, 2, H, W), network units."""


class UNet(ColorNet):
    """A U-Net on a pretrained encoder; ab is computed at half size, or a quarter of it, and enlarged.

    Attributes:
        output_stride: side of the squares of the input, pixels, that the last features are of.
        subsample: training asks the bins head for one pixel of so many, in rows and in columns.
    """

    name: ClassVar[str] = "unet"

    def __init__(self, settings: UNetConfig, *, load: bool = True) -> None:
        super().__init__(settings)
        self._options = settings
        self.stride, self.input_px = 32, settings.input_px
        self.output_stride, self.subsample = settings.output_stride, _SUBSAMPLES[settings.output_stride]
        self.encoder = EfficientNetLite(settings.encoder)
        self.dropout = nn.Dropout2d(settings.dropout)
        self.levels = nn.ModuleList()
        inputs = self.encoder.channels
        for skip, width in zip(reversed(self.encoder.skip_channels), settings.widths, strict=True):
            last = len(self.levels) == len(settings.widths) - 1
            fold = last and self.output_stride == 4
            self.levels.append(DecoderLevel(inputs, skip, width, settings.convs, fold=fold))
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
                settings.shrinkage,
                settings.pooling,
            )
        else:
            self.head = nn.Conv2d(inputs, 2, kernel_size=3, padding=1)
            nn.init.normal_(self.head.weight, std=1e-3)
            nn.init.zeros_(self.head.bias)  # type: ignore[arg-type]
        pooling = settings.pooling if settings.head == "bins" else 1
        self.resize = Upsample("bilinear", self.output_stride * pooling)
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
            subsample: of the bins head, in training: return the logits of every `subsample`-th pixel, from this row
                and column of the last features on.
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
        logits = self.head(self.sampled(features, subsample))
        if not whole:
            return Subsampled(logits, None)
        ab_net = self.head.mean(self.head(features)) if isinstance(self.head, BinsHead) else self.head(features)
        return Subsampled(logits, Upsample("bilinear", self.output_stride)(ab_net))

    def sampled(self, plane: Tensor, start: tuple[int, int]) -> Tensor:
        """Return the pixels of a plane of the last features' size, (B, C, h, w), that training asks for."""
        return plane[:, :, start[0] :: self.subsample, start[1] :: self.subsample]

    def color(self, L_net: Tensor) -> tuple[Tensor, Tensor | None]:
        """See `ColorNet.color`; the bins head gives a confidence."""
        features = self.features(L_net)
        if not isinstance(self.head, BinsHead):
            return self.resize(self.head(features)), None
        ab_net, confidence = read_features([self.head], [features])
        return self.resize(ab_net), confidence

    def features(self, L_net: Tensor) -> Tensor:
        """Return the last features of the decoder (B, C, H / output_stride, W / output_stride) for (B, 1, H, W)."""
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
