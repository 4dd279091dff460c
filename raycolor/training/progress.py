"""Where a training stands, and how it goes on from its newest checkpoint."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from raycolor.errors import CheckpointError, ConfigError
from raycolor.models import checkpoints
from raycolor.training.context import TrainContext
from raycolor.training.step import UpdateStep

log = logging.getLogger(__name__)

_WORKERS: Final = ("workers", "workers_before")  # settings that may be others when a training goes on


@dataclass
class Progress:
    """Where a training stands.

    Attributes:
        epoch: the epoch that is running, counted from 0.
        step: updates done in it.
        steps_done: updates done since the start.
        sums: sums of the losses over this epoch's photographs on every worker, and their number `n`.
        best_mse: lowest val mse so far.
        best_epoch: epoch it was reached in, counted from 0.
        curve: one row per finished epoch.
        finished: nothing is left to do.
    """

    epoch: int = 0
    step: int = 0
    steps_done: int = 0
    sums: dict[str, float] = field(default_factory=dict)
    best_mse: float = math.inf
    best_epoch: int = -1
    curve: list[dict[str, float]] = field(default_factory=list)
    finished: bool = False


@dataclass(frozen=True)
class About:
    """What a checkpoint says of its origin; JSON values."""

    method: str
    training: Mapping[str, Any]
    dataset: Mapping[str, Any]


def resume(step: UpdateStep, context: TrainContext, about: About, steps_per_epoch: int) -> Progress:
    """Load the newest checkpoint into `step`, and say where training stands; at the start without a checkpoint.

    Another number of workers, or more epochs, are no other training; the curve says the number of workers from then on.

    Raises:
        CheckpointError: a checkpoint that cannot be read.
        ConfigError: a checkpoint that was taken with other settings.
    """
    folder = context.latest_checkpoint()
    if folder is None:
        return Progress()
    state = checkpoints.load_state(folder)
    old = state.get("training")
    now = dict(about.training)
    before = _workers_before(old, now)
    old, now = _without_workers(old), _without_workers(now)
    longer = _is_extended(old, now)
    if old != now and not longer:
        raise ConfigError(f"{folder}: taken with other settings ({_differing(old, now)}): train into another folder")
    try:
        step.load_state_dict(state["step"])
        progress = Progress(**state["progress"])
    except (KeyError, TypeError, ValueError, RuntimeError) as exc:
        raise CheckpointError(f"{folder}: does not fit this training: remove it to train from the start") from exc
    if longer:
        progress.finished = False
    if before is not None:
        _share_otherwise(progress, before, context.world_size, steps_per_epoch)
    if context.rank > 0:
        progress.sums = dict.fromkeys(progress.sums, 0.0)  # the first worker carries what all have summed so far
    log.info("resuming in epoch %d after %d updates", progress.epoch + 1, progress.steps_done)
    return progress


def _workers_before(old: object, new: Mapping[str, Any]) -> int | None:
    """Return how many workers took a checkpoint, if that is not how many there are now."""
    if not isinstance(old, dict) or "workers" not in old or old["workers"] == new.get("workers"):
        return None
    return int(old["workers"])


def _without_workers(settings: Any) -> Any:
    if not isinstance(settings, dict):
        return settings
    return {key: value for key, value in settings.items() if key not in _WORKERS}


def _share_otherwise(progress: Progress, before: int, workers: int, steps_per_epoch: int) -> None:
    """Count in updates of the new number of workers, each of which sees more or fewer photographs.

    What does not fill an update is seen again in this epoch. The learning rate stands where the share of all
    photographs that has been seen puts it.
    """
    progress.step = min(progress.step * before // workers, steps_per_epoch)
    progress.steps_done = progress.epoch * steps_per_epoch + progress.step
    for row in progress.curve:
        row.setdefault("workers", before)
    log.info("goes on with %d workers instead of %d", workers, before)


def _is_extended(old: object, new: Mapping[str, Any]) -> bool:
    """Whether two trainings differ in nothing but more epochs."""
    if not isinstance(old, dict) or not old.get("epochs", 0) < new.get("epochs", 0):
        return False
    length = ("epochs", "extended")
    return all(old.get(key) == new.get(key) for key in {*old, *new}.difference(length))


def _differing(old: object, new: Mapping[str, Any]) -> str:
    """Name the settings in which two trainings differ."""
    if not isinstance(old, dict):
        return "none recorded"
    keys = sorted(key for key in {*old, *new} if old.get(key) != new.get(key))
    return ", ".join(f"{key}: {old.get(key)!r}, now {new.get(key)!r}" for key in keys)
