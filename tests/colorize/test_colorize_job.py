"""`raycolor colorize` as a user runs it: a process, exit codes, files, and a second run over the same folder."""

import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import chaos
import photographs
import pytest

from raycolor import cli
from raycolor.colorize.config import ColorizeConfig
from raycolor.colorize.outcomes import read_outcomes
from raycolor.errors import ManifestError
from raycolor.models import checkpoints
from raycolor.sources import open_sources
from raycolor.storage import open_store

pytestmark = pytest.mark.ray


def colorize(*arguments, **options):
    """Run the command and return the finished process."""
    command = [sys.executable, "-m", "raycolor", "colorize", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=300, **options)


@pytest.fixture(scope="module")
def mixed(tmp_path_factory):
    """A folder of good, bad and colored photographs, and what one job made of it."""
    folder = tmp_path_factory.mktemp("mixed")
    photographs.archive(folder / "in", count=9)
    photographs.write_all(folder / "in", {key: data for key, (data, _) in photographs.bad_files().items()})
    photographs.write_all(folder / "in", {"new/blue sky.jpg": photographs.encoded(photographs.color_pixels())})
    return folder, colorize(folder / "in", folder / "out", "--max-failed", "50%")


def test_a_job_leaves_one_outcome_per_input_and_its_summary(mixed):
    """Outputs, outcomes, summary, failed.csv and page stand at their places, and nothing half-written."""
    folder, process = mixed
    assert process.returncode == 0, process.stderr
    files = photographs.tree(folder / "out")
    inputs = photographs.tree(folder / "in")
    outcomes = {outcome.key: outcome for outcome in read_outcomes(open_store(folder / "out"))}
    assert set(outcomes) == set(inputs)
    colorized = {key for key, outcome in outcomes.items() if outcome.status == "colorized"}
    own = {name for name in files if name.startswith("_raycolor/")}
    assert set(files) - own == colorized
    assert {name.split("/")[1] for name in own} == {
        "job.json", "manifest", "outcomes", "summary.json", "failed.csv", "outcomes.csv", "report.html",
    }  # fmt: skip
    summary = json.loads(files["_raycolor/summary.json"])
    assert summary["counts"] == {"colorized": 9, "skipped": 1, "failed": 5}
    assert summary["images_per_second"] > 0
    assert files["_raycolor/failed.csv"].decode().count("\n") == 6
    assert "already_color" in process.stdout


def test_the_same_command_again_changes_nothing(mixed):
    """A finished job run again does no work and leaves every output as it is; what dead workers left goes."""
    folder, _ = mixed
    before = photographs.tree(folder / "out")
    dead = folder / "out" / open_store(folder / "out").temp_name()
    dead.write_bytes(b"half")
    photographs.write_all(folder / "out", {"_raycolor/attempts/probe-1": b""})
    assert colorize(folder / "in", folder / "out", "--max-failed", "50%").returncode == 0
    after = photographs.tree(folder / "out")
    own = {"_raycolor/summary.json", "_raycolor/report.html"}
    assert {k: v for k, v in before.items() if k not in own} == {k: v for k, v in after.items() if k not in own}


def test_the_network_in_workers_of_its_own_makes_the_same_bytes(mixed):
    """--shape staged, which is on Ray, and one process without Ray: same outputs, same outcomes."""
    folder, _ = mixed
    process = colorize(folder / "in", folder / "staged", "--max-failed", "50%", "--shape", "staged")
    assert process.returncode == 0, process.stderr
    summary = json.loads((folder / "staged" / "_raycolor" / "summary.json").read_text())
    assert (summary["networks"], summary["device"]) == (1, "cpu")
    own, other = photographs.tree(folder / "out"), photographs.tree(folder / "staged")
    assert {k: v for k, v in other.items() if not k.startswith("_")} == {
        k: v for k, v in own.items() if not k.startswith("_")
    }
    rows = [
        {outcome.key: replace(outcome, seconds=0.0) for outcome in read_outcomes(open_store(folder / name))}
        for name in ("out", "staged")
    ]
    assert rows[0] == rows[1]


