"""What the tests of kills and faults share: running the command, killing parts of it, and looking at what is left."""

import hashlib
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

from raycolor.colorize.outcomes import read_outcomes
from raycolor.storage import open_store
from raycolor.storage.base import TEMP_PREFIX

FLAKY = {"rate": 0.05, "kinds": ("503", "reset", "truncate", "stall", "lost"), "stall_s": 2.0}
"""One answer in twenty goes wrong, in one of five ways."""

OWN = {"job.json", "manifest", "outcomes", "summary.json", "failed.csv", "outcomes.csv", "report.html"}
REVIEWED = {"review.csv", "reviews", "hints"}
"""What a review, or color hints, may add."""
"""All that a finished job keeps under `_raycolor/`."""


def start_cluster(nodes=2, cpus=2):
    """Start a head that runs no work and some nodes, as children of this process; workers inherit its environment."""
    from raycolor.cluster import session  # sets what Ray reads when it is imported

    del session
    from ray.cluster_utils import Cluster

    head = {"num_cpus": 0, "include_dashboard": False}
    cluster = patiently(lambda: Cluster(initialize_head=True, head_node_args=head))
    for _ in range(nodes):
        add_node(cluster, cpus)
    return cluster


def add_node(cluster, cpus=2, **environment):
    """Let a node join, with more in the environment of its workers."""
    patiently(lambda: cluster.add_node(num_cpus=cpus, env_vars=environment))


def patiently(act):
    """Try again: Ray gives its processes some seconds to start, which a machine that is busy may take longer for."""
    for _ in range(3):
        try:
            return act()
        except Exception as exc:  # noqa: BLE001  Ray raises a bare one
            print(f"again: {exc}")
    return act()


def job(source, dest, *flags):
    """Return the command of a job that Ray does from its first shard on, however small."""
    return [sys.executable, "-m", "raycolor", "colorize", str(source), str(dest), "--ray", *map(str, flags)]


def start(command, **options):
    """Start a job with its lines in pipes."""
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options)


def results(dest):
    """Return key -> (status, reason, SHA-256 of the object that is really there).

    Asserts what holds of every finished job: one outcome per key, what is called colorized is there and whole, and
    nothing else is: no temporary file, no mark of an attempt, no lease.
    """
    store = open_store(str(dest))
    found = {}
    for outcome in read_outcomes(store):
        assert outcome.key not in found, f"two outcomes of {outcome.key}"
        digest = None
        if outcome.status == "colorized":
            digest = hashlib.sha256(store.get(outcome.output_key)).hexdigest()
            assert digest == outcome.output_sha256, outcome.key
        found[outcome.key] = (outcome.status, outcome.reason, digest)
    keys = {info.key for info in store.list("")}
    outputs = {key for key in keys if not key.startswith("_raycolor/")}
    assert outputs == {key for key, (status, _, _) in found.items() if status == "colorized"}
    own = Counter(key.split("/")[1] for key in keys - outputs)
    assert set(own) - REVIEWED == OWN, own
    if "://" not in str(dest):  # a store does not list its temporary files
        assert not list(Path(dest).rglob(f"{TEMP_PREFIX}*"))
    return found


def descendants(name):
    """Return the processes below this one whose title begins with `name`."""
    parents, titles = {}, {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                stat = (entry / "stat").read_text()
                titles[int(entry.name)] = (entry / "cmdline").read_text()
            except OSError:
                continue
            parents[int(entry.name)] = int(stat.rsplit(")", 1)[1].split()[1])
    found = []
    for pid, title in titles.items():
        if title.startswith(name):
            above = pid
            while above in parents and above != os.getpid():
                above = parents[above]
            if above == os.getpid():
                found.append(pid)
    return found


def group(session):
    """Return the titles of the processes of a session (in the sense of `setsid`) that have not ended."""
    found = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
                if int(fields[3]) == session and fields[0] != "Z":
                    found[int(entry.name)] = (entry / "cmdline").read_text().replace("\0", " ")
            except OSError:
                continue
    return found


def moment(draw, dest, process, longest_s):
    """Let a random time pass: half the time from now on, else from when a photograph is being worked on."""
    if draw.random() < 0.5:
        _pass(process, draw.uniform(0.0, longest_s))
        return
    store = open_store(str(dest))
    deadline = time.monotonic() + 4 * longest_s
    while process.poll() is None and time.monotonic() < deadline:
        if any(store.list("_raycolor/attempts/")):
            _pass(process, draw.uniform(0.0, 0.4))
            return
        time.sleep(0.02)


def _pass(process, seconds):
    deadline = time.monotonic() + seconds
    while process.poll() is None and (left := deadline - time.monotonic()) > 0:
        time.sleep(min(left, 0.05))


def kill_actor(draw, name="ray::MapWorker"):
    """SIGKILL one worker of the job's pool, or an actor of another title; returns how many died."""
    actors = sorted(descendants(name))
    if not actors:
        return 0
    try:
        os.kill(draw.choice(actors), signal.SIGKILL)
    except ProcessLookupError:
        return 0
    return 1


def kill_node(cluster, draw, cpus=2):
    """SIGKILL a node, and let another join; returns how many died."""
    node = draw.choice(sorted(cluster.worker_nodes, key=lambda node: node.node_id))
    cluster.remove_node(node, allow_graceful=False)
    add_node(cluster, cpus)
    return 1
