"""Settings of `raycolor evaluate`."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import BeforeValidator, Field

from raycolor.cluster.config import GpuConfig
from raycolor.config import ADVANCED, FILES, SELECTION, Group, Several


def _full(value: object) -> object:
    """Accept `full` for 0."""
    return 0 if value == "full" else value


class EvaluateConfig(GpuConfig):
    """Settings of `raycolor evaluate`."""

    help_group: ClassVar = Group.MEASUREMENT

    checkpoint: Several = Field(
        min_length=1, description="checkpoints: shipped names, folders, s3://bucket/prefix or package.module:factory"
    )
    data: Several = Field(
        min_length=1,
        description="dataset made by `raycolor prepare`; repeatable, the table has rows for each",
        json_schema_extra=FILES,
    )
    out: str = Field(
        description="folder or s3://bucket/prefix for index.html, table.csv and table.md", json_schema_extra=FILES
    )
    split: Literal["val", "train"] = Field("val", description="split to measure on", json_schema_extra=SELECTION)
    network_size: Annotated[int | None, BeforeValidator(_full)] = Field(
        None,
        ge=0,
        description="side in pixels of the center crop that networks see, or 'full' for the whole stored photograph; "
        "default: the size that each of our networks was trained on, and all for networks of others, which see it at "
        "their own size",
    )
    images: int | None = Field(
        None,
        ge=1,
        description="largest number of photographs of each dataset; default: all",
        json_schema_extra=SELECTION,
    )
    precision: Literal["auto", "fp32", "bf16"] = Field(
        "auto",
        description="auto: bf16 where the device computes it natively, fp32 elsewhere",
        json_schema_extra=ADVANCED,
    )
    tta: Literal["none", "flip"] = Field(
        "none", description="flip: average with the color of the mirrored photographs, as `colorize --tta flip` does"
    )
    seed: int = Field(0, ge=0, description="seed of the bootstrap intervals", json_schema_extra=ADVANCED)