def test_too_many_failures_are_exit_code_3(mixed):
    """Done, but 5 of 15 failed and 5% are allowed by default."""
    folder, _ = mixed
    process = colorize(folder / "in", folder / "out")
    assert process.returncode == 3
    assert "5 of 15 images failed, and --max-failed 5% allows 0: see " in process.stderr.splitlines()[-1]


@pytest.mark.slow
def test_a_job_that_goes_wrong_stops_and_continues_with_more_allowed(tmp_path):
    """Past --max-failed after 500 outcomes: exit code 3, one line, what stands so far; with a higher one it goes on."""
    files = {f"{i:04}.jpg": b"no photograph" for i in range(2000)}
    photographs.write_all(tmp_path / "in", files)
    process = colorize(tmp_path / "in", tmp_path / "out", "--workers", "1", "--max-failed", "10")
    assert process.returncode == 3, process.stderr
    assert "images failed, and --max-failed 10 allows 10: see " in process.stderr.splitlines()[-1]
    summary = json.loads((tmp_path / "out" / "_raycolor" / "summary.json").read_text())
    assert not summary["complete"]
    assert 500 <= summary["counts"]["failed"] < 2000
    process = colorize(tmp_path / "in", tmp_path / "out", "--workers", "1", "--max-failed", "100%")
    assert process.returncode == 0, process.stderr
    summary = json.loads((tmp_path / "out" / "_raycolor" / "summary.json").read_text())
    assert summary["complete"]
    assert summary["counts"]["failed"] == 2000


def test_another_setting_over_the_same_destination_is_refused(mixed):
    """The refusal shows both values in one line, and is no traceback."""
    folder, _ = mixed
    process = colorize(folder / "in", folder / "out", "--saturation", "1.5")
    assert process.returncode == 1
    assert "saturation was 1.0, now 1.5" in process.stderr
    assert process.stderr.count("\n") == 1


def test_the_same_weights_read_otherwise_are_another_checkpoint(tmp_path):
    """A network with another saturation gives other colors: over one destination the two do not mix."""
    from raycolor.colorize.begin import begin_or_continue

    photographs.archive(tmp_path / "in", count=1)
    config = ColorizeConfig(source=str(tmp_path / "in"), dest=str(tmp_path / "out"))
    source, dest = open_sources(config.source), open_store(config.dest)
    default = checkpoints.load("default")
    assert default.network["config"]["saturation"] > 1
    duller = replace(default, network={**default.network, "config": {**default.network["config"], "saturation": 1.0}})
    record = begin_or_continue(None, config, source, dest, default)
    with pytest.raises(ManifestError, match="network_sha256 was"):
        begin_or_continue(record, config, source, dest, duller)


def test_originals_in_the_destination_are_refused_and_stay(tmp_path, capsys):
    """A DEST inside SOURCE that holds originals: the first run names one, and leaves no file behind."""
    photographs.archive(tmp_path / "in", count=2)
    photographs.archive(tmp_path / "in" / "color", count=1)
    before = photographs.tree(tmp_path / "in")
    assert cli.run(["colorize", str(tmp_path / "in"), str(tmp_path / "in" / "color")]) == 2
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert "holds a file where the output of" in error
    assert "give another DEST" in error
    assert photographs.tree(tmp_path / "in") == before


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["{tmp}/nowhere", "{tmp}/out"], "no such folder: check the path"),
        (["{tmp}/in", "{tmp}/in"], "is the SOURCE itself"),
        (["{tmp}/in/deep", "{tmp}/in"], "holds the SOURCE"),
        (["{tmp}/in", "{tmp}/out", "--checkpoint", "nobody"], "nobody: no such checkpoint"),
        (["{tmp}/in", "{tmp}/out", "--max-failed", "many"], "--max-failed many: must be a count"),
        (["{tmp}/in", "{tmp}/out", "--include", "*.xyz"], "holds no files to colorize"),
    ],
)
def test_a_users_error_is_one_line(tmp_path, arguments, message, capsys):
    """What, which value, how to mend it; exit code 1 or 2, no traceback, and nothing was written."""
    photographs.archive(tmp_path / "in", count=1)
    photographs.archive(tmp_path / "in" / "deep", count=1)
    before = photographs.tree(tmp_path / "in")
    assert cli.run(["colorize", *[argument.format(tmp=tmp_path) for argument in arguments]]) in (1, 2)
    error = capsys.readouterr().err.strip().splitlines()
    assert message in error[-1]
    assert not [line for line in error if "Traceback" in line]
    assert photographs.tree(tmp_path / "in") == before


