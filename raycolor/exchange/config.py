"""Settings of `raycolor import` and `raycolor export`."""

from __future__ import annotations

from pydantic import Field

from raycolor.config import Frozen


class ImportConfig(Frozen):
    """Settings of `raycolor import`."""

    file: str = Field(description="ONNX file of a network")
    checkpoint: str = Field(description="folder or s3://bucket/prefix that becomes the checkpoint")
    card: str | None = Field(
        None,
        description="what the network reads and answers: a built-in card (ddcolor, deoldify, deoldify-255, eccv16, "
        "siggraph17, colorformer, raycolor) or a YAML file; default: what the ONNX file says of itself",
    )
    timeout_s: float = Field(120.0, gt=0, description="seconds after which trying the network is given up")


class ExportConfig(Frozen):
    """Settings of `raycolor export`."""

    checkpoint: str = Field(description="checkpoint: a shipped name, a folder, or s3://bucket/prefix")
    file: str = Field(description="ONNX file to write")
