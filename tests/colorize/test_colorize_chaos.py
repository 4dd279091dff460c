"""The bulk job under kills and faults: whatever dies, the same command ends with the bytes of a quiet run.

The cluster is real (a head that runs no work and two nodes, `ray.cluster_utils`), so are the S3 server, the faults
between it and every process, and the kills. Processes are found below this one, by pid.
"""

import json
import os
import random
import signal
import subprocess
import time
from contextlib import ExitStack

import chaos
import faultproxy
import photographs
import pytest

from raycolor.storage import open_store

pytestmark = [pytest.mark.ray, pytest.mark.slow, pytest.mark.timeout(900)]

IMAGES = 120
KILLS = 5  # on disk and on S3 each
SETTINGS = ["--checkpoint", "regression", "--images-per-shard", "4", "--network-size", "64", "--workers", "2"]


@pytest.fixture(scope="module")
def cluster(s3):
    """A head without CPUs and two nodes of two CPUs; workers inherit the credentials of `s3`."""
    del s3
    cluster = chaos.start_cluster()
    try:
        yield cluster
    finally:
        cluster.shutdown()


@pytest.fixture(scope="module")
def archive(tmp_path_factory, s3):
    """The same photographs in a folder and in a bucket, some of them bad, and what a quiet run makes of them."""
    folder = tmp_path_factory.mktemp("chaos")
    photographs.archive(folder / "in", count=IMAGES)
    photographs.write_all(folder / "in", {key: data for key, (data, _) in photographs.bad_files().items()})
    bucket = s3.uri("chaos-in")
    for key, data in photographs.tree(folder / "in").items():
        open_store(bucket).put(key, data)
    quiet = subprocess.run(job(folder / "in", folder / "quiet"), capture_output=True, text=True, timeout=300)
    assert quiet.returncode == 0, quiet.stderr
    return {"disk": str(folder / "in"), "s3": bucket, "expected": chaos.results(folder / "quiet")}


@pytest.fixture
def draw(request):
    """Draws the moments; the seed is printed with a failure, and `--chaos-seed` gives it again."""
    seed = request.config.getoption("--chaos-seed")
    seed = random.SystemRandom().randrange(10**6) if seed is None else seed
    print(f"--chaos-seed {seed}")
    return random.Random(seed)


@pytest.fixture(params=["disk", "s3"])
def places(request, archive, tmp_path, s3, draw):
    """SOURCE, a DEST for each round and flags: on disk, or on S3 behind a proxy that breaks one answer in twenty."""
    if request.param == "disk":
        yield archive["disk"], (str(tmp_path / f"out-{n}") for n in range(KILLS)), []
        return
    with faultproxy.FaultProxy(s3.endpoint, **chaos.FLAKY, seed=draw.randrange(10**6)) as proxy:
        yield archive["s3"], (s3.uri() for _ in range(KILLS)), ["--endpoint-url", proxy.endpoint]
        broken = proxy.counts.total() - proxy.counts["passed"]
        print(dict(proxy.counts))
        assert broken > 0.02 * proxy.counts.total()


def job(source, dest, *flags):
    """Return the command of a job that is small in everything but its number of shards."""
    return chaos.job(source, dest, *SETTINGS, *flags)


def finish(command, expected, dest):
    """Run the job to its end and compare."""
    process = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert process.returncode == 0, process.stderr[-2000:]
    assert chaos.results(dest) == expected


def under_kills(cluster, archive, places, draw, kill, longest_s):
    """Kill parts of a job at random moments; it, or else the same command again, ends as the quiet run did.

    A job that ends before enough has been killed is followed by one with another destination.
    """
    source, dests, flags = places
    killed = 0
    with ExitStack() as ends:
        while killed < KILLS:
            dest = next(dests)
            command = job(source, dest, "--address", cluster.address, *flags)
            process = chaos.start(command)
            ends.enter_context(process)
            ends.callback(process.kill)
            begun, before = time.monotonic(), killed
            while killed < KILLS and process.poll() is None:
                chaos.moment(draw, dest, process, longest_s)
                if process.poll() is None:
                    killed += kill(process)
            _, errors = process.communicate(timeout=300)
            print(f"{killed - before} killed, exit code {process.returncode}, {time.monotonic() - begun:.0f} s")
            assert "Traceback" not in errors
            if process.returncode == 0:
                assert chaos.results(dest) == archive["expected"]
            finish(command, archive["expected"], dest)


def test_killed_actors(cluster, archive, places, draw):
    """SIGKILL of a worker process at ten random moments: the job gets over it, or the next run does."""
    under_kills(cluster, archive, places, draw, lambda process: chaos.kill_actor(draw), 3.0)


def test_killed_networks(cluster, archive, tmp_path, draw):
    """The actor that holds the network is killed: Ray starts it anew, and nobody's photograph fails."""
    places = archive["disk"], (str(tmp_path / f"out-{n}") for n in range(KILLS)), ["--shape", "staged"]
    under_kills(cluster, archive, places, draw, lambda process: chaos.kill_actor(draw, "ray::NetworkActor"), 3.0)


def test_killed_nodes(cluster, archive, places, draw):
    """Nodes die at ten random moments and others join: the job gets over it, or the next run does."""
    under_kills(cluster, archive, places, draw, lambda process: chaos.kill_node(cluster, draw), 6.0)


def test_killed_drivers(cluster, archive, places, draw):
    """SIGKILL of the driver at ten random moments, each time the same command again."""
    source, dests, flags = places
    dest = next(dests)
    command = job(source, dest, "--address", cluster.address, *flags)
    for _ in range(KILLS):
        process = chaos.start(command)
        chaos.moment(draw, dest, process, 10.0)
        process.kill()
        process.communicate()
    finish(command, archive["expected"], dest)


def test_two_jobs_on_one_destination(archive, tmp_path):
    """The second of two living jobs is refused in one line; the first ends as if it were alone."""
    command = job(archive["disk"], tmp_path / "out")
    first = chaos.start(command)
    lease = tmp_path / "out" / "_raycolor" / "lease.json"
    deadline = time.monotonic() + 120
    while not lease.exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    second = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert second.returncode == 1
    assert "another raycolor job" in second.stderr.splitlines()[-1]
    assert len(second.stderr.splitlines()) == 1
    # As a worker leaves it that is killed while it writes: the job that goes on without it removes it.
    (tmp_path / "out" / open_store(tmp_path / "out").temp_name()).write_bytes(b"half")
    _, errors = first.communicate(timeout=600)
    assert first.returncode == 0, errors
    assert chaos.results(tmp_path / "out") == archive["expected"]


def test_ctrl_c_stops_cleanly(archive, tmp_path):
    """SIGINT in mid-job: exit code 130, a line that says how to go on, no process left, and going on works."""
    command = job(archive["disk"], tmp_path / "out")
    process = chaos.start(command, start_new_session=True)
    outcomes = tmp_path / "out" / "_raycolor" / "outcomes"
    deadline = time.monotonic() + 240
    while not (outcomes.exists() and any(outcomes.iterdir())) and time.monotonic() < deadline:
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 130, errors
    assert "same command" in errors.splitlines()[-1]
    assert "Traceback" not in errors
    deadline = time.monotonic() + 30  # Ray's processes follow their driver within seconds
    while (left := chaos.group(process.pid)) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not left
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
