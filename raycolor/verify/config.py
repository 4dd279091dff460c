"""Settings of `raycolor verify`."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from raycolor.config import Frozen, Group
from raycolor.storage.config import Endpoint


class VerifyConfig(Frozen):
    """Settings of `raycolor verify`."""

    help_group: ClassVar = Group.FILES

    dest: str = Field(description="DEST of a finished `raycolor colorize`: folder or s3://bucket/prefix")
    csv_file: str | None = Field(
        None, alias="csv", description="file or s3://bucket/key for `key,problem,detail` of every problem"
    )
    endpoint_url: Endpoint = Field(None, description="S3 server other than AWS; default: AWS_ENDPOINT_URL")
