"""Settings of `raycolor sign`."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from raycolor.config import Frozen, Group
from raycolor.storage.config import Endpoint


class SignConfig(Frozen):
    """Settings of `raycolor sign`."""

    help_group: ClassVar = Group.FILES

    dest: str = Field(description="DEST of a finished `raycolor colorize`: folder or s3://bucket/prefix")
    certificate: str = Field(description="PEM file: the signer's certificate, then those above it")
    key: str = Field(description="PEM file: the certificate's private key, without a passphrase")
    detached: bool = Field(
        False, description="leave every output as it is, and write its manifest to a file beside it (NAME.c2pa)"
    )
    endpoint_url: Endpoint = Field(None, description="S3 server other than AWS; default: AWS_ENDPOINT_URL")
