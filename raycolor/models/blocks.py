"""Pieces that the networks share: the ColorNet base, configuration, normalization, upsampling, initialization."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, ClassVar, Final, Literal, TypeVar

import torch
from pydantic import BaseModel, ConfigDict, ValidationError
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from raycolor.errors import ConfigError, ShapeError

Norm = Literal["batch", "group", "instance", "none"]
UpsampleMode = Literal["nearest", "bilinear"]


class NetworkConfig(BaseModel):
    """Base of a network's configuration: frozen, unknown keys refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


ConfigT = TypeVar("ConfigT", bound=NetworkConfig)


def read_config(kind: type[ConfigT], owner: str, values: Mapping[str, Any] | None) -> ConfigT:
    """Validate a plain mapping as a network's configuration.

    Args:
        kind: the configuration class.
        owner: what the message calls it, for example `network regression`.
        values: keys of `kind`; missing ones take their defaults. None is an empty mapping.

    Raises:
        ConfigError: an unknown key or a value out of bounds, the first one named.
    """
    try:
        return kind.model_validate(dict(values or {}))
    except ValidationError as exc:
        first = exc.errors()[0]
        key = ".".join(str(part) for part in first["loc"]) or "value"
        if first["type"] == "extra_forbidden":
            known = ", ".join(sorted(kind.model_fields)) or "none"
            raise ConfigError(f"{owner}: unknown key {key!r}: known keys are {known}") from exc
        raise ConfigError(f"{owner}: {key} = {first['input']!r}: {first['msg'].lower()}") from exc


class ColorNet(nn.Module):
    """A network from lightness to color.

    Attributes:
        name: what `build_model` calls it.
        fusible: whether it is made of torch's layers and has weights; one of others computes as it is.
        stride: height and width of the input are multiples of it; padding or resizing is the caller's job.
        fixed_size_px: the only height and width it takes, where a dense layer fixes it; else None.
        input_px: side of the square as large as the input in which it sees a photograph best, where its configuration
            says so; else None.
        last_doublings: names of the `Upsample`s that do nothing but enlarge the finished color, all by one factor: one,
            or as many as networks answer together.
    """

    name: ClassVar[str]
    fusible: ClassVar[bool] = True
    stride: int
    fixed_size_px: int | None = None
    input_px: int | None = None
    last_doublings: tuple[str, ...] = ()

    def __init__(self, settings: NetworkConfig) -> None:
        super().__init__()
        self.settings = settings

    def config(self) -> dict[str, Any]:
        """Return the complete configuration, plain values, that `build_model(name, config)` takes."""
        return self.settings.model_dump()

    def parameter_count(self) -> int | None:
        """Return how many numbers were trained, frozen ones included; None where nobody can tell."""
        return sum(parameter.numel() for parameter in self.parameters())

    def parameter_groups(self) -> list[tuple[Iterable[nn.Parameter], float]]:
        """Return groups of parameters with the share of the learning rate that each is trained at."""
        return [(self.parameters(), 1.0)]

    def color(self, L_net: Tensor) -> tuple[Tensor, Tensor | None]:
        """Predict color and the confidence in it.

        Args:
            L_net: (B, 1, H, W) in [-1, 1].

        Returns:
            ab (B, 2, H, W), network units, and confidence (B,) in 0..1, or None from a network that cannot tell.
        """
        return self(L_net), None

    def color_with(self, tta: str, L_net: Tensor) -> tuple[Tensor, Tensor | None]:
        """Predict as `color` does; with `tta` "flip" the mean of that and of what the mirrored photograph gives."""
        ab_net, confidence = self.color(L_net)
        if tta != "flip":
            return ab_net, confidence
        mirrored, mirrored_confidence = self.color(L_net.flip(3))
        both = (ab_net.float() + mirrored.float().flip(3)) / 2
        return both, None if confidence is None or mirrored_confidence is None else (
            confidence + mirrored_confidence
        ) / 2

    def check_input(self, L_net: Tensor) -> None:
        """Refuse an input that the network cannot take.

        Raises:
            ShapeError: not (B, 1, H, W), or H or W is no multiple of `stride` or not `fixed_size_px`.
        """
        if L_net.ndim != 4 or L_net.shape[1] != 1:
            raise ShapeError(f"{self.name}: input of shape {tuple(L_net.shape)}: expected (B, 1, H, W)")
        height, width = int(L_net.shape[2]), int(L_net.shape[3])
        if self.fixed_size_px is not None and (height, width) != (self.fixed_size_px, self.fixed_size_px):
            raise ShapeError(
                f"{self.name}: input of {width}x{height} px: resize it to {self.fixed_size_px}x{self.fixed_size_px}"
            )
        if height % self.stride or width % self.stride or not height or not width:
            raise ShapeError(f"{self.name}: input of {width}x{height} px: pad or resize to multiples of {self.stride}")


def norm_layer(kind: Norm, channels: int) -> nn.Module:
    """Return a normalization of (B, channels, H, W); `none` is the identity.

    Group normalization takes groups of 16 channels (at least 1 group), so it also works on a 1x1 plane,
    where instance normalization has nothing to normalize.
    """
    if kind == "batch":
        return nn.BatchNorm2d(channels)
    if kind == "group":
        return nn.GroupNorm(max(1, channels // 16), channels)
    if kind == "instance":
        return nn.InstanceNorm2d(channels, affine=True)
    return nn.Identity()


class Upsample(nn.Module):
    """Enlarge height and width without parameters: (B, C, H, W) -> (B, C, factor H, factor W)."""

    def __init__(self, mode: UpsampleMode, factor: int = 2) -> None:
        super().__init__()
        self.mode, self.factor = mode, float(factor)

    def forward(self, x: Tensor) -> Tensor:
        if self.mode == "nearest":
            return nn.functional.interpolate(x, scale_factor=self.factor, mode="nearest")
        return nn.functional.interpolate(x, scale_factor=self.factor, mode="bilinear", align_corners=False)


_FILLS: Final = {"normal_", "uniform_", "kaiming_normal_", "kaiming_uniform_"}


class _Unfilled(TorchFunctionMode):
    """Skips filling tensors with random numbers."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if getattr(func, "__name__", "") in _FILLS:
            return kwargs["tensor"] if "tensor" in kwargs else args[0]
        return func(*args, **kwargs)


@contextmanager
def shapes_alone() -> Iterator[None]:
    """Build networks without memory for their weights, to ask for shapes.

    Random numbers for tensors without memory would be drawn by a part of torch that takes seconds to import.
    """
    with torch.device("meta"), _Unfilled():
        yield


def init_he(module: nn.Module) -> None:
    """Initialize the layers below `module` that feed a ReLU so that the signal keeps its variance.

    Source: He et al. 2015, arXiv:1502.01852, equation 10 (fan-in, gain 2).
    """
    for layer in module.modules():
        if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d | nn.Linear):
            fan_in = layer.weight[0].numel()
            if isinstance(layer, nn.ConvTranspose2d):
                # An output pixel of a transposed convolution sees every input channel through kernel/stride^2 taps.
                taps = layer.kernel_size[0] * layer.kernel_size[1] / (layer.stride[0] * layer.stride[1])
                fan_in = max(1, round(layer.in_channels * taps))
            nn.init.normal_(layer.weight, std=(2.0 / fan_in) ** 0.5)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)


def to_channels_last(module: nn.Module) -> nn.Module:
    """Store the weights in the memory order in which convolutions run fastest on CPUs and tensor cores."""
    return module.to(memory_format=torch.channels_last)
