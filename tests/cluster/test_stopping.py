"""Commands that are stopped: SIGTERM and Ctrl-C end each of them alike, and nothing of a killed one stays behind."""

import os
import signal
import subprocess
import sys
import time

import chaos
import labset
import photographs
import pytest

from raycolor import cli
from raycolor.signals import Terminated, listening

SMALL = ["--checkpoint", "regression", "--network-size", "64", "--images-per-shard", "4", "--workers", "1"]


@pytest.fixture
def start():
    """A function that starts a command in a session of its own; what is left of it at the end is killed by pid."""
    begun = []

    def begin(*arguments):
        command = [sys.executable, "-m", "raycolor", *map(str, arguments)]
        begun.append(chaos.start(command, start_new_session=True))
        return begun[-1]

    yield begin
    for process in begun:
        for pid in chaos.group(process.pid):
            os.kill(pid, signal.SIGKILL)
        process.communicate(timeout=60)


def wait_for(there, process, seconds=240):
    """Wait until something is there; the process must live as long."""
    deadline = time.monotonic() + seconds
    while not there():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.05)


def gone_within(session, seconds):
    """Return what is left of a session after so many seconds, or as soon as nothing is."""
    deadline = time.monotonic() + seconds
    while (left := chaos.group(session)) and time.monotonic() < deadline:
        time.sleep(0.1)
    return left


def test_sigterm_becomes_an_exception_in_the_main_thread():
    """What is held is given back on the way out; afterwards the handler is the one that was there."""
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(Terminated), listening():  # noqa: PT012
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(10)
    assert signal.getsignal(signal.SIGTERM) is before


@pytest.mark.parametrize(("error", "code"), [(Terminated(), 143), (KeyboardInterrupt(), 130)])
def test_each_way_to_stop_has_its_exit_code(error, code, monkeypatch, capsys):
    """One line that says what to do, and 143 or 130."""

    def stop(config):
        raise error

    monkeypatch.setattr("raycolor.plan.driver.run", stop)
    assert cli.run(["plan", "somewhere"]) == code
    assert "run the same command again" in capsys.readouterr().err


def test_sigterm_while_a_source_is_listed(start, tmp_path):
    """Before Ray has begun too: exit code 143, one line, and no lease is left."""
    (tmp_path / "in").mkdir()
    for number in range(60_000):
        (tmp_path / "in" / f"{number}.jpg").touch()
    process = start("colorize", tmp_path / "in", tmp_path / "out", *SMALL)
    lease = tmp_path / "out" / "_raycolor" / "lease.json"
    wait_for(lease.exists, process)
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 143, errors
    assert errors.strip().splitlines()[-1] == "raycolor: stopped by SIGTERM; run the same command again to continue"
    assert "Traceback" not in errors
    assert not lease.exists()


@pytest.mark.ray
@pytest.mark.slow
@pytest.mark.parametrize(("moment", "way"), [("start", "--ray"), ("work", "--ray"), ("work", "--no-ray")])
def test_sigterm_ends_a_job_as_ctrl_c_does(start, tmp_path, moment, way):
    """Exit code 143, a summary, no lease, no stack of anybody's, nothing left; the same command goes on."""
    photographs.archive(tmp_path / "in", count=60)
    out = tmp_path / "out" / "_raycolor"
    process = start("colorize", tmp_path / "in", tmp_path / "out", way, *SMALL)
    outcomes = out / "outcomes"
    if moment == "work":
        wait_for(lambda: outcomes.exists() and any(outcomes.iterdir()), process)
    else:
        wait_for((out / "job.json").exists, process)
        time.sleep(3)  # Ray is starting
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 143, errors
    assert errors.strip().splitlines()[-1] == "raycolor: stopped by SIGTERM; run the same command again to continue"
    assert not any(word in errors for word in ("Traceback", "SIGTERM received at", "SIGABRT")), errors
    assert not (out / "lease.json").exists()
    assert (out / "summary.json").exists()
    assert not gone_within(process.pid, 30)
    again = subprocess.run(chaos.job(tmp_path / "in", tmp_path / "out", *SMALL), capture_output=True, timeout=300)
    assert again.returncode == 0
    assert len(chaos.results(tmp_path / "out")) == 60


@pytest.mark.ray
@pytest.mark.slow
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_training_that_is_stopped_says_how_to_go_on(start, tmp_path, number, code):
    """Ray Train would end it without a word."""
    labset.write_dataset_of(tmp_path / "data", train=16)
    run = tmp_path / "run"
    process = start("train", "regression", "--data", tmp_path / "data", "--out", run, "--epochs", 500, "--crop-px", 32)
    wait_for((run / "curve.csv").exists, process)
    process.send_signal(number)
    _, errors = process.communicate(timeout=120)
    assert process.returncode == code, errors
    assert "run the same command again to continue" in errors.strip().splitlines()[-1]
    assert "Traceback" not in errors
    assert not gone_within(process.pid, 30)


@pytest.mark.ray
@pytest.mark.slow
@pytest.mark.parametrize("way", ["--ray", "--no-ray"])
def test_nothing_outlives_a_killed_driver_for_long(start, tmp_path, way):
    """SIGKILL of the command alone: 30 seconds later there is no process of the job's."""
    photographs.archive(tmp_path / "in", count=60)
    process = start("colorize", tmp_path / "in", tmp_path / "out", way, *SMALL)
    outcomes = tmp_path / "out" / "_raycolor" / "outcomes"
    wait_for(lambda: outcomes.exists() and any(outcomes.iterdir()), process)
    process.kill()
    process.wait()
    assert not gone_within(process.pid, 30)
