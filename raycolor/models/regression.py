"""Method 1 of the report: the first six children of a ResNet-18 and a decoder of plain convolutions and upsampling."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from pydantic import Field
from torch import Tensor, nn

from raycolor.errors import ConfigError
from raycolor.models.blocks import ColorNet, NetworkConfig, Norm, Upsample, UpsampleMode, norm_layer
from raycolor.models.resnet import resnet18_to_layer2

ENCODER_CHANNELS = 128  # of layer2 in a ResNet-18, at 1/8 of the input


class RegressionConfig(NetworkConfig):
    """Configuration of the regression network."""

    norm: Norm = Field("batch", description="normalization in the decoder")
    upsample: UpsampleMode = Field("bilinear", description="parameter-free upsampling in the decoder")


class RegressionNet(ColorNet):
    """ResNet-18 to layer2, then 128-128-64-64-32-2 with three doublings (section 2.3).

    The last convolution is linear: the ReLU of the report's table would forbid negative a and b.
    """

    name: ClassVar[str] = "regression"
    stride = 8

    def __init__(self, settings: RegressionConfig) -> None:
        super().__init__(settings)
        self.encoder = resnet18_to_layer2()

        def conv(inputs: int, outputs: int) -> list[nn.Module]:
            bias = settings.norm == "none"
            layer = nn.Conv2d(inputs, outputs, kernel_size=3, padding=1, bias=bias)
            return [layer, norm_layer(settings.norm, outputs), nn.ReLU(inplace=True)]

        self.decoder = nn.Sequential(
            *conv(ENCODER_CHANNELS, 128),
            Upsample(settings.upsample),
            *conv(128, 64),
            *conv(64, 64),
            *conv(64, 32),
            Upsample(settings.upsample),
            nn.Conv2d(32, 2, kernel_size=3, padding=1),
            Upsample(settings.upsample),
        )
        self.last_doublings = (f"decoder.{len(self.decoder) - 1}",)

    def forward(self, L_net: Tensor) -> Tensor:
        """Predict color.

        Args:
            L_net: (B, 1, H, W) in [-1, 1], H and W multiples of 8.

        Returns:
            (B, 2, H, W) network units, unbounded, about [-1, 1].

        Raises:
            ShapeError: the input has another shape.
        """
        self.check_input(L_net)
        return self.decoder(self.encoder(L_net))  # type: ignore[no-any-return]


def load_encoder_weights(network: RegressionNet, state: dict[str, Any], source: str) -> None:
    """Put ResNet-18 classification weights into the encoder.

    A 3-channel conv1 is summed over its input channels: a gray picture repeated three times gives the same response.

    Args:
        network: changed in place.
        state: state dict of a torchvision ResNet-18, bare or under the key `state_dict`, with or without `module.`
            before each name (as Places365 distributes it). Layers behind layer2 are ignored.
        source: what the message calls it.

    Raises:
        ConfigError: a layer is missing or has another shape.
    """
    inner = state.get("state_dict", state)
    tensors = {str(key).removeprefix("module."): value for key, value in dict(inner).items()}
    wanted = network.encoder.state_dict()
    chosen: dict[str, Tensor] = {}
    for key, target in wanted.items():
        value = tensors.get(key)
        if key.endswith("num_batches_tracked") and value is None:
            value = target
        if not isinstance(value, Tensor):
            raise ConfigError(f"{source}: no layer {key!r}: expected the state dict of a torchvision ResNet-18")
        if key == "conv1.weight" and value.ndim == 4 and value.shape[1] == 3:
            value = value.sum(dim=1, keepdim=True)
        if value.shape != target.shape:
            raise ConfigError(
                f"{source}: layer {key!r} has shape {tuple(value.shape)}: "
                f"expected {tuple(target.shape)} of a torchvision ResNet-18"
            )
        chosen[key] = value.to(torch.float32) if value.is_floating_point() else value
    network.encoder.load_state_dict(chosen, strict=True)
