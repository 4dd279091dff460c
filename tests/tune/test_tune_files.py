"""Laws of sweep files: the shipped ones load, every trial of theirs can be trained, and mistakes are one line."""

from pathlib import Path
from types import SimpleNamespace

import labset
import pytest
import torch

from raycolor.config import load_config
from raycolor.dataset.info import ShardInfo
from raycolor.errors import ConfigError, DatasetError
from raycolor.models.build import build_model
from raycolor.storage import open_store
from raycolor.training.context import PlainContext
from raycolor.training.loop import validate
from raycolor.training.step import PixelStep
from raycolor.training.trained import StepSettings
from raycolor.tune.config import TuneConfig
from raycolor.tune.plan import REPORTED, make_plan

SHIPPED = sorted((Path(__file__).resolve().parents[2] / "tune_configs").glob("*.yaml"))
SMOKE = next(path for path in SHIPPED if path.name == "smoke.yaml")


def dataset(folder, *, val=500, size_px=256):
    """Write the description of a dataset, which is all that a plan reads."""
    shards = [ShardInfo(f"{split}/a", split, rows, 1, "0" * 64) for split, rows in (("train", 2500), ("val", val))]
    labset.describe(open_store(folder), size_px, shards)
    return str(folder)


@pytest.fixture
def places(tmp_path):
    return {"data": dataset(tmp_path / "data"), "out": str(tmp_path / "sweep")}


def plan(places, *sets, file=SMOKE, **flags):
    return make_plan(load_config(TuneConfig, file=str(file), sets=sets, flags={**places, **flags}))


def test_the_promised_files_are_there():
    """A user finds the sweeps that the documentation names."""
    assert {"gan_lambda.yaml", "regression.yaml", "autoencoder.yaml", "smoke.yaml"} <= {path.name for path in SHIPPED}


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.name)
def test_shipped_sweeps_load_and_every_trial_can_be_trained(path, places):
    """Every point of a shipped file is a valid train configuration, the same at each start."""
    made = plan(places, file=path)
    trials = [made.trial(number, made.point(number)) for number in range(made.trials)]
    assert len(trials) >= 4
    again = plan(places, file=path)
    assert [again.point(number) for number in range(made.trials)] == [trial.values for trial in trials]
    assert again.identity() == made.identity()
    for trial in trials:
        config = made.train_config(trial)
        assert (config.epochs, config.workers) == (made.epochs, 1)
        assert config.out == f"{places['out']}/trials/{trial.number:04d}"


def test_lambda_is_swept_as_promised(places):
    """gan_lambda.yaml draws lambda log-uniformly from 1 to 1000, learning rates, and the adversarial form."""
    made = plan(places, file=SMOKE.with_name("gan_lambda.yaml"))
    space = {one.key: one for one in made.space}
    assert (space["loss.lambda_pixel"].kind, space["loss.lambda_pixel"].values) == ("loguniform", (1.0, 1000.0))
    assert {"optim.lr", "optim.discriminator_lr", "loss.adversarial"} <= set(space)
    assert made.lead is space["loss.lambda_pixel"]


