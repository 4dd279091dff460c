"""Laws of the loop: resuming, early stopping, what is published."""

from __future__ import annotations

import csv
import math

import pytest
import torch
from synthetic import SyntheticData, step_settings

from raycolor.errors import CheckpointError, ConfigError, TrainingError
from raycolor.models import checkpoints
from raycolor.models.build import build_discriminator, build_model
from raycolor.training import loop
from raycolor.training.config import TrainingConfig
from raycolor.training.context import PlainContext
from raycolor.training.loop import curve_csv, fit
from raycolor.training.progress import About
from raycolor.training.step import GanStep, PixelStep

CPU = torch.device("cpu")
EPOCHS = 3


class KilledError(Exception):
    """Stands for the process being killed."""


class KilledData(SyntheticData):
    """Dies when the update of that number would begin."""

    def __init__(self, at: int | None = None, **options) -> None:
        super().__init__(**options)
        self.at = at

    def train_batches(self, epoch, start_step):
        for step, batch in enumerate(super().train_batches(epoch, start_step), start_step):
            if self.at is not None and epoch * self.steps_per_epoch + step == self.at:
                raise KilledError
            yield batch


def make(method: str, data: SyntheticData, **settings):
    torch.manual_seed(0)
    chosen = step_settings(**{"total_steps": EPOCHS * data.steps_per_epoch, "ema": 0.8, **settings})
    if method == "gan":
        net = build_model("gan", {"base": 8, "levels": 3, "dropout": 0.2})
        return GanStep(net, build_discriminator({"base": 8, "layers": 2}), chosen, CPU)
    return PixelStep(build_model(method), chosen, CPU)


def about(method: str, **training) -> About:
    return About(method, {"seed": 0, **training}, {"fingerprint": "none"})


def lasting(epochs: int, **more) -> TrainingConfig:
    return TrainingConfig(method="regression", epochs=epochs, **more)


def train(method, run, data, settings=None, **options):
    step = make(method, data, **options)
    settings = settings or lasting(EPOCHS, checkpoint_every=2)
    return fit(step, data, PlainContext(run), settings, about(method))


