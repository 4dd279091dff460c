"""Networks of others in jobs: killed and resumed between buckets, staged, looping for ever, written in Python."""

import csv
import hashlib
import io
import json
import re
import subprocess
import sys
import time
from pathlib import Path

import chaos
import numpy as np
import photographs
import pytest
from labset import write_checkpoint, write_dataset_of
from onnx_made import Linear, endless, exported, network
from onnx_made import write_checkpoint as write_imported

from raycolor.cli import run
from raycolor.colorize.outcomes import read_outcomes
from raycolor.models import checkpoints
from raycolor.storage import open_store

pytestmark = [pytest.mark.slow, pytest.mark.timeout(560)]

IMAGES = 90
KILLS = 2


@pytest.fixture
def imported(tmp_path, s3):
    """Import a network that gives RGB for three channels of gray, from a file to a bucket; returns where it is."""
    (tmp_path / "rgb.onnx").write_bytes(exported(Linear(3, 3), batch=1))
    place = s3.uri()
    assert run(["import", str(tmp_path / "rgb.onnx"), f"{place}/rgb", "--card", "deoldify"]) == 0
    return f"{place}/rgb"


@pytest.mark.parametrize("how", [pytest.param("--ray", marks=pytest.mark.ray), "--no-ray"])
def test_a_killed_job_on_s3_ends_with_the_same_bytes(tmp_path, s3, imported, how):
    """SIGKILL in the middle of the work, twice, and the same command again: every output is that of a quiet run.

    The network, the photographs and the results lie in buckets; outputs name the network, its hash and its license.
    """
    photographs.archive(tmp_path / "in", count=IMAGES)
    source, quiet, killed = s3.uri(), s3.uri(), s3.uri()
    for key, data in photographs.tree(tmp_path / "in").items():
        open_store(source).put(key, data)

    def command(dest):
        return chaos.job(source, dest, "--checkpoint", imported, "--images-per-shard", "2", "--workers", "1", how)

    assert subprocess.run(command(quiet), capture_output=True, timeout=200).returncode == 0
    expected = chaos.results(quiet)
    assert [status for status, _, _ in expected.values()] == ["colorized"] * IMAGES
    outcomes = open_store(killed)
    for _ in range(KILLS):
        before = len(list(outcomes.list("_raycolor/outcomes/")))
        with chaos.start(command(killed)) as process:
            while len(list(outcomes.list("_raycolor/outcomes/"))) <= before + 2:
                assert process.poll() is None, process.stderr.read()
                time.sleep(0.02)
            process.kill()
        assert before + 2 < len(list(outcomes.list("_raycolor/outcomes/"))) < IMAGES // 2
    last = subprocess.run(command(killed), capture_output=True, text=True, timeout=200)
    assert last.returncode == 0, last.stderr
    assert "imported network rgb (card deoldify), license MIT" in last.stderr
    assert chaos.results(killed) == expected
    digest = checkpoints.load(imported).weights_sha256
    key = next(key for key in expected if key.endswith(".jpg"))
    for said in ("rgb", "MIT", digest):
        assert said.encode() in open_store(killed).get(key)
    summary = json.loads(open_store(killed).get("_raycolor/summary.json"))
    assert summary["checkpoint"] == {
        "name": "rgb", "method": "onnx", "weights_sha256": digest, "card": "deoldify", "license": "MIT",
    }  # fmt: skip


def looping(folder):
    """Make a source of four photographs and a white one, over which a network loops; return flags of a job with it."""
    data = network(folder / "net.onnx", nodes=endless(above=90.0)).SerializeToString()
    write_imported(folder / "looping", data, output_offset=-50.0, size={"default_px": 64})
    photographs.archive(folder / "in", count=4)
    white = photographs.encoded(np.full((48, 64), 255, np.uint8), "png")
    photographs.write_all(folder / "in", {"white.png": white})
    return ["--checkpoint", folder / "looping", "--image-timeout-s", "20", "--workers", "1", "--max-failed", "1"]


