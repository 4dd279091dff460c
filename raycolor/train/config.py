"""Settings of `raycolor train`."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from raycolor.cluster.config import GpuConfig
from raycolor.config import Group, Several
from raycolor.training.config import TrainingConfig


class TrainConfig(GpuConfig, TrainingConfig):
    """Settings of `raycolor train`: a training, and where it reads, writes and runs."""

    help_group: ClassVar = Group.FILES

    data: str = Field(description="dataset made by `raycolor prepare`")
    out: str = Field(description="run folder or s3://bucket/prefix: checkpoint, curve, training state")
    log_to: Several = Field(
        (), description="also write the curve for tensorboard or mlflow, whose package has to be installed; repeatable"
    )
