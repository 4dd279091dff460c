"""Settings of `raycolor train`."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from raycolor.cluster.config import ClusterConfig
from raycolor.config import CLUSTER, Group
from raycolor.training.config import TrainingConfig


class TrainConfig(ClusterConfig, TrainingConfig):
    """Settings of `raycolor train`: a training, and where it reads, writes and runs."""

    help_group: ClassVar = Group.FILES

    data: str = Field(description="dataset made by `raycolor prepare`")
    out: str = Field(description="run folder or s3://bucket/prefix: checkpoint, curve, training state")
    use_gpu: bool | None = Field(
        None, description="GPUs, or CPUs; default: GPUs if the cluster has any", json_schema_extra=CLUSTER
    )
