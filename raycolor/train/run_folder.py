"""A run folder: what is checked before a training starts, who it belongs to, and what came of it."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from raycolor import __version__
from raycolor.dataset.info import DatasetInfo, read_dataset
from raycolor.errors import ConfigError, StorageError
from raycolor.models import checkpoints
from raycolor.storage import ObjectStore, absolute, open_store
from raycolor.train.config import TrainConfig
from raycolor.train.loggers import check_loggers
from raycolor.training.loop import parse_curve
from raycolor.training.settings import Start, check_sizes, read_start, record, resolve
from raycolor.training.step import schedule_factor

log = logging.getLogger(__name__)

RUN_FILE = "run.json"


@dataclass(frozen=True)
class Checked:
    """A training that can start: its resolved settings, what it starts from, and its dataset."""

    config: TrainConfig
    start: Start
    dataset: DatasetInfo


@dataclass(frozen=True)
class TrainResult:
    """What a training came to.

    Attributes:
        out: the run folder; itself a checkpoint, that of the best epoch.
        metrics: on val, of the best epoch (`epoch` counts from 1).
        curve: one row per epoch, as in curve.csv.
        seconds: from this call's start to its end, start-up included.
        workers: how many trained.
        global_batch_size: photographs per update over all workers.
        device: `cpu` or `cuda`.
    """

    out: str
    metrics: dict[str, float]
    curve: list[dict[str, float]]
    seconds: float
    workers: int
    global_batch_size: int
    device: str


def check(config: TrainConfig) -> Checked:
    """Complete a training and refuse what can be refused without Ray.

    Raises:
        ConfigError: settings that cannot be used, or a logger that is not installed.
        CheckpointError: a checkpoint to start from, or to learn from, is missing or damaged.
        DatasetError: no dataset, or a damaged one.
        StorageError: the dataset cannot be reached.
    """
    check_loggers(config.log_to)
    config = resolve(config.model_copy(update={"data": absolute(config.data), "out": absolute(config.out)}))
    start = read_start(config)
    dataset = read_dataset(open_store(config.data, must_exist=True))
    check_sizes(dataset, config, 1)
    return Checked(config, start, dataset)


def claim(checked: Checked, workers: int) -> dict[str, Any]:
    """Write run.json, or compare with the one of an earlier start; return the settings in it.

    More epochs than at the earlier start extend its training: `extended` holds the numbers of epochs before.

    Raises:
        ConfigError: too many workers for the dataset, or another training stands there.
        StorageError: the run folder cannot be reached.
    """
    check_sizes(checked.dataset, checked.config, workers)
    settings = record(checked.config, checked.start, checked.dataset, workers)
    return _compare_or_write(open_store(checked.config.out), settings)


def _compare_or_write(store: ObjectStore, settings: dict[str, Any]) -> dict[str, Any]:
    """Write run.json, or compare with the one of an earlier start; return the settings in it."""
    try:
        old = json.loads(store.get(RUN_FILE))["settings"]
    except StorageError as exc:
        if exc.reason != "not_found":
            raise
        _write(store, settings)
        return settings
    except (ValueError, KeyError, TypeError) as exc:
        raise ConfigError(f"{store.uri}/{RUN_FILE}: damaged: train into another folder") from exc
    extended = old.pop("extended", [])
    new = json.loads(json.dumps(settings))
    keys = sorted(key for key in {*old, *new} if old.get(key) != new.get(key))
    if keys == ["epochs"] and new["epochs"] > old["epochs"]:
        extended = [*extended, old["epochs"]]
        settings = {**settings, "extended": extended}
        _write(store, settings)
        _say_schedule(len(read_curve(store)), new["epochs"], new["optim"]["schedule"])
        return settings
    if keys:
        changes = ", ".join(f"{key}: {old.get(key)!r}, now {new.get(key)!r}" for key in keys)
        raise ConfigError(f"{store.uri}: holds a training with other settings ({changes}): train into another folder")
    return {**settings, "extended": extended} if extended else settings


def _write(store: ObjectStore, settings: Mapping[str, Any]) -> None:
    content = {"raycolor_version": __version__, "settings": settings}
    store.put(RUN_FILE, (json.dumps(content, indent=2) + "\n").encode())


def _say_schedule(done: int, epochs: int, schedule: str) -> None:
    """Log where the learning rate stands in a training that gets more epochs: the curve shows a step there."""
    log.info(
        "goes on after epoch %d, now to %d: the %s schedule is that of %d epochs, so the learning rate goes on at "
        "%.0f%% of its peak; %d epochs from the start would give another curve",
        done, epochs, schedule, epochs, 100 * schedule_factor(done / epochs, schedule), epochs,
    )  # fmt: skip


def result_of(config: TrainConfig, seconds: float, *, workers: int, device: str) -> TrainResult:
    """Read what a training came to from its run folder."""
    best = checkpoints.load(config.out)
    return TrainResult(
        out=config.out,
        metrics={key: float(value) for key, value in best.metrics.items()},
        curve=read_curve(open_store(config.out)),
        seconds=seconds,
        workers=workers,
        global_batch_size=workers * config.batch_size,
        device=device,
    )


def read_curve(store: ObjectStore) -> list[dict[str, float]]:
    """Return the rows of RUN/curve.csv; none before the first epoch has ended.

    Raises:
        StorageError: the run folder cannot be read.
    """
    try:
        return parse_curve(store.get("curve.csv"))
    except StorageError as exc:
        if exc.reason == "not_found":
            return []
        raise
