"""Settings of a colorizer: everything but the device that decides which bytes it makes."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from raycolor.config import ADVANCED, FILES, SELECTION, Count, Frozen, Group


class CostConfig(Frozen):
    """Settings of a colorizer that decide whether a photograph is colorized and how long it takes."""

    help_group: ClassVar = Group.LOOK

    checkpoint: str = Field(
        "default",
        description="default: vivid colors, to look at; accurate: duller and safer, half as fast; regression, "
        "autoencoder, gan: methods of the 2022 report, to compare; or a folder or s3://bucket/prefix",
    )
    on_color: Literal["skip", "recolor", "copy"] = Field(
        "skip",
        description="what to do with photographs that are already in color",
        json_schema_extra=SELECTION,
    )
    jpeg_luma: Literal["exact", "reencode"] = Field(
        "exact",
        description="exact: keep the JPEG's own luma coefficients and add chroma only",
        json_schema_extra=FILES,
    )
    upsampling: Literal["guided", "bilinear"] = Field(
        "guided",
        description="how color is upsampled: guided follows the edges of the photograph",
        json_schema_extra=ADVANCED,
    )
    tta: Literal["none", "flip"] = Field(
        "none", description="flip: average with the color of the mirrored photograph; the network runs twice"
    )
    max_pixels: Count = Field(
        250_000_000,
        ge=1,
        description="pixels of the largest input to decode, for example 250MP; larger ones fail",
        json_schema_extra=ADVANCED,
    )
    precision: Literal["auto", "fp32", "bf16"] = Field(
        "auto",
        description="auto: bf16 where the device computes it natively, fp32 elsewhere",
        json_schema_extra=ADVANCED,
    )
    network_size: int | None = Field(
        None,
        ge=64,
        le=1024,
        description="side in pixels of the network's input; default: the checkpoint's own, or the size of the "
        "photographs it was trained on",
        json_schema_extra=ADVANCED,
    )


class ColorizerConfig(CostConfig):
    """Settings of a colorizer; picklable, so that workers build their own."""

    help_group: ClassVar = Group.LOOK

    saturation: float = Field(1.0, ge=0, le=3, description="factor on the predicted chroma")
    jpeg_quality: int = Field(
        92, ge=1, le=100, description="quality of the JPEG planes that are encoded", json_schema_extra=FILES
    )
    gpu_batch: int = Field(
        32,
        ge=1,
        le=1024,
        description="photographs in each batch of a GPU; changes colors only by rounding",
        json_schema_extra=ADVANCED,
    )