@pytest.mark.parametrize(
    ("sets", "message"),
    [
        (["space={}"], "space is empty"),
        (
            ["space={loss.lamda: {uniform: [1, 2]}}"],
            r"space: unknown key loss\.lamda: known are adversarial, .*lambda_pixel",
        ),
        (["space={lambda: {uniform: [1, 2]}}"], r"space: unknown key lambda: known are "),
        (["space={network.bas: {choice: [8]}}"], r"space \(network\.bas = 8\): network gan: unknown key 'bas'"),
        (["space={network.base: {choice: [8, 9]}}"], r"space \(network\.base = 9\): network gan: base = 9"),
        (["space={optim.lr: {uniform: [-1, 1]}}"], r"space: optim\.lr = -1\.0: input should be greater than 0"),
        (["space={crop_px: {choice: [32, 34]}}"], r"space \(crop_px = 34\): crop_px = 34: gan takes multiples of 4"),
        (["space={crop_px: {choice: [512]}}"], r"the dataset stores squares of 256 px"),
        (["space={out: {choice: [a]}}"], r"space\.out: is a setting of the sweep"),
        (["space={epochs: {choice: [1, 2]}}"], r"space\.epochs: is the same for every trial"),
        (["space={network.levels.x: {choice: [1, 2]}}"], r"space\.network\.levels\.x: levels is one value in base"),
        (["base.workers=2"], r"base\.workers: is a setting of the sweep"),
        (["base.optm.lr=1"], r"base: unknown key optm: known are"),
        (["base.method=cyclegan"], r"method 'cyclegan': unknown"),
        (["base.batch_size=4000"], r"batch_size = 4000 on 1 workers: the dataset has 2500"),
        (["objectives={mee: min}"], r"objectives: no trial reports 'mee': trials report mse, accuracy_10"),
        (["objectives={mse: lowest}"], r"objectives\.mse = \"lowest\": input should be 'min' or 'max'"),
        (["objectives={}"], r"objectives = \{\}"),
        (["objectives={mse: min}", "best.rule=within"], r"best\.rule = within: needs two objectives"),
        (
            ["scheduler={name: asha, metric: psnr_db}"],
            r"scheduler\.metric = 'psnr_db': is not an objective: name one of mse",
        ),
        (["scheduler={name: asha, grace_epochs: 3}"], r"scheduler\.grace_epochs = 3: trials have 2 epochs: lower it"),
        (["scheduler=hyperband"], r"scheduler\.name = \"hyperband\": input should be 'asha' or 'none'"),
        (["scheduler={name: asha, rungs: 3}"], r"unknown key scheduler\.rungs: known are "),
        (["search=grid"], r"search = grid: space\.loss\.lambda_pixel is loguniform"),
        (["trails=3"], r"unknown key trails: known are "),
    ],
)
def test_mistakes_are_one_line_before_anything_starts(sets, message, places):
    """Each mistake in a sweep is refused by key and value, and nothing is written."""
    with pytest.raises(ConfigError, match=message) as caught:
        plan(places, *sets)
    assert "\n" not in str(caught.value)
    assert not Path(places["out"]).exists()


def test_a_trial_that_cannot_be_trained_is_found_by_its_number(places):
    """Corners may be valid where a combination is not: every drawn trial is checked too."""
    with pytest.raises(
        ConfigError, match=r"trial 3 \(crop_px = 36, network\.levels = 4\): crop_px = 36: gan takes mult"
    ):
        plan(places, "search=grid", "space={crop_px: {grid: [32, 36]}, network.levels: {grid: [2, 4]}}", trials=4)


def test_datasets_that_cannot_serve(tmp_path, places):
    """No dataset, or one without val photographs, is refused."""
    with pytest.raises(DatasetError, match="not a dataset"):
        plan({**places, "data": str(tmp_path)})
    with pytest.raises(ConfigError, match="no photographs to validate on, so no trial would report mse"):
        plan({**places, "data": dataset(tmp_path / "none", val=0)})


class OneBatch:
    """Two photographs of val."""

    def val_batches(self):
        L, ab = labset.planes(2, 32, 0)
        yield SimpleNamespace(
            L_net=torch.tensor(L / 128.0 - 1)[:, None].float(), ab_net=torch.tensor(ab) / 110.0, ids="ab"
        )


def test_every_objective_that_may_be_named_is_reported(tmp_path):
    """The metrics that a sweep may name are those that validation returns."""
    cpu = torch.device("cpu")
    step = PixelStep(build_model("gan", labset.NETWORK), StepSettings(total_steps=1), cpu)
    found, _ = validate(step, OneBatch(), PlainContext(tmp_path))
    assert set(REPORTED) == set(found) - {"n"}
