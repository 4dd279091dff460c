"""A run folder: what is checked before a training starts, who it belongs to, and what came of it."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from raycolor import __version__
from raycolor.dataset.info import DatasetInfo, read_dataset
from raycolor.errors import ConfigError
from raycolor.models import checkpoints
from raycolor.storage import ObjectStore, absolute, get_if_there, open_store
from raycolor.train.config import TrainConfig
from raycolor.train.loggers import check_loggers
from raycolor.training.loop import parse_curve
from raycolor.training.progress import WORKERS, differences
from raycolor.training.settings import Start, check_sizes, read_start, record, resolve
from raycolor.training.trained import schedule_factor

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
        ConfigError: settings that cannot be used, a logger that is not installed, or another training in `out`.
        CheckpointError: a checkpoint to start from, or to learn from, is missing or damaged.
        DatasetError: no dataset, or a damaged one.
        StorageError: the dataset or the run folder cannot be reached.
    """
    check_loggers(config.log_to)
    config = resolve(config.model_copy(update={"data": absolute(config.data), "out": absolute(config.out)}))
    start = read_start(config)
    dataset = read_dataset(open_store(config.data, must_exist=True))
    check_sizes(dataset, config, 1)
    store = open_store(config.out)
    old = _earlier(store)
    if old is not None:
        # By default there are as many workers as before or as the cluster has, which is not known yet.
        workers = config.workers or int(old.get("workers", 1))
        _changed(store, old, record(config, start, dataset, workers))
    return Checked(config, start, dataset)


def claim(checked: Checked, workers: int, *, may_differ: bool = True) -> dict[str, Any]:
    """Write run.json, or compare with the one of an earlier start; return the settings in it.

    More epochs than at the earlier start extend its training: `extended` holds the numbers of epochs before. Another
    number of workers goes on with it, if `may_differ`: `workers_before` holds the numbers before.

    Raises:
        ConfigError: too many workers for the dataset, or another training stands there.
        StorageError: the run folder cannot be reached.
    """
    check_sizes(checked.dataset, checked.config, workers)
    settings = record(checked.config, checked.start, checked.dataset, workers)
    store = open_store(checked.config.out)
    old = _earlier(store)
    if old is None:
        _write(store, settings)
        return settings
    if old.get("workers") != workers and not may_differ:
        raise ConfigError(
            f"{store.uri}: holds a training by {old.get('workers')} workers: go on with it on Ray, or train into "
            "another folder"
        )
    done = len(read_curve(store))
    longer = _changed(store, old, settings)
    if not longer and done >= settings["epochs"]:
        settings = {**settings, "workers": old["workers"]}  # nothing is left to do by others
    history: dict[str, Any] = {key: old[key] for key in ("extended", "workers_before") if key in old}
    if longer:
        history["extended"] = [*history.get("extended", []), old["epochs"]]
        _say_schedule(done, settings["epochs"], settings["optim"]["schedule"])
    others = settings["workers"] != old["workers"]
    if others:
        history["workers_before"] = [*history.get("workers_before", []), old["workers"]]
    settings = {**settings, **history}
    if longer or others:
        _write(store, settings)
    return settings


def _earlier(store: ObjectStore) -> dict[str, Any] | None:
    """Return the settings of an earlier start, or None where there was none."""
    data = get_if_there(store, RUN_FILE)
    try:
        return None if data is None else dict(json.loads(data)["settings"])
    except (ValueError, KeyError, TypeError) as exc:
        raise ConfigError(f"{store.uri}/{RUN_FILE}: damaged: train into another folder") from exc


def _changed(store: ObjectStore, old: Mapping[str, Any], settings: Mapping[str, Any]) -> bool:
    """Whether a training gets more epochs; ConfigError for any other change but of the number of workers."""
    new = json.loads(json.dumps(settings))
    changes = differences(old, new, but=("extended", *WORKERS))
    if changes and not (list(changes) == ["epochs"] and new["epochs"] > old["epochs"]):
        changed = ", ".join(changes.values())
        raise ConfigError(f"{store.uri}: holds a training with other settings ({changed}): train into another folder")
    return bool(changes)


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
    data = get_if_there(store, "curve.csv")
    return [] if data is None else parse_curve(data)
