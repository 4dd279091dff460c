"""Settings of `raycolor review`."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from raycolor.config import LOOK, Frozen, Group
from raycolor.storage.config import Endpoint


class ReviewConfig(Frozen):
    """Settings of `raycolor review`."""

    help_group: ClassVar = Group.FILES

    dest: str = Field(description="DEST of a finished `raycolor colorize`: folder or s3://bucket/prefix")
    checkpoint: tuple[str, ...] = Field(
        ("default", "accurate"),
        max_length=6,
        description="other networks to choose from for a photograph; repeatable",
        json_schema_extra=LOOK,
    )
    saturation: tuple[float, ...] = Field(
        (0.7, 1.3),
        max_length=6,
        description="other saturations to choose from; repeatable",
        json_schema_extra=LOOK,
    )
    who: str | None = Field(
        None, max_length=100, description="name that decisions are written under; default: the user of this machine"
    )
    port: int = Field(0, ge=0, le=65535, description="port on 127.0.0.1; default: a free one")
    endpoint_url: Endpoint = Field(None, description="S3 server other than AWS; default: AWS_ENDPOINT_URL")
