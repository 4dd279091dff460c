"""The README's commands, run as pasted in a copy of the repository, in the order in which they stand there."""

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import onnx_made
import photographs
import pytest

ROOT = Path(__file__).resolve().parent.parent
BIN = Path(sys.executable).parent
BLOCKS = re.findall(r"^```bash\n(.*?)^```$", (ROOT / "README.md").read_text(encoding="utf-8"), re.M | re.S)

pytestmark = [pytest.mark.slow, pytest.mark.ray]


def block(words):
    """Return the one block that has these words."""
    (found,) = [one for one in BLOCKS if words in one]
    return found


@pytest.fixture(scope="module")
def copy(tmp_path_factory):
    """A copy of what git has, with this environment and a home of its own that holds color photographs."""
    folder = tmp_path_factory.mktemp("readme") / "raycolor"
    folder.mkdir()
    names = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True).stdout.decode()
    for name in names.split("\0")[:-1]:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(ROOT / name, folder / name)
    (folder / ".venv").symlink_to(BIN.parent)
    pictures = folder.parent / "home/Pictures"
    pictures.mkdir(parents=True)
    for seed in range(36):
        pixels = photographs.color_pixels(256, 256, seed=seed)
        (pictures / f"{seed}.jpg").write_bytes(photographs.encoded(pixels))
    return folder


def paste(copy, text, **environment):
    """Run a block as a shell would that was given it; returns what it printed."""
    clean = {key: value for key, value in os.environ.items() if not key.startswith(("RAY_", "PYTEST"))}
    settings = {
        **clean, "HOME": str(copy.parent / "home"), "PATH": f"{BIN}:{os.environ['PATH']}",
        "PYTHONPATH": str(copy), "RAY_USAGE_STATS_ENABLED": "0", **environment,
    }  # fmt: skip
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", text], cwd=copy, env=settings, capture_output=True, text=True, timeout=550
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-3000:]
    return done.stdout + done.stderr


def colorized(copy, dest):
    """Return how many inputs of a job were colorized."""
    return json.loads((copy / dest / "_raycolor/summary.json").read_text())["counts"]["colorized"]


def test_colorizing(copy):
    """The first command of a new user."""
    paste(copy, block("raycolor colorize docs/sample out\n"))
    assert colorized(copy, "out") == 16


def test_networks_of_others(copy):
    """With a file in the place of the one that is fetched elsewhere."""
    network = onnx_made.exported(onnx_made.Linear(3, 2, gain=60), side=512)
    (copy / "ddcolor.onnx").write_bytes(network)
    shutil.copytree(copy / "docs/sample", copy / "scans")
    paste(copy, block("raycolor import ddcolor.onnx"))
    assert colorized(copy, "colored") == 16


def test_training_comparing_and_searching(copy):
    """From photographs in the home folder to a network, a table and a sweep."""
    paste(copy, block("raycolor prepare ~/Pictures").replace("--val 500", "--val 8"))
    assert (copy / "runs/regression/index.html").exists()
    assert colorized(copy, "out-mine") == 16
    paste(copy, block("raycolor evaluate"))
    assert (copy / "comparison/index.html").exists()
    paste(copy, block("raycolor tune"))
    assert (copy / "sweep/report/index.html").exists()


LISTED = """
import ray
from ray._private import state
ray.init(address="auto", logging_level="error")
print("jobs", len(state.jobs()))
"""


def test_a_cluster_of_your_own(copy):
    """The four lines, against the Ray that they start; a job without --address does not join it, though it is there."""
    export, start, join, submit = block("ray start --head").splitlines()
    address = "127.0.0.1:8265"
    with socket.socket() as probe:
        if probe.connect_ex(("127.0.0.1", 8265)) == 0:
            pytest.skip("another Ray of this machine has port 8265")
    token = re.search(r"RAY_AUTH_TOKEN=(\S+)", paste(copy, f"{export}\necho RAY_AUTH_TOKEN=$RAY_AUTH_TOKEN"))[1]
    folder = tempfile.mkdtemp(prefix="rc-")  # names of sockets below it must stay short
    mine = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": token, "RAY_TMPDIR": folder}
    before = processes()
    try:
        paste(copy, start, **mine)
        paste(copy, join, **mine)
        assert colorized(copy, "out-cluster") == 16
        assert address in submit
        paste(copy, submit, **mine)
        assert colorized(copy, "out-submitted") == 16
        count = ["bash", "-c", f"{sys.executable} -c '{LISTED}'"]
        jobs = paste(copy, count[2], **mine)
        paste(copy, "raycolor colorize docs/sample out-alone --ray", **mine)
        assert colorized(copy, "out-alone") == 16
        # The one more is the job that counts.
        assert int(paste(copy, count[2], **mine).split("jobs ")[1]) == int(jobs.split("jobs ")[1]) + 1
    finally:
        for pid in processes() - before:  # what `ray start` left behind, and no other Ray of the machine
            if f"RAY_TMPDIR={folder}" in command_of(pid):
                os.kill(pid, signal.SIGKILL)
        shutil.rmtree(folder, ignore_errors=True)


def processes():
    """Return the ids of all processes."""
    return {int(path.name) for path in Path("/proc").iterdir() if path.name.isdigit()}


def command_of(pid):
    """Return command line and environment of a process; empty if it has gone."""
    try:
        return "\0".join((Path(f"/proc/{pid}") / name).read_text(errors="replace") for name in ("cmdline", "environ"))
    except OSError:
        return ""


def test_every_block_is_run():
    """A block that no test pastes would rot; `make demo` is what CI begins with, `make test` is this."""
    known = ("make demo", "colorize docs/sample out\n", "import ddcolor", "prepare ~/", "evaluate", "tune", "ray start")
    for one in BLOCKS:
        assert sum(words in one for words in known) == 1, one
    assert np.all([sum(words in one for one in BLOCKS) == 1 for words in known])
