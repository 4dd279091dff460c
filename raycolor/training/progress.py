"""Where a training stands, and how it goes on from its newest checkpoint."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from raycolor.errors import CheckpointError, ConfigError
from raycolor.models import checkpoints
from raycolor.training.context import TrainContext
from raycolor.training.step import UpdateStep

log = logging.getLogger(__name__)

WORKERS: Final = ("workers", "workers_before")  # settings that may be others when a training goes on


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
    old, now = state.get("training"), about.training
    old = old if isinstance(old, dict) else {}
    changes = differences(old, now, but=WORKERS)
    longer = changes.keys() <= {"epochs", "extended"} and old.get("epochs", 0) < now.get("epochs", 0)
    if changes and not longer:
        changed = ", ".join(changes.values())
        raise ConfigError(f"{folder}: taken with other settings ({changed}): train into another folder")
    try:
        step.load_state_dict(state["step"])
        progress = Progress(**state["progress"])
    except (KeyError, TypeError, ValueError, RuntimeError) as exc:
        raise CheckpointError(f"{folder}: does not fit this training: remove it to train from the start") from exc
    if longer:
        progress.finished = False
    if "workers" in old and old["workers"] != now.get("workers"):
        _share_otherwise(progress, int(old["workers"]), context.world_size, steps_per_epoch)
    if context.rank > 0:
        progress.sums = dict.fromkeys(progress.sums, 0.0)  # the first worker carries what all have summed so far
    log.info("resuming in epoch %d after %d updates", progress.epoch + 1, progress.steps_done)
    return progress


def differences(old: Mapping[str, Any], new: Mapping[str, Any], *, but: Iterable[str]) -> dict[str, str]:
    """Return in which settings two trainings differ, and how; those named in `but` may."""
    keys = sorted(key for key in {*old, *new}.difference(but) if old.get(key) != new.get(key))
    return {key: f"{key}: {old.get(key)!r}, now {new.get(key)!r}" for key in keys}


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
