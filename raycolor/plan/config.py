"""Settings of `raycolor plan`."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from raycolor.colorizer.config import CostConfig
from raycolor.config import ADVANCED, FILES, Group
from raycolor.storage.config import ArchivesConfig


class PlanConfig(CostConfig, ArchivesConfig):
    """Settings of `raycolor plan`: those of `colorize` that decide how long it takes, and those of the estimate."""

    help_group: ClassVar = Group.MEASUREMENT

    source: str = Field(description="what `raycolor colorize` would read: folder, file, s3://bucket/prefix, or a list")
    sample: int = Field(32, ge=0, le=2000, description="photographs to read and colorize in memory; 0: list only")
    seed: int = Field(0, ge=0, description="seed of the sample", json_schema_extra=ADVANCED)
    cpus: int | None = Field(None, ge=1, description="CPUs of the cluster, all nodes together; default: this machine's")
    price_per_hour: float | None = Field(None, ge=0, description="price of the whole cluster per hour, any currency")
    # A field named `json` would hide a method of every model.
    json_file: str | None = Field(
        None, alias="json", description="file or s3://bucket/key to write the plan to", json_schema_extra=FILES
    )
    image_timeout_s: float = Field(
        120.0, gt=0, description="seconds after which a photograph of the sample fails", json_schema_extra=ADVANCED
    )