def test_a_network_that_loops_for_ever_costs_its_photographs(tmp_path):
    """--image-timeout-s ends it, in a worker and then in a child process: the photograph fails with a reason."""
    flags = looping(tmp_path)
    done = subprocess.run(chaos.job(tmp_path / "in", tmp_path / "out", *flags), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    outcomes = {outcome.key: outcome for outcome in read_outcomes(open_store(tmp_path / "out"))}
    assert (outcomes["white.png"].status, outcomes["white.png"].reason) == ("failed", "internal_error")
    assert outcomes["white.png"].detail == "its process hung for 20 s and was ended"
    assert [outcome.status for outcome in outcomes.values()].count("colorized") == 4


@pytest.mark.ray
def test_a_network_that_loops_for_ever_in_an_actor_costs_its_photographs(tmp_path):
    """There the network is everybody's: the photograph fails, the actor is replaced, and all others are as fused."""
    flags = looping(tmp_path)
    staged = [*flags, "--shape", "staged"]
    done = subprocess.run(chaos.job(tmp_path / "in", tmp_path / "staged", *staged), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    outcomes = {outcome.key: outcome for outcome in read_outcomes(open_store(tmp_path / "staged"))}
    assert (outcomes["white.png"].status, outcomes["white.png"].reason) == ("failed", "internal_error")
    assert outcomes["white.png"].detail == "the network took more than 20 s over it"
    assert "Traceback" not in done.stderr
    (tmp_path / "in" / "white.png").unlink()
    dest = tmp_path / "staged without"
    done = subprocess.run(chaos.job(tmp_path / "in", dest, *staged), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    done = subprocess.run(chaos.job(tmp_path / "in", tmp_path / "fused", *flags), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert chaos.results(dest) == chaos.results(tmp_path / "fused")


@pytest.fixture
def toning(tmp_path):
    """Write the example of the documentation into a folder, where it is `toning:network`; returns its text."""
    page = (Path(__file__).parents[2] / "docs" / "own-network.md").read_text(encoding="utf-8")
    text = re.search(r"```python\n(.*?)```", page, re.S).group(1)
    (tmp_path / "toning.py").write_text(text)
    return text


def test_a_network_in_python_colorizes_in_a_job(tmp_path, toning):
    """By its name, from the current folder; the job is that of its file's hash."""
    photographs.archive(tmp_path / "in", count=4)
    colorize = chaos.job("in", "out", "--checkpoint", "toning:network", "--workers", "1")
    done = subprocess.run(colorize, cwd=tmp_path, capture_output=True, text=True, timeout=250)
    assert done.returncode == 0, done.stderr
    assert [status for status, _, _ in chaos.results(tmp_path / "out").values()] == ["colorized"] * 4
    job = json.loads((tmp_path / "out" / "_raycolor" / "job.json").read_text())
    assert job["checkpoint"]["weights_sha256"] == hashlib.sha256(toning.encode()).hexdigest()


@pytest.mark.ray
def test_networks_of_others_are_compared_with_ours(tmp_path, toning):
    """In Python, imported and ours in one table, which says what is known of each: parameters, input, license."""
    del toning
    write_dataset_of(tmp_path / "scenes", val=3, size_px=48)
    write_checkpoint(tmp_path / "ours", scale=0.2)
    data = network(tmp_path / "net.onnx").SerializeToString()
    write_imported(tmp_path / "theirs", data, license="CC-BY-NC-4.0", size={"default_px": 96})
    evaluate = [sys.executable, "-m", "raycolor", "evaluate", "ours", "toning:network", "theirs", "--data", "scenes",
                "--out", "report", "--workers", "1", "--precision", "fp32"]  # fmt: skip
    done = subprocess.run(evaluate, cwd=tmp_path, capture_output=True, text=True, timeout=250)
    assert done.returncode == 0, done.stderr
    assert "theirs forbids commercial use: CC-BY-NC-4.0" in done.stderr
    table = csv.DictReader(io.StringIO((tmp_path / "report" / "table.csv").read_text()))
    told = {row["method"]: (row["parameters"], row["input_px"], row["license"]) for row in table}
    assert told["toning:network"] == ("", "256", "")
    assert told["theirs"] == ("4", "96", "CC-BY-NC-4.0")
    assert (told["ours"][1:], told["gray"]) == (("32", ""), ("", "", ""))
    assert "CC-BY-NC-4.0" in (tmp_path / "report" / "index.html").read_text()
