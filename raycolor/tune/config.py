"""Settings of `raycolor tune`."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from pydantic import BeforeValidator, Field

from raycolor.cluster.config import GpuConfig
from raycolor.config import ADVANCED, CLUSTER, FILES, Frozen, Group


def _named(value: object) -> object:
    """Accept a name where a group of settings with a name may stand, as in `scheduler: asha`."""
    return {"name": value} if isinstance(value, str) else value


class SchedulerConfig(Frozen):
    """Which trials of a sweep are stopped early."""

    name: Literal["asha", "none"] = Field("none", description="asha: asynchronous successive halving")
    metric: str | None = Field(None, description="objective to compare trials by; default: the first")
    grace_epochs: int = Field(1, ge=1, description="epochs before a trial may be stopped")
    reduction_factor: float = Field(3.0, gt=1, description="one in this many trials continues at each rung")


class BestConfig(Frozen):
    """The rule that chooses a sweep's best trial."""

    rule: Literal["first", "within"] = Field(
        "first",
        description="first: best first objective; within: best second objective among the trials whose first objective "
        "is within the tolerance of the best",
    )
    tolerance: float = Field(0.05, ge=0, description="for `within`: a share of the best first objective")


class TuneConfig(GpuConfig):
    """Settings of `raycolor tune`: a sweep file, and where it reads and writes."""

    help_group: ClassVar = Group.SEARCH

    data: str = Field(description="dataset made by `raycolor prepare`", json_schema_extra=FILES)
    out: str = Field(
        description="sweep folder or s3://bucket/prefix: a run folder per trial, and report/", json_schema_extra=FILES
    )
    base: dict[str, Any] = Field(description="train configuration that all trials share")
    space: dict[str, Any] = Field(description="dotted keys of the train configuration, each with its distribution")
    objectives: dict[str, Literal["min", "max"]] = Field(min_length=1, description="metrics on val: min or max")
    best: BestConfig = Field(default_factory=BestConfig)
    trials: int | None = Field(
        None, ge=1, le=10_000, description="number of trials; default: 10, or all points of a grid"
    )
    epochs: int | None = Field(None, ge=1, description="most epochs of a trial; default: those of base")
    search: Literal["random", "grid", "tpe"] = Field("random", description="how points are chosen; tpe needs Optuna")
    scheduler: Annotated[SchedulerConfig, BeforeValidator(_named)] = Field(default_factory=SchedulerConfig)
    seed: int = Field(0, ge=0, description="seed of the points; base.seed is the seed of every training")
    workers: int = Field(1, ge=1, description="Ray Train workers of each trial", json_schema_extra=CLUSTER)
    resources: dict[str, float] = Field(
        default_factory=dict,
        description="resources of a trial, all its workers together; default: a CPU or GPU per worker",
        json_schema_extra=CLUSTER,
    )
    max_concurrent: int | None = Field(
        None, ge=1, description="trials at once; default: as many as fit", json_schema_extra=CLUSTER
    )
    max_failures: int = Field(
        1, ge=0, description="how many times dead workers of a trial are replaced", json_schema_extra=ADVANCED
    )
    resume: bool = Field(False, description="continue a sweep; never start a new one")
    retry_failed: bool = Field(False, description="try failed trials again")