@pytest.mark.parametrize(("method", "at"), [("gan", 3), ("gan", 6), ("gan", 11), ("regression", 9)])
def test_resuming_equals_never_stopping(tmp_path, method, at):
    """Killed before update k (in mid-epoch behind a checkpoint, at an epoch's start, before its last update) and run
    again, training ends with the same bytes: best weights, description and curve. fp32 on a CPU, one thread: no
    tolerance."""
    whole = train(method, tmp_path / "whole", SyntheticData())
    with pytest.raises(KilledError):
        train(method, tmp_path / "again", KilledData(at))
    resumed = train(method, tmp_path / "again", SyntheticData())
    assert resumed == whole
    for name in ("weights.safetensors", "checkpoint.json", "curve.csv"):
        assert (tmp_path / "again" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes(), name
    state = [checkpoints.load_state(tmp_path / run / "last")["step"] for run in ("whole", "again")]
    assert checkpoints.pack_state(state[0]) == checkpoints.pack_state(state[1])


@pytest.mark.parametrize("every", [0, 4])
def test_losses_that_are_read_late_are_the_same(tmp_path, monkeypatch, every):
    """A run whose losses stay on the device ends with the same bytes, and reads them in bulk: as often as
    checkpoints and epochs end, and every few updates."""
    monkeypatch.setattr(loop, "READ_EVERY", 5)
    usual = train("gan", tmp_path / "usual", SyntheticData(), lasting(EPOCHS, checkpoint_every=every))
    checked = []
    monkeypatch.setattr(GanStep, "check", lambda self, real=GanStep.check: checked.append(1) or real(self))
    deferred = train("gan", tmp_path / "late", SyntheticData(), lasting(EPOCHS, checkpoint_every=every), deferred=True)
    assert deferred == usual
    for name in ("weights.safetensors", "checkpoint.json", "curve.csv"):
        assert (tmp_path / "late" / name).read_bytes() == (tmp_path / "usual" / name).read_bytes(), name
    assert len(checked) == 2 * EPOCHS  # of six updates: five and the rest, or four and the rest


def test_a_deferred_nan_reaches_no_checkpoint(tmp_path):
    """It is found before anything is saved or an epoch ends: the newest checkpoint is older, and finite."""
    data = SyntheticData()
    bad = int(next(iter(data.train_batches(1, 2))).ids[1].split("-")[1])

    class Spoiled(SyntheticData):
        def train_batches(self, epoch, start_step):
            self.ab_net[bad] = math.nan if epoch == 1 else data.ab_net[bad]
            return super().train_batches(epoch, start_step)

    with pytest.raises(TrainingError, match=rf"update 8: the loss is nan on photographs .*photo-{bad}\b"):
        train("regression", tmp_path, Spoiled(), deferred=True)
    state = checkpoints.load_state(tmp_path / "last")
    assert state["progress"]["steps_done"] == 8
    for weights in (checkpoints.load(tmp_path).weights, state["step"]["trained"]["network"]):
        assert all(torch.isfinite(value).all() for value in weights.values())


def test_all_workers_stop_at_a_nan_of_one(tmp_path):
    """A worker that sees no NaN of its own stops when another one does, instead of waiting for it for ever."""

    class Second(PlainContext):
        def sum(self, values):
            return values + 1 if len(values) == 1 else values

    data = SyntheticData()
    with pytest.raises(TrainingError, match="another worker's loss is NaN"):
        fit(make("regression", data, deferred=True), data, Second(tmp_path), lasting(1), about("regression"))


@pytest.mark.parametrize(("at", "seen"), [(9, 2), (6, 0)])
def test_another_number_of_workers_goes_on(tmp_path, at, seen):
    """In mid-epoch or at its start, four workers' training goes on with two: it sees what is left of the photographs,
    ends after as many epochs, and every row of the curve says how many workers there were."""
    four = make("regression", SyntheticData())
    with pytest.raises(KilledError):
        fit(four, KilledData(at), PlainContext(tmp_path), lasting(EPOCHS, checkpoint_every=2),
            about("regression", workers=4))  # fmt: skip
    starts = []

    class HalfABatch(SyntheticData):
        def train_batches(self, epoch, start_step):
            starts.append((epoch, start_step))
            return super().train_batches(epoch, start_step)

    data = HalfABatch(batch_size=2)
    context = PlainContext(tmp_path)
    context.world_size = 2
    more = about("regression", workers=2, workers_before=[4])
    progress = fit(make("regression", data), data, context, lasting(EPOCHS), more)
    assert starts == [(1, 2 * seen), (2, 0)]
    assert [row["workers"] for row in progress.curve] == [4, 2, 2]
    assert [row["step"] for row in progress.curve] == [6, 24, 36]
    assert "workers" in (tmp_path / "curve.csv").read_text().splitlines()[0]


def test_a_finished_run_is_left_alone(tmp_path):
    """The same command over a finished run makes no update and gives the same result."""
    first = train("regression", tmp_path, SyntheticData())
    again = train("regression", tmp_path, KilledData(at=0))
    assert again == first


def test_other_settings_over_a_run_are_refused(tmp_path):
    """Going on with other settings would make a curve of two trainings: the difference is named."""
    data = SyntheticData()
    fit(
        make("regression", data),
        data,
        PlainContext(tmp_path),
        lasting(1),
        about("regression", lr=1e-3),
    )
    with pytest.raises(ConfigError, match=r"other settings \(lr: 0\.001, now 0\.002\): train into another folder"):
        fit(
            make("regression", data),
            data,
            PlainContext(tmp_path),
            lasting(1),
            about("regression", lr=2e-3),
        )


def test_more_epochs_go_on_with_a_finished_run(tmp_path):
    """A finished training of fewer epochs is gone on with: its curve stays, and the learning rate is that of the
    longer schedule. Killed and run again, it ends with the same bytes."""
    for name, at in (("whole", None), ("again", 14)):
        short = SyntheticData()
        steps = short.steps_per_epoch
        fit(make("regression", short, total_steps=2 * steps), short, PlainContext(tmp_path / name), lasting(2),
            about("regression", epochs=2))  # fmt: skip
        for data in (KilledData(at), SyntheticData()) if at else (SyntheticData(),):
            longer = make("regression", data, total_steps=3 * steps)
            try:
                progress = fit(longer, data, PlainContext(tmp_path / name), lasting(3),
                               about("regression", epochs=3, extended=[2]))  # fmt: skip
            except KilledError:
                continue
        assert [row["step"] for row in progress.curve] == [steps, 2 * steps, 3 * steps]
        assert progress.finished
    for name in ("weights.safetensors", "curve.csv"):
        assert (tmp_path / "again" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes(), name


def test_run_folder_holds_best_curve_and_state(tmp_path):
    """The run folder is itself the checkpoint of the epoch with the lowest val mse; last/ holds the state."""
    progress = train("regression", tmp_path, SyntheticData())
    best = checkpoints.load(tmp_path)
    rows = list(csv.DictReader((tmp_path / "curve.csv").read_text().splitlines()))
    assert [int(row["epoch"]) for row in rows] == [1, 2, 3]
    assert [int(row["step"]) for row in rows] == [6, 12, 18]
    errors = [float(row["val_mse"]) for row in rows]
    assert best.metrics["mse"] == pytest.approx(min(errors))
    assert best.metrics["epoch"] == 1 + errors.index(min(errors)) == progress.best_epoch + 1
    assert {"val_accuracy_10", "val_psnr_db", "val_colorfulness", "train_loss", "lr"} <= set(rows[0])
    assert checkpoints.load_state(tmp_path / "last")["progress"]["finished"]
    data = SyntheticData()
    with torch.no_grad():
        batches = list(data.val_batches())
        model = best.model()
        squares = sum((model(b.L_net) - b.ab_net).square().mean((1, 2, 3)).sum().item() for b in batches)
    assert squares / data.val == pytest.approx(best.metrics["mse"], rel=1e-5)


def test_early_stopping(tmp_path):
    """Without a better val mse for `patience` epochs training ends, and the best epoch stays published."""
    data = SyntheticData()
    progress = train(
        "regression",
        tmp_path,
        data,
        lasting(50, patience=2),
        lr=1e-9,
        ema=0,
        schedule="constant",
    )
    assert progress.finished
    assert len(progress.curve) == progress.best_epoch + 3 < 50


def test_nan_keeps_the_last_good_checkpoint(tmp_path):
    """A photograph of NaN stops training with its id; the checkpoint before it loads and is finite."""
    data = SyntheticData()
    bad = int(next(iter(data.train_batches(1, 2))).ids[1].split("-")[1])
    good = SyntheticData()

    class Spoiled(SyntheticData):
        def train_batches(self, epoch, start_step):
            self.ab_net[bad] = math.nan if epoch == 1 else good.ab_net[bad]
            return super().train_batches(epoch, start_step)

    with pytest.raises(TrainingError, match=rf"update 8: the loss is nan on photographs .*photo-{bad}\b"):
        train("regression", tmp_path, Spoiled())
    assert all(torch.isfinite(value).all() for value in checkpoints.load(tmp_path).weights.values())
    # checkpoint_every is 2: the update that failed is the first behind a checkpoint.
    assert checkpoints.load_state(tmp_path / "last")["progress"]["steps_done"] == 8


def test_no_batch_is_refused(tmp_path):
    """Fewer photographs than a batch is a clear line, not an epoch of nothing."""
    data = SyntheticData(count=3, batch_size=4)
    with pytest.raises(ConfigError, match="not one full batch"):
        fit(
            make("regression", SyntheticData()),
            data,
            PlainContext(tmp_path),
            lasting(1),
            about("regression"),
        )


def test_state_of_another_network_is_refused(tmp_path):
    """A state that does not fit the networks is one line, even where the settings look the same."""
    train("regression", tmp_path, SyntheticData())
    data = SyntheticData()
    with pytest.raises(CheckpointError, match="does not fit this training"):
        fit(
            make("gan", data),
            data,
            PlainContext(tmp_path),
            lasting(EPOCHS),
            about("regression"),
        )


def test_training_without_validation_keeps_the_newest(tmp_path):
    """With no validation photographs every epoch's network is published in turn."""
    progress = train("regression", tmp_path, SyntheticData(val=0))
    assert progress.best_epoch == EPOCHS - 1
    assert checkpoints.load(tmp_path).metrics == {"epoch": EPOCHS}


def test_curve_of_nothing_is_empty():
    """No finished epoch, no header."""
    assert curve_csv([]) == b""
