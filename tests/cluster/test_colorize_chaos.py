"""The bulk job under kills and faults: whatever dies, the same command ends with the bytes of a quiet run.

The cluster is real (a head that runs no work and two nodes, `ray.cluster_utils`), so are the S3 server, the faults
between it and every process, and the kills. Processes are found below this one, by pid.
"""

import hashlib
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import faultproxy
import photographs
import pytest

from raycolor.manifest import read_outcomes
from raycolor.storage import open_store

pytestmark = [pytest.mark.ray, pytest.mark.slow, pytest.mark.timeout(1500)]

IMAGES, KILLS = 120, 10
SETTINGS = ["--images-per-shard", "4", "--network-size", "64", "--workers", "2"]


@pytest.fixture(scope="module")
def cluster(s3):
    """A head without CPUs and two nodes of two CPUs; workers inherit the credentials of `s3`."""
    from raycolor.cluster import session  # sets what Ray reads when it is imported

    del s3, session
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
    try:
        for _ in range(2):
            cluster.add_node(num_cpus=2)
        yield cluster
    finally:
        cluster.shutdown()


@pytest.fixture(scope="module")
def flaky(s3):
    """The S3 server behind a proxy that breaks one answer in twenty."""
    kinds = ("503", "reset", "truncate", "stall", "lost")
    with faultproxy.FaultProxy(s3.endpoint, rate=0.05, kinds=kinds, seed=7, stall_s=2.0) as proxy:
        yield proxy
        assert proxy.counts["503"] > 0
        assert proxy.counts["truncate"] > 0


@pytest.fixture(scope="module")
def archive(tmp_path_factory, s3):
    """The same photographs in a folder and in a bucket, some of them bad, and what a quiet run makes of them."""
    folder = tmp_path_factory.mktemp("chaos")
    photographs.archive(folder / "in", count=IMAGES)
    photographs.write_all(folder / "in", {key: data for key, (data, _) in photographs.bad_files().items()})
    bucket = s3.uri("chaos-in")
    for key, data in photographs.tree(folder / "in").items():
        open_store(bucket).put(key, data)
    quiet = subprocess.run(job(folder / "in", folder / "quiet"), capture_output=True, text=True, timeout=600)
    assert quiet.returncode == 0, quiet.stderr
    return {"disk": str(folder / "in"), "s3": bucket, "expected": results(folder / "quiet")}


@pytest.fixture(params=["disk", "s3"])
def places(request, archive, tmp_path, s3, flaky):
    """SOURCE, DEST and flags of a job on disk, and of one on S3 with faults in between."""
    if request.param == "disk":
        return archive["disk"], str(tmp_path / "out"), []
    return archive["s3"], s3.uri(), ["--endpoint-url", flaky.endpoint]


def job(source, dest, *flags):
    """Return the command."""
    return [sys.executable, "-m", "raycolor", "colorize", str(source), str(dest), *SETTINGS, *map(str, flags)]


def results(dest):
    """Return key -> (status, reason, SHA-256 of the object that is really there) ; nothing may be left over."""
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
    assert set(own) == {"job.json", "manifest", "outcomes", "summary.json", "failed.csv", "report.html"}, own
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


def start(command):
    """Start the job with its lines in a pipe."""
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def finish(command, expected, dest):
    """Run the job to its end and compare."""
    process = subprocess.run(command, capture_output=True, text=True, timeout=900)
    assert process.returncode == 0, process.stderr[-2000:]
    assert results(dest) == expected


def test_killed_actors(cluster, archive, places):
    """SIGKILL of a worker process at ten random moments: the job itself gets over it, or the next run does."""
    source, dest, flags = places
    command = job(source, dest, "--address", cluster.address, *flags)
    draw = random.Random(1)
    killed = 0
    deadline = time.monotonic() + 600
    process = start(command)
    while killed < KILLS and time.monotonic() < deadline:
        time.sleep(draw.uniform(0.2, 3.0))
        if process.poll() is not None:
            break
        actors = descendants("ray::MapWorker")
        if actors:
            os.kill(draw.choice(actors), signal.SIGKILL)
            killed += 1
    process.communicate(timeout=600)
    assert killed >= 3
    finish(command, archive["expected"], dest)


