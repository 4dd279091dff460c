"""Check a sweep before it starts: its settings, and the configuration of every trial."""

from __future__ import annotations

import copy
import functools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from raycolor.config import validate
from raycolor.dataset.info import DatasetInfo, read_dataset
from raycolor.errors import ConfigError
from raycolor.models.blocks import shapes_alone
from raycolor.storage import absolute, open_store
from raycolor.train.config import TrainConfig
from raycolor.training.loop import VALIDATED
from raycolor.training.settings import check_sizes, read_start, resolve
from raycolor.tune.choose import describe
from raycolor.tune.config import TuneConfig
from raycolor.tune.records import Trial, trial_folder
from raycolor.tune.space import Dimension, corners, count_points, draw, parse_space, put_dotted
from raycolor.tune.tpe import TpeSampler

REPORTED: Final = (*(name for name in VALIDATED if name not in ("n", "colorfulness_truth")), "delta_colorfulness")
_SHOWN: Final = ("mse", "accuracy_10", "psnr_db", "colorfulness", "delta_colorfulness")
_OWN: Final = ("data", "out", "address", "workers", "use_gpu")  # of the sweep, not of its trainings


@dataclass(frozen=True)
class Plan:
    """A sweep that can start.

    Attributes:
        config: its settings.
        data: dataset, as every worker finds it.
        out: sweep folder, likewise.
        dataset: what dataset.json says.
        space: the dimensions.
        epochs: of a trial that is not stopped early.
        trials: how many.
        sampler: of a TPE search.
    """

    config: TuneConfig
    data: str
    out: str
    dataset: DatasetInfo
    space: tuple[Dimension, ...]
    epochs: int
    trials: int
    sampler: TpeSampler | None

    def identity(self) -> dict[str, Any]:
        """Return what decides the trials of a sweep: it is continued only under the same."""
        same = self.config.model_dump(mode="json", include={"base", "space", "best", "search", "scheduler", "seed"})
        return {
            **same,
            "objectives": list(map(list, self.config.objectives.items())),
            "workers": self.config.workers,
            "epochs": self.epochs,
            "trials": self.trials,
            "dataset": self.dataset.fingerprint,
        }

    @property
    def lead(self) -> Dimension:
        """The dimension that colors charts and whose extremes are pictured: the first number, or else the first."""
        return next((one for one in self.space if one.numeric), self.space[0])

    @property
    def metrics(self) -> list[str]:
        """Every metric of the report, the objectives first."""
        return list(dict.fromkeys((*self.config.objectives, *_SHOWN)))

    @property
    def rule(self) -> str:
        """How the best trial is chosen, in words."""
        return describe(self.config.best.rule, self.config.best.tolerance, self.config.objectives)

    def point(self, number: int) -> dict[str, Any]:
        """Return the values of a trial of a random or grid search."""
        return draw(self.space, self.config.search, self.config.seed, number)

    def trial(self, number: int, values: Mapping[str, Any]) -> Trial:
        """Make a trial, its configuration validated.

        Raises:
            ConfigError: a configuration that cannot be trained.
        """
        config = _train_config(self.config, self.epochs, values)
        settings = config.model_dump(mode="json", exclude={"data", "out", "address"})
        return Trial(number, dict(values), settings)

    def train_config(self, trial: Trial) -> TrainConfig:
        """Return the whole configuration of a trial."""
        places = {"data": self.data, "out": f"{self.out}/{trial_folder(trial.number)}"}
        return TrainConfig.model_validate({**trial.settings, **places})


def make_plan(config: TuneConfig) -> Plan:
    """Check a sweep and every configuration it will train.

    Raises:
        ConfigError: one line: which key or trial, and how to mend it.
        DatasetError: no dataset, or a damaged one.
        StorageError: the dataset cannot be read.
    """
    space = parse_space(config.space)
    for group, keys in (("base", tuple(config.base)), ("space", tuple(one.key for one in space))):
        for key in keys:
            if key.split(".")[0] in _OWN:
                raise ConfigError(f"{group}.{key}: is a setting of the sweep: set it beside {group}, or omit it")
            if key == "epochs" and group == "space":
                raise ConfigError("space.epochs: is the same for every trial: set epochs beside space")
    _check_objectives(config)
    trials = count_points(space, config.search, config.trials)
    data = absolute(config.data)
    dataset = read_dataset(open_store(data, must_exist=True))
    if not dataset.counts.get("val"):
        first = next(iter(config.objectives))
        raise ConfigError(f"{data}: has no photographs to validate on, so no trial would report {first}: prepare some")
    checked = functools.partial(_check_point, config, dataset, set())
    for values in corners(space):
        checked(values, "space")
    epochs = checked(corners(space)[0], "space").epochs
    scheduler = config.scheduler
    if scheduler.name == "asha" and scheduler.grace_epochs > epochs:
        raise ConfigError(f"scheduler.grace_epochs = {scheduler.grace_epochs}: trials have {epochs} epochs: lower it")
    sampler = TpeSampler(space, config.objectives, config.seed) if config.search == "tpe" else None
    plan = Plan(config, data, absolute(config.out).rstrip("/"), dataset, space, epochs, trials, sampler)
    if sampler is None:
        for number in range(trials):
            checked(plan.point(number), f"trial {number}")
    return plan


def _check_objectives(config: TuneConfig) -> None:
    for name in config.objectives:
        if name not in REPORTED:
            raise ConfigError(f"objectives: no trial reports {name!r}: trials report {', '.join(REPORTED)}")
    metric = config.scheduler.metric
    if metric is not None and metric not in config.objectives:
        names = ", ".join(config.objectives)
        raise ConfigError(f"scheduler.metric = {metric!r}: is not an objective: name one of {names}")
    if config.best.rule != "first" and len(config.objectives) < 2:
        raise ConfigError(f"best.rule = {config.best.rule}: needs two objectives: name another, or take rule: first")


def _train_config(config: TuneConfig, epochs: int | None, values: Mapping[str, Any]) -> TrainConfig:
    """Merge base and a point and validate them as a train configuration."""
    merged = copy.deepcopy(config.base)
    where = dict.fromkeys(merged, "base")
    for key, value in values.items():
        put_dotted(merged, key, value)
        parts = key.split(".")
        where[key] = "space"
        for depth in range(1, len(parts)):
            where.setdefault(".".join(parts[:depth]), "space")
    if epochs is not None:
        merged["epochs"] = epochs
    merged |= {"workers": config.workers, "use_gpu": config.use_gpu, "data": config.data, "out": config.out}
    return validate(TrainConfig, merged, where)


def _check_point(
    config: TuneConfig, dataset: DatasetInfo, seen: set[tuple[str | None, ...]], values: Mapping[str, Any], what: str
) -> TrainConfig:
    """Check a point as `train` would, without networks in memory, and what it starts from if that is not in `seen`."""
    point = ", ".join(f"{key} = {value}" for key, value in values.items())
    try:
        train = _train_config(config, config.epochs, values)
        with shapes_alone():
            resolved = resolve(train)
        starts_from = (train.method, train.encoder_weights, train.init_from, train.teacher)
        if starts_from not in seen:
            read_start(train)
            seen.add(starts_from)
        check_sizes(dataset, resolved, config.workers)
    except ConfigError as exc:
        if str(exc).startswith(("space:", "base:")):
            raise
        raise ConfigError(f"{what} ({point}): {exc}") from exc
    return train
