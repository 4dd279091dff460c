"""Laws of a sweep on Ray Tune: killed and continued, trials that stop or fail, refusals before anything starts."""

from __future__ import annotations

import csv
import io
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import chaos
import labset
import pytest
import torch
import yaml

from raycolor.models import checkpoints
from raycolor.storage import open_store
from raycolor.tune.records import SweepRecords

pytestmark = [pytest.mark.ray, pytest.mark.slow]

SMOKE = Path(__file__).resolve().parents[2] / "tune_configs" / "smoke.yaml"
PATIENCE_S = 540  # one trial takes ten seconds on an idle machine, minutes on a busy one


@pytest.fixture
def data(tmp_path):
    labset.write_dataset_of(tmp_path / "data", train=16, val=6, size_px=40)
    return tmp_path / "data"


def command(file: Path, data: Path | str, out: Path | str, *more: str) -> list[str]:
    return [sys.executable, "-m", "raycolor", "tune", str(file), "--data", str(data), "--out", str(out), *more]


def trials_of(out: Path | str):
    return {trial.number: trial for trial in SweepRecords(open_store(out)).trials()}


def rows_of(out: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO((out / "report" / "trials.csv").read_text())))


def mark(out: Path, number: int) -> None:
    """Leave a number in the state that a trial is to go on from, which a training from the start would not have."""
    states = list((out / "trials" / f"{number:04d}" / "last").glob("*/training_state.pt"))
    assert states
    for path in states:
        state = checkpoints.load_state(path.parent)
        state["progress"]["curve"][0]["train_loss"] = 12345.0
        torch.save(state, path)


@pytest.mark.timeout(1500)
def test_a_killed_sweep_is_continued_by_the_same_command(tmp_path, data):
    """SIGKILL of the driver in the middle: ended trials stay as they are, begun ones go on from their checkpoints."""
    out = tmp_path / "sweep"
    start = command(SMOKE, data, out, "--epochs", "5", "--trials", "3", "--max-concurrent", "1")
    first = subprocess.Popen(start, start_new_session=True)
    deadline = time.monotonic() + PATIENCE_S
    ended, begun = set(), set()
    while time.monotonic() < deadline and not (ended and begun):
        assert first.poll() is None, "the sweep ended before it could be killed"
        time.sleep(0.05)
        if (out / "sweep.json").exists():
            trials = trials_of(out)
            ended = {number for number, trial in trials.items() if trial.status == "finished"}
            begun = {n for n, trial in trials.items() if trial.status == "unfinished" and 2 <= len(trial.curve) < 4}
    os.killpg(first.pid, signal.SIGKILL)
    first.wait()
    # Workers end when they notice that their Ray has gone; until then one may still write a checkpoint.
    while chaos.group(first.pid) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not chaos.group(first.pid)
    assert ended
    assert begun
    assert "Train it again" in (out / "report" / "index.html").read_text()

    trials = trials_of(out)
    ended = {number for number, trial in trials.items() if trial.status == "finished"}
    going = [number for number, trial in trials.items() if trial.status == "unfinished" and trial.curve]
    for number in going:
        mark(out, number)
    kept = {path: (path.read_bytes(), path.stat().st_mtime_ns) for n in ended for path in files_of(out, n)}
    subprocess.run(start, check=True, timeout=PATIENCE_S)

    trials = trials_of(out)
    assert {number: trial.status for number, trial in trials.items()} == dict.fromkeys(range(3), "finished")
    assert all(len(trial.curve) == 5 for trial in trials.values())
    assert {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in kept} == kept
    marked = {number for number, trial in trials.items() if trial.curve[0]["train_loss"] == 12345.0}
    assert marked == set(going)
    rows = rows_of(out)
    assert [row["status"] for row in rows] == ["finished"] * 3
    best = next(row for row in rows if row["best"] == "true")
    assert checkpoints.load(best["checkpoint"]).metrics["mse"] == pytest.approx(float(best["mse"]))
    assert not (out / "tune").exists() or not list((out / "tune").rglob("*.json"))

    # With nothing left to do no Ray is started; another sweep in the same folder is refused.
    subprocess.run([*start, "--resume"], check=True, timeout=60)
    other = subprocess.run([*start, "--seed", "1"], capture_output=True, text=True, timeout=60, check=False)
    assert other.returncode == 2
    assert other.stderr.count("\n") == 1
    assert "holds another sweep (seed: 0, now 1)" in other.stderr


