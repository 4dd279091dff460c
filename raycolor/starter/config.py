"""Settings of `raycolor init`."""

from __future__ import annotations

from pydantic import Field

from raycolor.config import Frozen


class InitConfig(Frozen):
    """Settings of `raycolor init`."""

    folder: str = Field(description="folder to write into; files that are there already stay as they are")