def test_an_unwritable_destination_is_one_line(tmp_path, capsys):
    """A destination below a file can hold nothing; that is said before Ray is started."""
    photographs.archive(tmp_path / "in", count=1)
    (tmp_path / "file").write_text("in the way")
    assert cli.run(["colorize", str(tmp_path / "in"), str(tmp_path / "file" / "out")]) == 1
    assert "a file stands where a folder is needed" in capsys.readouterr().err.strip().splitlines()[-1]


def test_an_address_without_a_cluster_is_one_line(tmp_path):
    """The refusal names the address; a process of its own, as Ray remembers failed starts."""
    photographs.archive(tmp_path / "in", count=1)
    process = colorize(tmp_path / "in", tmp_path / "out", "--address", "127.0.0.1:1")
    assert process.returncode == 2
    assert "127.0.0.1:1: no Ray cluster answers" in process.stderr.splitlines()[-1]


@pytest.mark.slow
def test_a_ray_that_runs_here_already_is_left_alone(tmp_path):
    """Without an address a job starts its own Ray, though another was started here (`ray start` leaves its address)."""
    photographs.archive(tmp_path / "in", count=1)
    with tempfile.TemporaryDirectory(prefix="ray-", dir="/tmp") as folder:  # sockets take short paths only
        (Path(folder) / "ray").mkdir()
        (Path(folder) / "ray" / "ray_current_cluster").write_text("127.0.0.1:6379")
        environment = {**os.environ, "RAY_TMPDIR": folder}
        process = colorize(tmp_path / "in", tmp_path / "out", "--ray", env=environment)
    assert process.returncode == 0, process.stderr


@pytest.mark.slow
def test_a_killed_job_continues_to_the_same_bytes(tmp_path):
    """SIGKILL of the driver at several moments, with Ray and without by turns: as if nothing had happened."""
    photographs.archive(tmp_path / "in", count=40)
    assert colorize(tmp_path / "in", tmp_path / "whole").returncode == 0
    command = [sys.executable, "-m", "raycolor", "colorize", str(tmp_path / "in"), str(tmp_path / "killed")]
    for flag, shards in (("--no-ray", 1), ("--ray", 3), ("--no-ray", 4)):
        process = subprocess.Popen([*command, flag], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        outcomes = tmp_path / "killed" / "_raycolor" / "outcomes"
        while process.poll() is None and len(list(outcomes.glob("part-*.parquet"))) < shards:
            time.sleep(0.02)
        process.kill()
        process.wait()
    process = colorize(tmp_path / "in", tmp_path / "killed", "--ray")
    assert process.returncode == 0, process.stderr
    assert chaos.results(tmp_path / "killed") == chaos.results(tmp_path / "whole")
    whole, killed = photographs.tree(tmp_path / "whole"), photographs.tree(tmp_path / "killed")
    assert {k: v for k, v in whole.items() if not k.startswith("_")} == {
        k: v for k, v in killed.items() if not k.startswith("_")
    }


def test_a_job_of_one_photograph_ends_after_its_ray(tmp_path):
    """Ray is left while the page still loads: what that thread lets go of must not end the process with code 1."""
    photographs.write_all(tmp_path / "in", {"one.jpg": photographs.encoded(photographs.gray_pixels())})
    process = colorize(tmp_path / "in", tmp_path / "out", "--ray")
    assert process.returncode == 0, process.stderr
    assert json.loads((tmp_path / "out/_raycolor/summary.json").read_text())["counts"]["colorized"] == 1
