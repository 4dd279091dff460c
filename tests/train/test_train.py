"""Laws of training on Ray Train: resuming, killed workers, errors in one line."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import chaos
import labset
import numpy as np
import pytest
from ray.train import UserCallback

from raycolor.errors import ConfigError, DatasetError, TrainingError
from raycolor.models import checkpoints
from raycolor.storage import open_store
from raycolor.train import train as train_by_config
from raycolor.train.config import TrainConfig
from raycolor.train.driver import train_connected
from raycolor.train.run_folder import TrainResult, check, read_curve

pytestmark = [pytest.mark.ray, pytest.mark.slow]

NETWORK = {"base": 8, "levels": 2, "discriminator": {"base": 8, "layers": 1}}
SMALL = {"network": NETWORK, "crop_px": 32, "batch_size": 4, "precision": "fp32", "seed": 3}


def write_small_dataset(folder: Path, *, train_count: int = 32, val_count: int = 6) -> Path:
    """Write photographs of 40 px whose color follows from their lightness."""
    rng = np.random.default_rng(0)
    splits = {}
    for split, count in [("train", train_count), ("val", val_count)]:
        L = rng.integers(60, 200, (count, 5, 5), dtype=np.uint8).repeat(8, 1).repeat(8, 2)
        ab = np.stack([(L // 4).astype(np.int8), (40 - L // 5).astype(np.int8)], axis=1)
        splits[split] = [f"{split}-{k}.jpg" for k in range(count)], L, ab
    labset.put_dataset(open_store(folder), splits)
    return folder


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write_small_dataset(tmp_path_factory.mktemp("lab") / "data")


def train(method: str, *, cache_dir: str, on_epoch=None, callbacks=(), **settings) -> TrainResult:
    checked = check(TrainConfig(method=method, **settings))
    return train_connected(checked, cache_dir=cache_dir, on_epoch=on_epoch, callbacks=callbacks)


def options(data: Path, out: Path, **more):
    return {"data": str(data), "out": str(out), "cache_dir": str(data / "cache"), **SMALL, **more}


@pytest.mark.usefixtures("ray_local")
def test_two_workers_train_and_a_finished_run_is_left_alone(tmp_path, data):
    """Two workers share each global batch and the val photographs; the same command again changes no byte."""
    seen = []
    result = train("gan", **options(data, tmp_path, epochs=2, workers=2, on_epoch=seen.append))
    assert (result.workers, result.global_batch_size, result.device) == (2, 8, "cpu")
    assert [row["step"] for row in result.curve] == [4, 8]
    assert [row["val_n"] for row in result.curve] == [6, 6]
    assert seen == result.curve
    best = checkpoints.load(tmp_path)
    assert best.metrics["mse"] == pytest.approx(min(row["val_mse"] for row in result.curve))
    assert best.training["workers"] == 2
    before = {p: p.read_bytes() for p in tmp_path.iterdir() if p.is_file()}
    again = train("gan", **options(data, tmp_path, epochs=2, workers=2))
    assert again.curve == result.curve
    assert {p: p.read_bytes() for p in tmp_path.iterdir() if p.is_file()} == before


@pytest.mark.usefixtures("ray_local")
def test_another_number_of_workers_goes_on_from_the_checkpoint(tmp_path, data):
    """One worker goes on after two: the rows of both stand in the curve with their number, the first as it was."""
    first = train("gan", **options(data, tmp_path, epochs=1, workers=2))
    result = train("gan", **options(data, tmp_path, epochs=2, workers=1))
    assert [(row["epoch"], row["workers"]) for row in result.curve] == [(1, 2), (2, 1)]
    assert {**first.curve[0], "workers": 2} == result.curve[0]
    assert result.curve[1]["step"] == 16  # of one worker's updates, which are smaller
    settings = json.loads((tmp_path / "run.json").read_text())["settings"]
    assert (settings["workers"], settings["workers_before"], settings["extended"]) == (1, [2], [1])


@pytest.mark.usefixtures("ray_local")
def test_refusals_are_one_line(tmp_path, data):
    """What cannot work is refused at once, before any worker starts."""
    with pytest.raises(ConfigError, match=r"workers = 999: the cluster has \d+ CPUs: ask for at most"):
        train("gan", **options(data, tmp_path, workers=999))
    with pytest.raises(ConfigError, match="crop_px = 32: autoencoder takes 224 only"):
        train("autoencoder", **{**options(data, tmp_path), "network": {}})
    with pytest.raises(ConfigError, match="batch_size = 64 on 1 workers: the dataset has 32"):
        train("gan", **options(data, tmp_path, batch_size=64))
    with pytest.raises(ConfigError, match=r"no such folder"):
        train("gan", **options(data / "nowhere", tmp_path))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("ray_local")
def test_other_settings_over_a_run_are_refused(tmp_path, data):
    """A run folder belongs to one training: what differs is named."""
    train("gan", **options(data, tmp_path, epochs=2))
    with pytest.raises(ConfigError, match="seed: 3, now 4"):
        train("gan", **options(data, tmp_path, epochs=2, seed=4))
    with pytest.raises(ConfigError, match="epochs: 2, now 1"):
        train("gan", **options(data, tmp_path, epochs=1))


@pytest.mark.usefixtures("ray_local")
def test_more_epochs_go_on_with_a_finished_run(tmp_path, data):
    """The first epochs stay as they are, the others follow; run.json says that it was extended."""
    first = train("gan", **options(data, tmp_path, epochs=2))
    longer = train("gan", **options(data, tmp_path, epochs=4))
    assert longer.curve[:2] == first.curve
    assert [row["epoch"] for row in longer.curve] == [1, 2, 3, 4]
    assert json.loads((tmp_path / "run.json").read_text())["settings"]["extended"] == [2]
    assert train("gan", **options(data, tmp_path, epochs=4)).curve == longer.curve


@pytest.mark.usefixtures("ray_local")
def test_a_nan_loss_is_not_tried_again(tmp_path, data):
    """A learning rate that blows the weights up ends in one line with photographs, not in restarts of the workers."""
    blown = {"lr": 1e30, "clip_norm": None, "schedule": "constant"}
    raised = tmp_path / "raised"

    class Watch(UserCallback):  # within the test, so that it travels by value
        def after_exception(self, run_context, worker_exceptions):
            raised.write_text(str(worker_exceptions))

    with pytest.raises(TrainingError, match=r"update \d+: the .* on photographs train-\d+\.jpg"):
        train(
            "regression",
            **{**options(data, tmp_path / "run", optim=blown, workers=2, epochs=3), "network": {}},
            callbacks=[Watch()],
        )
    assert not raised.exists()


@pytest.mark.usefixtures("ray_local")
def test_damaged_shard_is_one_line(tmp_path):
    """Every worker stops for a shard with another SHA-256, and the line names it."""
    folder = write_small_dataset(tmp_path / "data")
    path = folder / "train/part-00000.parquet"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises((DatasetError, TrainingError), match=r"part-00000\.parquet: shard is damaged"):
        train("gan", **options(folder, tmp_path / "run", workers=2))


@pytest.mark.usefixtures("ray_local")
def test_a_killed_worker_changes_nothing(tmp_path, data):
    """SIGKILL of one of two workers after the first epoch: the run goes on by itself and ends with the same bytes.

    fp32 on CPUs; gloo sums two workers' gradients in one order, so no tolerance is needed.
    """
    plain = options(data, tmp_path / "plain", epochs=6, workers=2, checkpoint_every=2)
    whole = train("gan", **plain)
    ended = set(chaos.descendants("ray::RayTrainWorker"))
    killed = []

    def kill(row):
        # Of this Ray only: another training may run on the machine.
        mine = [pid for pid in chaos.descendants("ray::RayTrainWorker") if pid not in ended]
        if mine and not killed:
            os.kill(mine[-1], signal.SIGKILL)
            killed.append(mine[-1])

    again = train("gan", **{**plain, "out": str(tmp_path / "again")}, on_epoch=kill)
    assert killed
    assert again.curve == whole.curve
    for name in ("weights.safetensors", "checkpoint.json", "curve.csv"):
        assert (tmp_path / "again" / name).read_bytes() == (tmp_path / "plain" / name).read_bytes(), name


@pytest.mark.usefixtures("ray_local")
def test_dataset_and_run_live_on_s3(tmp_path, data, s3):
    """From a bucket into a bucket: the same bytes as on disk, and the checkpoint opens from there."""
    here = train("gan", **options(data, tmp_path / "run", epochs=2, workers=2))
    there = s3.uri()
    for path in sorted(p for p in data.rglob("*") if p.is_file() and "cache" not in p.parts):
        open_store(f"{there}/data").put(str(path.relative_to(data)), path.read_bytes())
    more = {**options(data, tmp_path, epochs=2, workers=2), "cache_dir": str(tmp_path / "cache")}
    seen = []
    result = train("gan", **{**more, "data": f"{there}/data", "out": f"{there}/run", "on_epoch": seen.append})
    assert result.curve == seen == here.curve
    for name in ("weights.safetensors", "curve.csv"):
        assert open_store(f"{there}/run").get(name) == (tmp_path / "run" / name).read_bytes(), name
    assert checkpoints.load(f"{there}/run").weights_sha256 == checkpoints.load(tmp_path / "run").weights_sha256
    again = train("gan", **{**more, "data": f"{there}/data", "out": f"{there}/run"})
    assert again.curve == result.curve


@pytest.mark.usefixtures("ray_local")
@pytest.mark.parametrize("method", ["gan", "regression"])
def test_one_process_gives_the_bytes_of_one_worker(tmp_path, data, method):
    """The same training without Ray: every file of the run folder but the state is the same; it is continued, too."""
    more = {**SMALL, "network": NETWORK if method == "gan" else {}, "data": str(data), "epochs": 2, "workers": 1}
    there = train_by_config(TrainConfig(method=method, out=str(tmp_path / "ray"), **more))
    seen: list[object] = []
    config = TrainConfig(method=method, out=str(tmp_path / "here"), **more)
    here = train_by_config(config, ray=False, on_epoch=seen.append)
    assert (here.curve, here.metrics, here.workers) == (there.curve, there.metrics, 1)
    assert [row["epoch"] for row in seen] == [1, 2]
    for name in ("weights.safetensors", "checkpoint.json", "curve.csv", "run.json"):
        assert (tmp_path / "here" / name).read_bytes() == (tmp_path / "ray" / name).read_bytes(), name
    assert train_by_config(config, ray=False).curve == here.curve


SCRIPT = """
import json, sys
from raycolor.cluster import session
from raycolor.train.config import TrainConfig
from raycolor.train.driver import train_connected
from raycolor.train.run_folder import check
options = json.loads(sys.argv[1])
cache = options.pop("cache_dir")
with session.connect():
    train_connected(check(TrainConfig(method="gan", **options)), cache_dir=cache)
"""


def test_a_killed_driver_is_continued_by_the_same_command(tmp_path, data):
    """SIGKILL of the whole driver after an epoch: the same command in a new process ends with the same bytes."""
    folders = {name: tmp_path / name for name in ("plain", "again")}
    for name, folder in folders.items():
        command = [sys.executable, "-c", SCRIPT, json.dumps(options(data, folder, epochs=40, workers=1))]
        if name == "again":
            first = subprocess.Popen(command, start_new_session=True)
            deadline = time.monotonic() + 120
            while len(read_curve(open_store(folder))) < 2 and time.monotonic() < deadline:
                time.sleep(0.1)
            os.killpg(first.pid, signal.SIGKILL)
            first.wait()
            assert 2 <= len(read_curve(open_store(folder))) < 40
        subprocess.run(command, check=True, timeout=300)
    for name in ("weights.safetensors", "checkpoint.json", "curve.csv"):
        assert (folders["again"] / name).read_bytes() == (folders["plain"] / name).read_bytes(), name
