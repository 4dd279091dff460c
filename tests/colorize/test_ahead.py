"""A worker's process that is begun before its job is known: when, for whom, and that none is left over."""

import subprocess
import sys

import photographs
import pytest

from raycolor import child_process, cli
from raycolor.colorize import ahead
from raycolor.machine import instruction_set


@pytest.fixture
def started(monkeypatch):
    """The processes that are started, with what they import first."""
    found = []

    def start(imports="", command=()):
        found.append((imports, child_process_start(imports, command)))
        return found[-1][1]

    child_process_start = child_process.start_process
    monkeypatch.setattr(child_process, "start_process", start)
    monkeypatch.setattr(ahead, "start_process", start)
    monkeypatch.setattr(ahead.shutil, "which", lambda name: None)
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    yield found
    ahead.drop()


@pytest.mark.parametrize(
    ("arguments", "likely"),
    [
        ("in out", True),
        ("in out --checkpoint accurate", True),
        ("in out --no-ray --workers 1", True),
        ("s3://a/in s3://a/out --no-ray", True),
        ("in out --help", False),
        ("in out --print-config", False),
        ("in out --no-ray --help-all", False),
        ("in out --ray", False),
        ("in out --address auto", False),
        ("in out --workers=2", False),
        ("in s3://bucket/out", False),
        ("", False),
    ],
)
def test_a_process_is_begun_where_a_worker_here_is_likely(arguments, likely, started):
    """Not for help, for Ray, or for places on S3."""
    assert ahead.likely(arguments.split()) is likely


def test_a_cluster_or_a_gpu_does_the_work(started, monkeypatch):
    """Then no process is begun."""
    monkeypatch.setenv("RAY_ADDRESS", "10.0.0.1:6379")
    assert not ahead.likely(["in", "out"])
    monkeypatch.delenv("RAY_ADDRESS")
    monkeypatch.setattr(ahead.shutil, "which", lambda name: "/usr/bin/nvidia-smi")
    assert not ahead.likely(["in", "out"])


def test_a_small_job_is_done_by_the_process_that_was_begun(started, tmp_path, untrained):
    """No other is started."""
    photographs.archive(tmp_path / "in", count=2)
    command = ["colorize", str(tmp_path / "in"), str(tmp_path / "out"), "--checkpoint", str(untrained), "--no-ray"]
    assert cli.run(command) == 0
    assert [imports for imports, _ in started] == [ahead.IMPORTS]
    assert started[0][1].poll() is not None


def test_a_mistake_leaves_no_process(started, tmp_path):
    """It is ended with the command."""
    assert cli.run(["colorize", str(tmp_path / "nowhere"), str(tmp_path / "out")]) != 0
    assert [process.poll() is None for _, process in started] == [False]


def test_a_job_of_other_instructions_gets_a_process_of_its_own(started):
    """torch cannot be told any more what to compute with."""
    ahead.begin(["in", "out"])
    assert ahead.take("another CPU") is None
    assert started[0][1].poll() is not None
    ahead.begin(["in", "out"])
    assert ahead.take(instruction_set()) is started[1][1]
    assert ahead.take(instruction_set()) is None
    child_process.end_process(started[1][1])


def test_what_is_made_ahead_leaves_scipy_out_and_whole():
    """A worker decodes and joins without scipy.linalg, which can be imported all the same."""
    script = """
import sys
import raycolor.colorize.worker_imports
from raycolor.color import kernels
import numpy as np
kernels.pixels_to_lab(np.zeros((8, 8, 3), np.uint8)), kernels.warm()
assert "scipy.linalg" not in sys.modules
import scipy.linalg
print(scipy.linalg.norm([3, 4]))
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("5.0\n", "")
