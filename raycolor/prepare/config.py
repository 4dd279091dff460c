"""Settings of `raycolor prepare`."""

from __future__ import annotations

from typing import Annotated, ClassVar

from pydantic import BeforeValidator, Field

from raycolor.cluster.config import ClusterConfig
from raycolor.config import ADVANCED, FILES, Group
from raycolor.storage.config import SourceConfig


def _all(value: object) -> object:
    """Accept `all` for no limit."""
    return None if value == "all" else value


class PrepareConfig(ClusterConfig, SourceConfig):
    """Settings of `raycolor prepare`."""

    help_group: ClassVar = Group.SELECTION

    source: str = Field(description="folder, s3://bucket/prefix, .tar, .zip or list of color photographs")
    dataset: str = Field(description="folder or s3://bucket/prefix for the Lab-converted Parquet shards")
    train: Annotated[int | None, BeforeValidator(_all)] = Field(
        2500, ge=0, description="photographs to train on, or 'all'"
    )
    val: Annotated[int | None, BeforeValidator(_all)] = Field(
        500, ge=0, description="photographs to validate on, or 'all'"
    )
    size_px: int = Field(
        256, ge=32, le=2048, description="side of the stored square photographs, in pixels", json_schema_extra=FILES
    )
    seed: int = Field(0, ge=0, description="seed of the split")
    keep_splits: bool = Field(False, description="use the train/ and val/ folders of SOURCE as splits")
    min_colorfulness: float = Field(
        0.0, ge=0, description="drop photographs duller than this (Hasler and Suesstrunk; 15 is a usual choice)"
    )
    image_timeout_s: float = Field(
        600.0, gt=0, description="seconds after which a file counts as bad", json_schema_extra=ADVANCED
    )
