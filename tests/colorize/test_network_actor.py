"""The networks of a staged job on Ray, with GPUs that Ray is only told of."""

import json
import os
import subprocess
import sys
from pathlib import Path

import chaos
import fake_gpus
import photographs
import pytest

pytestmark = [pytest.mark.ray, pytest.mark.slow, pytest.mark.timeout(560)]


def on_fake_gpus(*arguments):
    """Return what `fake_gpus.py` prints, run as a program."""
    here = Path(__file__).parent
    path = os.pathsep.join([str(here), str(here.parent), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        [sys.executable, str(here / "fake_gpus.py"), *arguments],
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        timeout=500,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    # Ray itself says there, too, when a process has died.
    return json.loads([line for line in done.stdout.splitlines() if line[:1] in ("{", "[")][-1])


def test_killed_networks_cost_no_photograph():
    """Their processes die by SIGKILL while many threads ask: every plane gets its own color all the same."""
    found = on_fake_gpus("killed")
    assert found["wrong"] == []
    assert found["kills"] == fake_gpus.KILLS


def test_a_plane_that_hangs_the_network_fails_alone():
    """It fails by name, after the second time; those that shared its pass get their colors."""
    found = on_fake_gpus("hung")
    assert found.pop(20) == "PassFailedError: the network took more than 3 s over it"
    assert found == [True] * 39


def test_a_gpu_is_measured_and_given_back(untrained):
    """Its rate is that of the network that sleeps, and what measured it holds it no longer."""
    found = on_fake_gpus("measured", untrained)
    assert 0 < found["gpu_per_s"] < 1.05 * fake_gpus.PLACES / fake_gpus.PASS_S
    assert found["network_s"] > 0
    assert found["free"] == 2


def test_each_network_has_a_gpu_and_a_cpu_and_one_without_a_place_is_not_waited_for():
    """Three are wanted where there are two GPUs: two answer."""
    assert on_fake_gpus("placed") == {"right": True, "GPU": 0.0, "CPU": 2.0}


def test_gpus_that_do_not_work_leave_a_job_to_the_cpus(tmp_path, untrained):
    """Ray says that there is one, and torch finds none: a line says so, and the job is done."""
    from raycolor.cluster import session  # sets what Ray reads when it is imported

    del session
    from ray.cluster_utils import Cluster

    photographs.archive(tmp_path / "in", count=6)
    head = {"num_cpus": 3, "num_gpus": 1, "include_dashboard": False}
    cluster = chaos.patiently(lambda: Cluster(initialize_head=True, head_node_args=head))
    try:
        flags = ["--checkpoint", untrained, "--address", cluster.address]
        done = subprocess.run(chaos.job(tmp_path / "in", tmp_path / "out", *flags), capture_output=True, text=True)
    finally:
        cluster.shutdown()
    assert done.returncode == 0, done.stderr
    assert "torch finds no GPU that works here" in done.stderr
    assert "the network runs on CPUs; --shape staged uses GPUs" in done.stderr
    assert [status for status, _, _ in chaos.results(tmp_path / "out").values()] == ["colorized"] * 6
