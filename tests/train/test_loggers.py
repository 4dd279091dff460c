"""Laws of loggers: every row once, whatever was killed, and one place to add another."""

import sys
from types import SimpleNamespace

import pytest

from raycolor.errors import ConfigError
from raycolor.train.config import TrainConfig
from raycolor.train.loggers import LOGGERS, Logger, check_loggers, logging_to
from raycolor.train.run_folder import check

ROWS = [{"epoch": float(k), "lr": 0.1, "train_loss": 1 / k, "val_mse": 2 / k} for k in (1, 2, 3)]
SETTINGS = {"method": "gan", "optim": {"lr": 0.1}, "network": {"widths": [8, 4]}}


def feed(name, run):
    """Log two rows, be killed, and go on with what the curve has: the second row may have been logged, too."""
    with logging_to([name], str(run), SETTINGS, []) as log:
        log(ROWS[0])
        log(ROWS[1])
    with logging_to([name], str(run), SETTINGS, ROWS[:2]) as log:
        log(ROWS[2])


def test_tensorboard_reads_every_row_once(tmp_path):
    """What TensorBoard itself reads of a run that was continued is the curve, each row once."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    feed("tensorboard", tmp_path)
    found = EventAccumulator(str(tmp_path / "tensorboard"))
    found.Reload()
    assert set(found.Tags()["scalars"]) == {"lr", "train/loss", "val/mse"}
    scalars = [(event.step, pytest.approx(event.value)) for event in found.Scalars("val/mse")]
    assert scalars == [(1, 2.0), (2, 1.0), (3, 2 / 3)]


def test_tensorboard_writes_to_s3_too(s3, monkeypatch):
    """A run folder in a bucket: the event files lie there, and hold the curve once."""
    import boto3
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    # TensorBoard takes boto3's session of the process, which an earlier test may have made with other keys.
    monkeypatch.setattr(boto3, "DEFAULT_SESSION", None)
    run = s3.uri()
    feed("tensorboard", run)
    found = EventAccumulator(f"{run}/tensorboard")
    found.Reload()
    assert [event.step for event in found.Scalars("val/mse")] == [1, 2, 3]


class StandIn:
    """What is used of `mlflow.MlflowClient`, in memory: neither it nor a server is installed with the tests."""

    runs: dict[str, dict]

    def get_experiment_by_name(self, name):
        return SimpleNamespace(experiment_id="7") if self.runs else None

    def create_experiment(self, name):
        return "7"

    def search_runs(self, experiments, query):
        return [
            SimpleNamespace(info=SimpleNamespace(run_id=number))
            for number, run in self.runs.items()
            if all(query == f"tags.`{key}` = '{value}'" for key, value in run["tags"].items())
        ]

    def create_run(self, experiment, *, tags, run_name):
        number = str(len(self.runs))
        self.runs[number] = {"tags": tags, "name": run_name, "params": {}, "metrics": []}
        return SimpleNamespace(info=SimpleNamespace(run_id=number))

    def update_run(self, run, status):
        self.runs[run]["status"] = status

    def set_terminated(self, run):
        self.runs[run]["status"] = "FINISHED"

    def log_param(self, run, key, value):
        assert self.runs[run]["params"].setdefault(key, value) == value

    def log_metric(self, run, name, value, step):
        self.runs[run]["metrics"].append((name, step, value))

    def get_metric_history(self, run, name):
        return [SimpleNamespace(step=step) for key, step, _ in self.runs[run]["metrics"] if key == name]


def test_mlflow_continues_the_run_of_the_first_start(tmp_path, monkeypatch):
    """One run per run folder, its settings as parameters, every row once."""
    runs = {}
    monkeypatch.setattr(StandIn, "runs", runs, raising=False)
    monkeypatch.setitem(sys.modules, "mlflow", SimpleNamespace(MlflowClient=StandIn))
    feed("mlflow", tmp_path / "mine")
    assert [run["name"] for run in runs.values()] == ["mine"]
    assert runs["0"]["params"] == {"method": "gan", "optim.lr": 0.1, "network.widths": "[8, 4]"}
    assert [(step, value) for name, step, value in runs["0"]["metrics"] if name == "val/mse"] == [
        (1, 2),
        (2, 1),
        (3, 2 / 3),
    ]
    assert runs["0"]["status"] == "FINISHED"


def test_a_logger_that_cannot_be_is_refused_before_anything_starts(tmp_path, monkeypatch):
    """An unknown name, and one whose package is not installed: one line that says what to do."""
    with pytest.raises(ConfigError, match="log_to = wandb: unknown: choose among tensorboard, mlflow"):
        check(TrainConfig(method="gan", data="nowhere", out=str(tmp_path), log_to="wandb"))
    monkeypatch.setattr(LOGGERS["mlflow"], "module", "no_such_module")
    with pytest.raises(ConfigError, match="mlflow-skinny is not installed: `pip install mlflow-skinny`"):
        check_loggers(["mlflow"])


def test_a_logger_of_your_own_is_a_class_and_a_name(tmp_path, monkeypatch):
    """The steps of docs/extending.md: a class in LOGGERS is all that `--log-to` needs."""
    seen = []

    class Listed:
        module, package = "json", "json"

        def __init__(self, run, settings, curve):
            seen.extend(curve)

        def log(self, row):
            seen.append(row)

        def close(self):
            seen.append("closed")

    wanted: type[Logger] = Listed
    monkeypatch.setitem(LOGGERS, "listed", wanted)
    check_loggers(["listed"])
    with logging_to(["listed"], str(tmp_path), SETTINGS, ROWS[:1]) as log:
        log(ROWS[1])
    assert seen == [*ROWS[:2], "closed"]