def test_killed_nodes(cluster, archive, places):
    """Nodes die at random moments and others join: the job goes on."""
    source, dest, flags = places
    command = job(source, dest, "--address", cluster.address, *flags)
    draw = random.Random(2)
    killed = 0
    while killed < KILLS:
        process = start(command)
        while killed < KILLS and process.poll() is None:
            time.sleep(draw.uniform(1.0, 6.0))
            if process.poll() is not None:
                break
            node = draw.choice(sorted(cluster.worker_nodes, key=lambda node: node.node_id))
            cluster.remove_node(node, allow_graceful=False)
            killed += 1
            cluster.add_node(num_cpus=2)
        process.communicate(timeout=600)
        if process.returncode == 0:
            break
    assert killed >= 2
    finish(command, archive["expected"], dest)


def test_killed_drivers(cluster, archive, places):
    """SIGKILL of the driver at ten random moments, each time the same command again."""
    source, dest, flags = places
    command = job(source, dest, "--address", cluster.address, *flags)
    draw = random.Random(3)
    for _ in range(KILLS):
        process = start(command)
        time.sleep(draw.uniform(1.0, 14.0))
        process.kill()
        process.communicate()
    finish(command, archive["expected"], dest)


def test_two_jobs_on_one_destination(archive, tmp_path):
    """The second of two living jobs is refused in one line; the first ends as if it were alone."""
    command = job(archive["disk"], tmp_path / "out")
    first = start(command)
    lease = tmp_path / "out" / "_raycolor" / "lease.json"
    deadline = time.monotonic() + 120
    while not lease.exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    second = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert second.returncode == 1
    assert "another job" in second.stderr.splitlines()[-1]
    assert len(second.stderr.splitlines()) == 1
    _, errors = first.communicate(timeout=600)
    assert first.returncode == 0, errors
    assert results(tmp_path / "out") == archive["expected"]


def test_ctrl_c_stops_cleanly(archive, tmp_path):
    """SIGINT in mid-job: exit code 130, a line that says how to go on, no process left, and going on works."""
    command = job(archive["disk"], tmp_path / "out")
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    outcomes = tmp_path / "out" / "_raycolor" / "outcomes"
    deadline = time.monotonic() + 240
    while not (outcomes.exists() and any(outcomes.iterdir())) and time.monotonic() < deadline:
        time.sleep(0.05)
    os.kill(process.pid, signal.SIGINT)
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 130, errors
    assert "same command" in errors.splitlines()[-1]
    assert "Traceback" not in errors
    summary = json.loads((tmp_path / "out" / "_raycolor" / "summary.json").read_text())
    assert 0 < summary["images"] < IMAGES + len(photographs.bad_files())
    finish(command, archive["expected"], tmp_path / "out")


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small file system takes root")
def test_a_full_disk_is_one_line_and_room_mends_it(archive, tmp_path):
    """DEST runs out of space: one line, exit code 1; with more room the same command ends well."""
    out = tmp_path / "small"
    out.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=300k", "tmpfs", out], capture_output=True, text=True)
    if mounted.returncode:
        pytest.skip(f"no mounting here: {mounted.stderr.strip()}")
    try:
        command = job(archive["disk"], out / "out")
        process = subprocess.run(command, capture_output=True, text=True, timeout=300)
        assert process.returncode == 1
        last = process.stderr.splitlines()[-1]
        assert "space" in last.lower()
        assert "Traceback" not in process.stderr
        subprocess.run(["mount", "-o", "remount,size=64m", out], check=True)
        finish(command, archive["expected"], out / "out")
    finally:
        subprocess.run(["umount", "-l", out], check=True)


def test_a_bucket_that_takes_nothing_is_one_line(archive, s3):
    """A DEST that refuses every write (403): one line that names it, before any photograph is read."""
    with faultproxy.FaultProxy(s3.endpoint, rate=1.0, kinds=("403",), methods=("PUT",)) as closed:
        command = job(archive["s3"], s3.uri(), "--endpoint-url", closed.endpoint)
        process = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert process.returncode == 1
    assert "access_denied" in process.stderr or "denied" in process.stderr
    assert len(process.stderr.splitlines()) == 1
