"""Laws of training on a cluster that loses a node."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
from test_train_ray import options, write_small_dataset

pytestmark = [pytest.mark.ray, pytest.mark.slow]

# In a process of its own: a cluster of three nodes cannot live beside the embedded Ray of other tests.
SCRIPT = """
import json, sys, threading
from raycolor.cluster import session
from raycolor.cluster.train import train
from ray.cluster_utils import Cluster

plain, again = json.loads(sys.argv[1])
cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
nodes = [cluster.add_node(num_cpus=1) for _ in range(2)]
lost = []

def lose(row):
    if not lost:
        lost.append(nodes[1])
        def swap():
            cluster.remove_node(nodes[1], allow_graceful=False)
            cluster.add_node(num_cpus=1)
        threading.Thread(target=swap).start()

try:
    with session.connect(cluster.address):
        whole = train("gan", **plain)
        broken = train("gan", **again, on_epoch=lose)
    print(json.dumps([bool(lost), whole.curve == broken.curve]))
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
