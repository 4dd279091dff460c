"""An archive's whole way: killed, reviewed, signed and verified, with the same bytes for what nobody changed."""

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


def killed(command, begun):
    """Start a command, kill it as soon as something is there, and let it end the next time."""
    process = subprocess.Popen(command)
    deadline = time.monotonic() + 300
    while process.poll() is None and not begun() and time.monotonic() < deadline:
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    assert subprocess.run(command, check=False, timeout=500).returncode == 0


@pytest.mark.slow
def test_a_job_that_was_killed_reviewed_signed_and_verified(tmp_path, untrained):
    """Before signing every output has the bytes of a job that nobody disturbed, but for what the review changed."""
    photographs.archive(tmp_path / "in", COUNT)
    assert colorize(tmp_path / "in", tmp_path / "whole", untrained, max_failed="0") == 0
    out = tmp_path / "out"
    raycolor = [sys.executable, "-m", "raycolor", "colorize"]
    flags = ["--checkpoint", untrained, "--no-ray"]
    killed([*raycolor, str(tmp_path / "in"), str(out), *flags], (out / "_raycolor/outcomes").exists)
    whole, made = outputs(tmp_path / "whole"), outputs(out)
    assert made == whole
    assert len(made) == COUNT

    rejected, *changed = sorted(whole)[:5]
    rows = [f"{rejected},reject,", *(f"{key},approve,1.4" for key in changed)]
    (out / "_raycolor/review.csv").write_text("\n".join(["key,decision,saturation", *rows]) + "\n")
    earlier = (out / "_raycolor/job.json").read_bytes()
    apply = [*raycolor, str(out / "_raycolor/review.csv"), "--no-ray"]
    killed(apply, lambda: (out / "_raycolor/job.json").read_bytes() != earlier)
    reviewed = outputs(out)
    assert set(whole) - set(reviewed) == {rejected}
    assert {key for key in reviewed if reviewed[key] != whole[key]} == set(changed)

    chain, key = certificates.make(tmp_path)
    assert cli.run(["sign", str(out), "--certificate", chain, "--key", key]) == 0
    assert cli.run(["verify", str(out)]) == 0
    # Nobody may have changed anything but by a signature whose record names the bytes before it.
    store = open_store(out)
    rows = {k: row for shard in range(COUNT) for k, row in read_signatures(store, shard).items()}
    before = {k: row.output_sha256 for k, row in rows.items()}
    assert before == {k: hashlib.sha256(v).hexdigest() for k, v in reviewed.items()}


def outputs(dest):
    """Return the bytes of a job's outputs."""
    return {key: data for key, data in photographs.tree(dest).items() if not key.startswith("_raycolor/")}
