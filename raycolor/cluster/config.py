"""Where a job runs."""

from __future__ import annotations

from pydantic import Field

from raycolor.config import Frozen


class ClusterConfig(Frozen):
    """Where a job runs: settings that change nothing in its results."""

    address: str | None = Field(None, description="Ray cluster to join; without it a local Ray is started")
    workers: int | None = Field(None, ge=1, description="worker processes; default: as many as fit")
    scale_to: int | None = Field(
        None, ge=1, description="ask an autoscaling cluster for room for so many workers, and wait up to 10 minutes"
    )
