"""Who does the shards of a bulk job: one process of this machine, or a pool of workers on Ray."""

from __future__ import annotations

import os
from collections.abc import Generator
from typing import TYPE_CHECKING, Protocol

from raycolor.colorize.config import ColorizeConfig
from raycolor.colorize.job_record import JobRecord
from raycolor.colorize.messages import RAY_START_S, ShardReport, ShardSpec, work_s
from raycolor.errors import ConfigError
from raycolor.machine import gpu_model

if TYPE_CHECKING:
    from raycolor.colorize.execution import Execution
    from raycolor.colorize.later_runs import Todo
    from raycolor.colorize.summary import Timing
    from raycolor.storage import ObjectStore


class Runner(Protocol):
    """Does shards. Whichever one it is, the same worker makes the same bytes and records."""

    def settle(self, record: JobRecord, revision: int, dest: ObjectStore) -> tuple[Execution, JobRecord]:
        """Decide how a revision of the job's outputs is computed; what an earlier run has decided stands."""
        ...

    def reports(self, spec: ShardSpec, todo: Todo, timing: Timing) -> Generator[ShardReport]:
        """Do shards and yield what became of each; say in `timing` who did them.

        Args:
            spec: the job, as it was settled.
            todo: the shards.
            timing: gets workers, networks and device.
        """
        ...

    def on_report(self, report: ShardReport, rates: dict[str, float | None]) -> None:
        """Report a finished shard, and the rates after it, to others than the terminal."""
        ...


def check_runner(config: ColorizeConfig) -> None:
    """Refuse settings that only Ray can follow beside --no-ray.

    Raises:
        ConfigError: names one.
    """
    if config.ray is False:
        for flag, value in _needs_ray(config).items():
            if value:
                raise ConfigError(f"--no-ray: {flag} {value} needs Ray: omit one of them")


def is_small(images: int, size: int) -> bool:
    """Whether one process has done some images before a local Ray would take work.

    Args:
        images: images to do.
        size: their bytes.
    """
    return work_s(images, size) < RAY_START_S


def runs_here(config: ColorizeConfig, record: JobRecord, revision: int, todo: Todo) -> bool:
    """Whether a job's shards are done in one process of this machine: by --no-ray, or small, local and on its CPUs."""
    if config.ray is not None:
        return not config.ray
    share = todo.images / max(record.manifest.images, 1)
    return is_small(todo.images, int(record.manifest.bytes * share)) and can_start_here(config, record, revision)


def can_start_here(config: ColorizeConfig, record: JobRecord, revision: int) -> bool:
    """Whether this machine alone does a job, on its CPUs: then what it settles is what a local Ray would."""
    places, device = (record.source, record.root or "", config.dest), record.made_by(revision).device
    return (
        not any(_needs_ray(config).values())
        and not os.environ.get("RAY_ADDRESS")
        and not any(place.startswith("s3://") for place in places)
        and device != "cuda"
        and (config.shape == "fused" or device == "cpu" or gpu_model() is None)
    )


def _needs_ray(config: ColorizeConfig) -> dict[str, object]:
    """Return the flags that only Ray can follow, with their values."""
    return {
        "--address": config.address,
        "--scale-to": config.scale_to,
        "--gpus": config.gpus,
        "--workers": config.workers if (config.workers or 1) > 1 else None,
        "--shape": "staged" if config.shape == "staged" else None,
    }
