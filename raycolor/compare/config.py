"""Settings of `raycolor compare`."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from raycolor.config import FILES, Frozen, Group
from raycolor.storage.config import Endpoint


class CompareConfig(Frozen):
    """Settings of `raycolor compare`."""

    help_group: ClassVar = Group.SELECTION

    out: tuple[str, ...] = Field(
        description="destinations of two to four jobs of `raycolor colorize` over the same photographs",
    )
    page: str = Field(
        "comparison.html",
        description="file or s3://bucket/key to write the page to; an earlier comparison there is replaced",
        json_schema_extra=FILES,
    )
    include: tuple[str, ...] = Field((), description="glob of keys to compare, whatever their case; repeatable")
    photographs: int = Field(60, ge=1, le=500, description="photographs on the page, a random sample of those in all")
    seed: int = Field(0, ge=0, description="seed of the sample")
    endpoint_url: Endpoint = Field(
        None, description="S3 server other than AWS; default: AWS_ENDPOINT_URL", json_schema_extra=FILES
    )
