"""Settings of `raycolor package`."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from raycolor.config import Frozen, Group
from raycolor.storage.config import Endpoint


class PackageConfig(Frozen):
    """Settings of `raycolor package`."""

    help_group: ClassVar = Group.FILES

    dest: str = Field(description="DEST of a finished `raycolor colorize`: folder or s3://bucket/prefix")
    out: str = Field(description="where the package goes: a new folder or s3://bucket/prefix")
    premis: bool = Field(
        False, description="add PREMIS 3 records of what every output was made from, by what and how (metadata/premis/)"
    )
    iiif: str | None = Field(
        None,
        description="add IIIF manifests and images that show every photograph gray and in color (iiif/), to be "
        "published at this address, for example https://example.org/collection/iiif",
    )
    endpoint_url: Endpoint = Field(None, description="S3 server other than AWS; default: AWS_ENDPOINT_URL")
