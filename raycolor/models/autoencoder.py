"""Method 2 of the report: a convolutional autoencoder with a dense bottleneck."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field
from torch import Tensor, nn

from raycolor.models.blocks import ColorNet, NetworkConfig, Norm, init_he, norm_layer

GRID = 14  # cells on a side behind four halvings of 224 px (the report's 256 * 14 * 14)


class AutoencoderConfig(NetworkConfig):
    """Configuration of the autoencoder."""

    bottleneck: int = Field(256, ge=1, le=4096, description="numbers that stand for one photograph")
    norm: Norm = Field("batch", description="normalization behind every convolution; the report names none")
    init: Literal["he", "torch"] = Field("he", description="initialization: He et al., or PyTorch's default")


class Autoencoder(ColorNet):
    """1-32-64-128-256 with stride 2, dense 256·14·14 -> bottleneck -> 256·14·14, transposed convolutions, tanh (2.6).

    The ReLU of the last row is dropped: before tanh it would forbid negative a and b.
    """

    name: ClassVar[str] = "autoencoder"
    stride = 16
    fixed_size_px = 224

    def __init__(self, settings: AutoencoderConfig) -> None:
        super().__init__(settings)
        bias = settings.norm == "none"

        def down(inputs: int, outputs: int) -> list[nn.Module]:
            layer = nn.Conv2d(inputs, outputs, kernel_size=3, stride=2, padding=1, bias=bias)
            return [layer, norm_layer(settings.norm, outputs), nn.ReLU(inplace=True)]

        def up(inputs: int, outputs: int) -> list[nn.Module]:
            layer = nn.ConvTranspose2d(inputs, outputs, kernel_size=3, stride=2, padding=1, output_padding=1, bias=bias)
            return [layer, norm_layer(settings.norm, outputs), nn.ReLU(inplace=True)]

        self.encoder = nn.Sequential(*down(1, 32), *down(32, 64), *down(64, 128), *down(128, 256))
        cells = 256 * GRID * GRID
        self.squeeze = nn.Linear(cells, settings.bottleneck)
        self.expand = nn.Linear(settings.bottleneck, cells)
        self.decoder = nn.Sequential(
            *up(256, 256),
            *up(256, 128),
            *up(128, 64),
            nn.ConvTranspose2d(64, 2, kernel_size=3, stride=2, padding=1, output_padding=1),
        )
        if settings.init == "he":
            init_he(self)
            # The last layer feeds tanh, not ReLU: small weights start every photograph at gray, off the flat ends.
            last = self.decoder[-1]
            nn.init.normal_(last.weight, std=0.01)  # type: ignore[arg-type]

    def forward(self, L_net: Tensor) -> Tensor:
        """Predict color.

        Args:
            L_net: (B, 1, 224, 224) in [-1, 1].

        Returns:
            (B, 2, 224, 224) network units in [-1, 1].

        Raises:
            ShapeError: the input has another shape.
        """
        self.check_input(L_net)
        code = self.squeeze(self.encoder(L_net).flatten(1))
        cells = self.expand(code).unflatten(1, (256, GRID, GRID))
        return self.decoder(cells).tanh()  # type: ignore[no-any-return]
