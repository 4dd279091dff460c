"""Laws of a sweep on a cluster that loses a node."""

from __future__ import annotations

import random
import subprocess
import time

import chaos
import labset
import pytest
from test_tune import PATIENCE_S, SMOKE, command, trials_of

pytestmark = [pytest.mark.ray, pytest.mark.slow, pytest.mark.timeout(1500)]


def test_a_sweep_goes_on_when_a_node_is_lost(tmp_path):
    """A node dies while trials run, another joins: every trial ends, and those that had ended stay as they were."""
    data, out = tmp_path / "data", tmp_path / "sweep"
    labset.write_dataset_of(data, train=16, val=6, size_px=40)
    cluster = chaos.start_cluster(nodes=2, cpus=2)
    start = command(SMOKE, data, out, "--epochs", "4", "--trials", "4", "--address", cluster.address)
    process = subprocess.Popen(start)
    try:
        deadline = time.monotonic() + PATIENCE_S
        ended: set[int] = set()
        while time.monotonic() < deadline and not ended:
            assert process.poll() is None, "the sweep ended before a node could be killed"
            time.sleep(0.1)
            if (out / "sweep.json").exists():
                trials = trials_of(out)
                ended = {number for number, trial in trials.items() if trial.status == "finished"}
        assert ended
        kept = {path: path.read_bytes() for n in ended for path in (out / "trials" / f"{n:04d}").glob("*.json")}
        chaos.kill_node(cluster, random.Random(0))
        code = process.wait(timeout=PATIENCE_S)
        if code:
            # What a killed node took along may be more than Ray brings back; the same command does the rest.
            subprocess.run(start, check=True, timeout=PATIENCE_S)
        trials = trials_of(out)
        assert {number: trial.status for number, trial in trials.items()} == dict.fromkeys(range(4), "finished")
        assert all(len(trial.curve) == 4 for trial in trials.values())
        assert {path: path.read_bytes() for path in kept} == kept
    finally:
        process.kill()
        process.wait()
        cluster.shutdown()