def files_of(out: Path, number: int) -> list[Path]:
    return [path for path in (out / "trials" / f"{number:04d}").rglob("*") if path.is_file()]


@pytest.mark.timeout(1500)
def test_stopped_and_failed_trials_do_not_end_a_sweep(tmp_path, data):
    """ASHA stops what lags and gives back what it held; a NaN loss is recorded with its reason.

    Each trial takes two of the three CPUs: had the stopped one kept its place, the next could not start.
    """
    sweep = yaml.safe_load(SMOKE.read_text())
    sweep["base"] |= {"epochs": 8, "optim": {"clip_norm": None, "schedule": "constant"}}
    sweep |= {
        "space": {"optim.lr": {"grid": [3e-3, 1e-9, 1e30]}},
        "search": "grid",
        "scheduler": {"name": "asha", "grace_epochs": 1, "reduction_factor": 2},
        "resources": {"CPU": 2},
        "max_concurrent": 1,
    }
    sweep.pop("trials")
    file, out = tmp_path / "sweep.yaml", tmp_path / "sweep"
    file.write_text(yaml.safe_dump(sweep, sort_keys=False))  # the first objective is the one that stops
    subprocess.run(command(file, data, out), check=True, timeout=2 * PATIENCE_S)
    trials = trials_of(out)
    assert [trials[number].status for number in range(3)] == ["finished", "stopped", "failed"]
    assert trials[1].reason.startswith("asha: mse ")
    assert len(trials[0].curve) == 8
    assert len(trials[1].curve) < 8  # the word to stop comes while the next epoch is under way
    assert "lower optim.lr" in trials[2].reason
    rows = rows_of(out)
    assert [row["best"] for row in rows] == ["true", "false", "false"]
    assert "lower optim.lr" in (out / "report" / "index.html").read_text()


@pytest.mark.timeout(900)
def test_a_sweep_lives_on_s3(tmp_path, data, s3):
    """Dataset read from S3, trials, records and report written there; the best is loaded from where the table says."""
    there = open_store(s3.uri())
    for path in data.rglob("*"):
        if path.is_file():
            there.put(f"data/{path.relative_to(data).as_posix()}", path.read_bytes())
    uri, out = there.uri, f"{there.uri}/sweep"
    more = ["--trials", "2", "--epochs", "1", "--max-concurrent", "1"]
    subprocess.run(command(SMOKE, f"{uri}/data", out, *more), check=True, timeout=PATIENCE_S, cwd=tmp_path)
    assert [trial.status for trial in trials_of(out).values()] == ["finished"] * 2
    rows = list(csv.DictReader(io.StringIO(there.get("sweep/report/trials.csv").decode())))
    best = next(row for row in rows if row["best"] == "true")
    assert best["checkpoint"].startswith(f"{out}/trials/")
    assert checkpoints.load(best["checkpoint"]).metrics["mse"] == pytest.approx(float(best["mse"]))
    assert there.get("sweep/report/index.html").count(b"<img") == 5 * (1 + 2 + 1)
    assert not list(there.list("sweep/tune/"))
    assert [path for path in tmp_path.iterdir() if path != data] == []


@pytest.mark.parametrize(
    ("more", "code", "message"),
    [
        (["--set", "resources={CPU: 512}"], 2, "no node has CPU 512 for one worker (nodes have CPU "),
        (["--workers", "500", "--set", "base.batch_size=1"], 2, "the dataset has 16 training photographs"),
        (["--resume"], 2, "holds no sweep to resume"),
    ],
)
def test_refusals_leave_the_folder_empty(tmp_path, data, more, code, message):
    """What cannot run is refused in one line, and no sweep is claimed."""
    out = tmp_path / "sweep"
    done = subprocess.run(command(SMOKE, data, out, *more), capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == code, done.stderr
    assert message in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert not (out / "sweep.json").exists()
    assert not list(out.glob("trials/*"))
