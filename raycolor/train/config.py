"""Settings of `raycolor train`."""

from __future__ import annotations

from typing import Annotated, ClassVar

from pydantic import BeforeValidator, Field

from raycolor.cluster.config import ClusterConfig
from raycolor.config import CLUSTER, Group, several
from raycolor.training.config import TrainingConfig


class TrainConfig(ClusterConfig, TrainingConfig):
    """Settings of `raycolor train`: a training, and where it reads, writes and runs."""

    help_group: ClassVar = Group.FILES

    data: str = Field(description="dataset made by `raycolor prepare`")
    out: str = Field(description="run folder or s3://bucket/prefix: checkpoint, curve, training state")
    log_to: Annotated[tuple[str, ...], BeforeValidator(several)] = Field(
        (), description="also write the curve for tensorboard or mlflow, whose package has to be installed; repeatable"
    )
    use_gpu: bool | None = Field(
        None, description="GPUs, or CPUs; default: GPUs if the cluster has any", json_schema_extra=CLUSTER
    )
