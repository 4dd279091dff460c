"""Where a job runs."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from raycolor.config import Frozen, Group


class ClusterConfig(Frozen):
    """Where a job runs: settings that change nothing in its results."""

    help_group: ClassVar = Group.CLUSTER

    address: str | None = Field(None, description="Ray cluster to join; default: start a local Ray")
    workers: int | None = Field(None, ge=1, description="worker processes; default: as many as fit")
    scale_to: int | None = Field(
        None,
        ge=1,
        description="workers to request nodes for from an autoscaling cluster; the job waits up to 10 minutes",
    )


class GpuConfig(ClusterConfig):
    """A job that computes on GPUs where there are any."""

    use_gpu: bool | None = Field(None, description="GPUs, or CPUs; default: GPUs if the cluster has any")
