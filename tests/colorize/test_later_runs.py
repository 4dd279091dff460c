"""`raycolor colorize` over a job that is done: retry, new and changed files, outputs that went, kills in between."""

import json
import shutil
import signal
import subprocess
import time
from pathlib import Path

import chaos
import photographs
import pytest

from raycolor.colorize.job_record import read_job
from raycolor.colorize.outcomes import read_shards
from raycolor.storage import open_store

pytestmark = [pytest.mark.ray, pytest.mark.timeout(900)]

SETTINGS = ["--checkpoint", "regression", "--network-size", "64", "--workers", "1", "--images-per-shard", "4"]
SETTINGS += ["--max-failed", "90%"]


def colorize(source, dest, *flags):
    """Run the command to its end, which is a good one; return its lines."""
    process = subprocess.run(chaos.job(source, dest, *SETTINGS, *flags), capture_output=True, text=True, timeout=400)
    assert process.returncode == 0, process.stderr
    assert "Traceback" not in process.stderr
    return process.stderr


def counts(dest):
    """Return the counts of the summary; outcomes, CSV and page are of the same job."""
    own = Path(dest) / "_raycolor"
    summary = json.loads((own / "summary.json").read_text())
    assert summary["complete"]
    assert (own / "failed.csv").read_text().count("\n") == summary["counts"]["failed"] + 1
    assert (own / "outcomes.csv").read_text().count("\n") == summary["images"] + 1
    return summary["counts"]


@pytest.mark.slow
def test_a_job_is_brought_up_to_its_source_and_made_whole(tmp_path):
    """In the order a keeper of an archive would do it: each run does what it says, and one row per input stays."""
    source, dest = tmp_path / "in", tmp_path / "out"
    photographs.archive(source, count=6)
    (first, second, *_), good = sorted(photographs.tree(source)), photographs.tree(source)
    photographs.write_all(source, {"bad/empty.jpg": b"", "bad/text.jpg": b"no photograph at all"})
    colorize(source, dest)
    assert counts(dest) == {"colorized": 6, "skipped": 0, "failed": 2}
    whole = chaos.results(dest)

    # New and changed files, and an output that somebody deleted: told, and made whole.
    photographs.write_all(source, {"new/one.jpg": good[first], second: good[first], "bad/empty.jpg": good[second]})
    (dest / first).unlink()
    lines = colorize(source, dest)
    assert "1 new file is not in this job: --add-new" in lines
    assert "2 changed files kept their old output: --add-new" in lines
    assert "made again: 1 missing, 0 changed" in lines
    assert chaos.results(dest) == whole

    # A failure of another reason stays; the mended file is read as it is now.
    lines = colorize(source, dest, "--retry-reason", "empty")
    assert "1 new file is not in this job" in lines
    assert "1 changed file kept their old output" in lines
    assert counts(dest) == {"colorized": 7, "skipped": 0, "failed": 1}
    mended = next(o for s in read_shards(open_store(dest)) for o in s.outcomes if o.key == "bad/empty.jpg")
    assert mended.input_bytes == len(good[second])

    lines = colorize(source, dest, "--add-new", "--retry-failed")
    assert "added to this job: 1 new file; to colorize again: 1 changed file" in lines
    assert counts(dest) == {"colorized": 8, "skipped": 0, "failed": 1}
    now = chaos.results(dest)
    assert now[second][2] == now["new/one.jpg"][2] == whole[first][2]

    # Bytes that are not the job's are found by reading alone.
    (dest / first).write_bytes(b"edited")
    assert "not in this job" not in colorize(source, dest)
    assert (dest / first).read_bytes() == b"edited"
    assert "outputs read: 9, made again: 0 missing, 1 changed" in colorize(source, dest, "--verify")
    assert chaos.results(dest) == now
    record = read_job(open_store(dest))
    assert (record.rounds, record.round, record.manifest.images) == (3, None, 9)


def kill_within(command, dest, ready):
    """Run a command and kill it by SIGKILL as soon as `ready()`; whether that came before its end."""
    process = chaos.start(command)
    try:
        deadline = time.monotonic() + 300
        while process.poll() is None and time.monotonic() < deadline:
            if ready():
                process.send_signal(signal.SIGKILL)
                return True
            time.sleep(0.01)
        return False
    finally:
        process.kill()
        process.communicate()


@pytest.mark.slow
@pytest.mark.parametrize("flag", ["--retry-failed", "--add-new", "--verify"])
def test_a_killed_round_ends_as_one_that_was_left_alone(tmp_path, flag):
    """Killed when it begins, when its list stands, and among its shards: the same command ends with the same bytes."""
    source = tmp_path / "in"
    photographs.archive(source, count=24)
    good = photographs.tree(source)
    photographs.write_all(source, {f"bad/{i:02}.jpg": b"" for i in range(24)})
    colorize(source, tmp_path / "quiet")
    shutil.copytree(tmp_path / "quiet", tmp_path / "killed")
    before = chaos.results(tmp_path / "quiet")
    if flag == "--retry-failed":
        photographs.write_all(source, {f"bad/{i:02}.jpg": data for i, data in enumerate(good.values())})
    elif flag == "--add-new":
        photographs.write_all(source, {f"zz new/{i:02}.jpg": data for i, data in enumerate(good.values())})
        photographs.write_all(source, dict(zip(good, reversed(list(good.values())), strict=True)))
    for name in ("quiet", "killed"):
        if flag == "--verify":
            for number, key in enumerate(good):
                (tmp_path / name / key).write_bytes(b"edited") if number % 2 else (tmp_path / name / key).unlink()
    colorize(source, tmp_path / "quiet", flag)
    quiet = chaos.results(tmp_path / "quiet")
    assert (quiet == before) == (flag == "--verify")

    dest = tmp_path / "killed"
    job, outcomes = dest / "_raycolor" / "job.json", dest / "_raycolor" / "outcomes"
    command = chaos.job(source, dest, *SETTINGS, flag)
    standing = {path: path.stat().st_mtime_ns for path in outcomes.iterdir()}

    def rewritten():
        return sum(path.stat().st_mtime_ns != standing.get(path) for path in outcomes.iterdir())

    moments = [lambda: '"number": 1' in job.read_text(), lambda: rewritten() >= 2, lambda: rewritten() >= 5]
    if flag != "--verify":
        moments.insert(1, lambda: '"listed": true' in job.read_text())
    killed = [kill_within(command, dest, moment) for moment in moments]
    assert sum(killed) >= 2
    assert read_job(open_store(dest)).round is not None
    done = {path: path.stat().st_mtime_ns for path in outcomes.iterdir()}
    rounds = {record.shard for record in read_shards(open_store(dest)) if record.round == 1}
    colorize(source, dest, flag)
    assert chaos.results(dest) == quiet
    assert counts(dest) == counts(tmp_path / "quiet")
    record = read_job(open_store(dest))
    assert (record.round, record.rounds) == (None, 1)
    # What the killed runs had done of this round was not done once more.
    for path, when in done.items():
        if int(path.stem.split("-")[1]) in rounds:
            assert path.stat().st_mtime_ns == when


def test_a_reason_that_is_none_is_one_line(tmp_path, capsys):
    """The refusal names the flag, the value and the reasons that there are."""
    from raycolor import cli
    from raycolor.errors import REASONS

    assert cli.run(["colorize", str(tmp_path), str(tmp_path / "out"), "--retry-reason", "bad_luck"]) == 2
    line = capsys.readouterr().err
    assert "bad_luck" in line
    assert all(reason in line for reason in REASONS)
    assert line.count("\n") == 1
    assert not list(tmp_path.iterdir())
