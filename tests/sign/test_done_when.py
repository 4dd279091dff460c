"""An archive's whole way: killed, continued, signed and verified, with the same bytes for what nobody changed."""

import hashlib
import signal
import subprocess
import sys
import time

import certificates
import photographs
import pytest
from finished_jobs import colorize

from raycolor import cli
from raycolor.colorize.signatures import read_signatures
from raycolor.storage import open_store

COUNT = 24


@pytest.mark.slow
def test_a_job_that_was_killed_continued_signed_and_verified(tmp_path, untrained):
    """Before signing every output has the bytes of a job that nobody disturbed, and signing is told apart from them."""
    photographs.archive(tmp_path / "in", COUNT)
    assert colorize(tmp_path / "in", tmp_path / "whole", untrained, max_failed="0") == 0
    places = [str(tmp_path / "in"), str(tmp_path / "out")]
    command = [sys.executable, "-m", "raycolor", "colorize", *places, "--checkpoint", untrained, "--no-ray"]
    process = subprocess.Popen(command)
    first = tmp_path / "out/_raycolor/outcomes"
    deadline = time.monotonic() + 300
    while process.poll() is None and not first.exists() and time.monotonic() < deadline:
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert subprocess.run(command, check=False, timeout=500).returncode == 0
    whole, made = ({k: v for k, v in photographs.tree(tmp_path / name).items() if not k.startswith("_raycolor/")}
                   for name in ("whole", "out"))  # fmt: skip
    assert made == whole
    assert len(made) == COUNT
    chain, key = certificates.make(tmp_path)
    assert cli.run(["sign", str(tmp_path / "out"), "--certificate", chain, "--key", key]) == 0
    assert cli.run(["verify", str(tmp_path / "out")]) == 0
    # Nobody may have changed anything but by a signature whose record names the bytes before it.
    store = open_store(tmp_path / "out")
    rows = {k: row for shard in range(COUNT) for k, row in read_signatures(store, shard).items()}
    before = {k: row.output_sha256 for k, row in rows.items()}
    assert before == {k: hashlib.sha256(v).hexdigest() for k, v in whole.items()}
