"""What decides which bytes a colorizer makes: apart from it, since a driver has no need of torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class ColorizerOptions:
    """Everything that decides which bytes a `FileColorizer` makes; picklable, so that workers build their own."""

    checkpoint: str = "default"
    network_size: int | None = None
    saturation: float = 1.0
    tta: Literal["none", "flip"] = "none"
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    on_color: Literal["skip", "recolor", "copy"] = "skip"
    jpeg_luma: Literal["exact", "reencode"] = "exact"
    jpeg_quality: int = 92
    upsampling: Literal["guided", "bilinear"] = "guided"
    max_pixels: int = 250_000_000
    device: str = "cpu"
    """Where the network runs: `cpu` or `cuda`."""
    gpu_batch: int = 32
    """Planes in each batch of a GPU."""
