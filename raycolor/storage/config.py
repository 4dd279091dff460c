"""Which inputs of a SOURCE are taken, and how they are reached: settings of every job that reads photographs."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar

from pydantic import AfterValidator, Field

from raycolor.config import ADVANCED, FILES, LARGEST, Count, Frozen, Group
from raycolor.storage import check_endpoint

Endpoint = Annotated[str | None, AfterValidator(lambda url: check_endpoint(url, "--endpoint-url"))]
"""Address of an S3 server other than AWS; None: what AWS_ENDPOINT_URL says."""


class SourceConfig(Frozen):
    """Which inputs of a SOURCE are taken, and how they are reached."""

    help_group: ClassVar = Group.SELECTION

    max_file_bytes: Count = Field(
        2_000_000_000,
        ge=1,
        le=LARGEST,
        description="bytes of the largest file to read, for example 2GB; larger ones are not read",
        json_schema_extra=ADVANCED,
    )
    include: tuple[str, ...] = Field(
        (), description="glob of keys to take, for example '*.jpg', which takes SCAN.JPG, too; repeatable"
    )
    exclude: tuple[str, ...] = Field((), description="glob of keys to omit; repeatable")
    root: str | None = Field(
        None,
        description="folder or s3://bucket/prefix that the keys of a list are relative to",
        json_schema_extra=ADVANCED,
    )
    requester_pays: bool = Field(
        False, description="pay for reading from requester-pays buckets", json_schema_extra=ADVANCED
    )
    endpoint_url: Endpoint = Field(
        None,
        description="S3 server other than AWS; default: AWS_ENDPOINT_URL",
        json_schema_extra=FILES,
    )

    def source_options(self) -> dict[str, Any]:
        """What an S3 store is opened with for reading."""
        return {"endpoint_url": self.endpoint_url, "requester_pays": self.requester_pays}


class ArchivesConfig(SourceConfig):
    """A SOURCE whose archives may be taken apart."""

    archives: bool = Field(
        True,
        description="read each member of .tar, .tar.gz, .tgz and .zip files as an input",
        json_schema_extra=ADVANCED,
    )
