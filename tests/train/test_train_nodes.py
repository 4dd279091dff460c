"""Laws of training on a cluster that loses a node."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
from test_train import options, write_small_dataset

pytestmark = [pytest.mark.ray, pytest.mark.slow]

# In a process of its own: a cluster of three nodes cannot live beside the embedded Ray of other tests.
SCRIPT = """
import json, sys, threading
from concurrent.futures import ThreadPoolExecutor
from raycolor.cluster import session
from raycolor.train.config import TrainConfig
from raycolor.train.driver import train_connected
from raycolor.train.run_folder import check
from ray.cluster_utils import Cluster

def train(cache_dir, on_epoch=None, **settings):
    return train_connected(check(TrainConfig(method="gan", **settings)), cache_dir=cache_dir, on_epoch=on_epoch)

plain, again = json.loads(sys.argv[1])
cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
nodes = [cluster.add_node(num_cpus=1) for _ in range(2)]
an_epoch = threading.Event()

try:
    with session.connect(cluster.address), ThreadPoolExecutor(1) as pool:
        whole = train(**plain)
        # Ray starts nodes in the main thread only: they register signal handlers.
        running = pool.submit(train, **again, on_epoch=lambda row: an_epoch.set())
        lost = an_epoch.wait(200) and not running.done()
        cluster.remove_node(nodes[1], allow_graceful=False)
        cluster.add_node(num_cpus=1)
        broken = running.result()
    print(json.dumps([lost, whole.curve == broken.curve]))
finally:
    cluster.shutdown()
"""


def test_a_lost_node_changes_nothing(tmp_path):
    """A node that runs one of two workers dies, another joins: the run goes on and ends with the same bytes."""
    data = write_small_dataset(tmp_path / "data")
    runs = [options(data, tmp_path / name, epochs=6, workers=2, checkpoint_every=2) for name in ("plain", "again")]
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, json.dumps(runs)], capture_output=True, text=True, timeout=500, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert json.loads(done.stdout.splitlines()[-1]) == [True, True]
    for name in ("weights.safetensors", "checkpoint.json", "curve.csv"):
        assert (tmp_path / "again" / name).read_bytes() == (tmp_path / "plain" / name).read_bytes(), name
