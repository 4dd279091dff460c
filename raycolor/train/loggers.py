"""Curves where researchers look: TensorBoard and MLflow, each by its own package."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any, ClassVar, Final, Protocol

from raycolor.config import flattened
from raycolor.errors import ConfigError

Row = Mapping[str, float]


class Logger(Protocol):
    """Takes the rows of a curve.

    Attributes:
        module: what is imported.
        package: what brings it.
    """

    module: ClassVar[str]
    package: ClassVar[str]

    def __init__(self, run: str, settings: Mapping[str, Any], curve: Iterable[Row]) -> None:
        """Open it for a run folder, its settings by dotted keys, and the rows of earlier starts."""

    def log(self, row: Row) -> None:
        """Take the row of one epoch; `row["epoch"]` counts from 1."""

    def close(self) -> None:
        """Write what has not been written yet."""


def metric_name(column: str) -> str:
    """Return what a column of the curve is called elsewhere: `val/mse` for `val_mse`."""
    split, _, name = column.partition("_")
    return f"{split}/{name}" if split in ("train", "val") else column


class TensorBoard(Logger):
    """Event files in RUN/tensorboard: `tensorboard --logdir RUN`, or the folder of many runs."""

    module: ClassVar = "tensorboard"
    package: ClassVar = "tensorboard"

    def __init__(self, run: str, settings: Mapping[str, Any], curve: Iterable[Row]) -> None:
        from torch.utils.tensorboard import SummaryWriter

        # What an earlier start wrote is purged, and the whole curve written again: a killed process may have written
        # a row twice, or not at all.
        self._writer: Any = SummaryWriter(f"{run}/tensorboard", purge_step=0)
        self._writer.add_text("settings", "\n".join(f"    {key}: {value}" for key, value in settings.items()))
        for row in curve:
            self.log(row)

    def log(self, row: Row) -> None:
        for column, value in row.items():
            if column != "epoch":
                self._writer.add_scalar(metric_name(column), value, int(row["epoch"]))
        self._writer.flush()

    def close(self) -> None:
        self._writer.close()


class MLflow(Logger):
    """A run of MLflow, named as the run folder, at MLFLOW_TRACKING_URI; in MLFLOW_EXPERIMENT_NAME or `raycolor`."""

    module: ClassVar = "mlflow"
    package: ClassVar = "mlflow-skinny"

    def __init__(self, run: str, settings: Mapping[str, Any], curve: Iterable[Row]) -> None:
        from mlflow import MlflowClient

        self._client: Any = MlflowClient()
        name = os.environ.get("MLFLOW_EXPERIMENT_NAME", "raycolor")
        experiment = self._client.get_experiment_by_name(name)
        number = self._client.create_experiment(name) if experiment is None else experiment.experiment_id
        # A training that is continued goes on in the run of its first start.
        tag = "raycolor.run"
        known = self._client.search_runs([number], f"tags.`{tag}` = '{run}'")
        if known:
            self._run = known[0].info.run_id
            self._client.update_run(self._run, status="RUNNING")
        else:
            self._run = self._client.create_run(number, tags={tag: run}, run_name=run.rsplit("/", 1)[-1]).info.run_id
        for key, value in settings.items():
            self._client.log_param(self._run, key, value)
        done = {metric.step for metric in self._client.get_metric_history(self._run, "lr")}
        for row in curve:
            if int(row["epoch"]) not in done:
                self.log(row)

    def log(self, row: Row) -> None:
        # The learning rate goes last: where it is, the others are.
        for column in sorted(row, key=lambda column: column == "lr"):
            if column != "epoch":
                self._client.log_metric(self._run, metric_name(column), row[column], step=int(row["epoch"]))

    def close(self) -> None:
        self._client.set_terminated(self._run)


LOGGERS: Final[dict[str, type[Logger]]] = {"tensorboard": TensorBoard, "mlflow": MLflow}
"""By their names for --log-to."""


def check_loggers(names: Iterable[str]) -> None:
    """Refuse loggers that cannot be.

    Raises:
        ConfigError: there is none of that name, or its package is not installed.
    """
    for name in names:
        if name not in LOGGERS:
            raise ConfigError(f"log_to = {name}: unknown: choose among {', '.join(LOGGERS)}")
        wanted = LOGGERS[name]
        if importlib.util.find_spec(wanted.module) is None:
            raise ConfigError(f"log_to = {name}: {wanted.package} is not installed: `pip install {wanted.package}`")


@contextmanager
def logging_to(
    names: Iterable[str], run: str, settings: Mapping[str, Any], curve: Sequence[Row]
) -> Iterator[Callable[[Row], None]]:
    """Open loggers; yield what gives each of them a new row.

    Args:
        names: as in LOGGERS.
        run: run folder.
        settings: of the training, nested.
        curve: the rows so far.
    """
    with ExitStack() as ends:
        flat = {
            key: value if isinstance(value, int | float) else str(value) for key, value in flattened(settings).items()
        }
        loggers = [LOGGERS[name](run, flat, curve) for name in names]
        for logger in loggers:
            ends.callback(logger.close)

        def log(row: Row) -> None:
            for logger in loggers:
                logger.log(row)

        yield log
