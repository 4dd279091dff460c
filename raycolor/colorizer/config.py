"""Settings of a colorizer: all that decides which bytes it makes, but for the device."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from raycolor.config import ADVANCED, Count, Frozen


class CostConfig(Frozen):
    """Settings of a colorizer that decide how long a photograph takes, or whether it is colorized at all."""

    checkpoint: str = Field("default", description="checkpoint: a shipped name, a folder, or s3://bucket/prefix")
    on_color: Literal["skip", "recolor", "copy"] = Field(
        "skip", description="what to do with photographs that are already in color"
    )
    jpeg_luma: Literal["exact", "reencode"] = Field(
        "exact", description="exact: keep the JPEG's own luma coefficients and add chroma only"
    )
    upsampling: Literal["guided", "bilinear"] = Field(
        "guided", description="how color is enlarged: guided follows the photograph's own edges"
    )
    tta: Literal["none", "flip"] = Field(
        "none", description="flip: average with the color of the mirrored photograph; the network runs twice"
    )
    max_pixels: Count = Field(
        250_000_000, ge=1, description="largest input, checked before decoding (250MP is understood)"
    )
    precision: Literal["auto", "fp32", "bf16"] = Field(
        "auto", description="auto: bf16 where the device computes it natively, fp32 elsewhere"
    )
    network_size: int | None = Field(
        None,
        ge=64,
        le=1024,
        description="side in pixels of what the network sees; default: the size of the photographs it was trained on",
    )


class ColorizerConfig(CostConfig):
    """Settings of a colorizer; picklable, so that workers build their own."""

    saturation: float = Field(1.0, ge=0, le=3, description="factor on the predicted chroma")
    jpeg_quality: int = Field(92, ge=1, le=100, description="quality of JPEG planes that have to be encoded")
    gpu_batch: int = Field(
        32,
        ge=1,
        le=1024,
        description="planes in each batch of a GPU; decides colors' last digits",
        json_schema_extra=ADVANCED,
    )
