"""A node that comes while a job runs, and would make other bytes, gets no work: the job goes on without it."""

import pickle
import time
from collections import Counter
from contextlib import ExitStack, nullcontext

import chaos
import numpy as np
import photographs
import pytest

from raycolor.colorize import actor, ray_driver
from raycolor.colorize.config import ColorizeConfig
from raycolor.colorize.execution import Execution
from raycolor.colorize.job_record import JobRecord
from raycolor.colorize.later_runs import Todo
from raycolor.colorize.manifest import ManifestTotals
from raycolor.colorize.messages import GivenBack, ShardReport, ShardSpec
from raycolor.colorize.outcomes import Tally
from raycolor.colorize.summary import Timing
from raycolor.colorizer.config import ColorizerConfig
from raycolor.errors import RaycolorError

pytestmark = pytest.mark.ray


def spec_of(folder):
    return ShardSpec(str(folder), str(folder), ManifestTotals(0, 0, 0, (0,)), ColorizerConfig(), image_timeout_s=1.0)


def report(shard):
    return ShardReport(shard, Tally(Counter(colorized=64)), 1.0, 2.0, 64)


def test_a_worker_on_such_a_node_gives_its_shards_back(tmp_path, monkeypatch):
    """It begins none of them, loads no network, and says why; on a node that fits it would have."""
    monkeypatch.setattr(actor, "this_node", lambda: "node-7")
    monkeypatch.setattr(actor, "unfit", lambda *job: "its CPU has avx2")
    worker = actor.ShardActor(spec_of(tmp_path))
    (found,) = pickle.loads(worker({"shards": [np.array([3, 4])]})["reports"][0])
    assert found.shards == [3, 4]
    assert (found.node, found.why) == ("node-7", "its CPU has avx2")
    assert not hasattr(worker, "_worker")


def test_what_is_given_back_is_kept_and_told_once_a_node(caplog):
    """Reports and errors pass; shards that come back are put aside, with one line for each node."""
    rows = [
        [report(0)],
        [GivenBack([1, 2], "a", "old", "its CPU has avx2")],
        [GivenBack([3], "a", "old", "its CPU has avx2"), GivenBack([4], "b", "older", "its CPU has avx")],
        [report(5), RaycolorError("full disk")],
    ]
    put_aside = []
    passed = [found for row in ray_driver._taken_back(rows, put_aside) for found in row]
    assert [getattr(found, "shard", str(found)) for found in passed] == [0, 5, "full disk"]
    assert [shard for one in put_aside for shard in one.shards] == [1, 2, 3, 4]
    assert [record.getMessage() for record in caplog.records] == [
        "node old gets no work: it came while the job ran, and its CPU has avx2: the job goes on without it",
        "node older gets no work: it came while the job ran, and its CPU has avx: the job goes on without it",
    ]


def test_the_driver_goes_on_without_the_nodes_that_gave_back(tmp_path, monkeypatch):
    """What came back is done in a second pass that keeps from them; it begins when another node has a CPU."""
    asked, waited = [], []
    answers = iter([[[report(0)], [GivenBack([1, 2], "b", "old", "x")], [GivenBack([3], "a", "old", "x")]]])

    def pool_of(runner, spec, predict, shards, first, most):
        asked.append((shards, runner._settled[0].left_out, runner._settled[0].cpus_left_out))
        return next(answers, [[report(shard)] for shard in shards])

    monkeypatch.setattr(ray_driver, "answers", lambda rows, column: (row for row in rows))
    monkeypatch.setattr(ray_driver, "ColorizeMetrics", lambda *about: None)
    monkeypatch.setattr(ray_driver, "Listener", nullcontext)
    monkeypatch.setattr(ray_driver, "living_nodes", lambda: [{"NodeID": "a", "Resources": {"CPU": 4.0}}])
    monkeypatch.setattr(ray_driver, "wait_for_room", lambda left_out: waited.append(left_out))
    monkeypatch.setattr(ray_driver, "worker_count", lambda wanted, taken: 5 if wanted is None else wanted)
    monkeypatch.setattr(ray_driver.RayPool, "_pool", pool_of)
    record = JobRecord({}, {}, "", {}, "0", ManifestTotals(256, 10, 4, (0,)), "2026-01-01T00:00:00+00:00")
    runner = ray_driver.RayPool(ColorizeConfig(source="in", dest=str(tmp_path), workers=8), ExitStack())
    runner._settled = Execution("cpu", 0, left_out=("z",), cpus_left_out=2), record
    done = list(runner._on_ray(spec_of(tmp_path), Todo([0, 1, 2, 3], 256), [0, 1, 2, 3], Timing()))
    assert [one.shard for one in done] == [0, 1, 2, 3]
    assert asked == [([0, 1, 2, 3], ("z",), 2), ([1, 2, 3], ("z", "a", "b"), 6)]
    assert waited == [("z", "a", "b")]
    assert runner._sizes(Todo(list(range(9)), 9), list(range(9))) == (5, 5)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_node_with_another_library_joins_a_running_job(tmp_path):
    """On a real cluster: the pool takes the newcomer's CPUs, which do none of the work; everything is done once, by the
    first node, with the bytes of a quiet job."""
    photographs.archive(tmp_path / "in", count=400)
    other = tmp_path / "other" / "pillow-0.0.1.dist-info"
    other.mkdir(parents=True)
    (other / "METADATA").write_text("Metadata-Version: 2.1\nName: pillow\nVersion: 0.0.1\n")
    flags = ["--network-size", "640", "--images-per-shard", "4"]
    cluster = chaos.start_cluster(nodes=1, cpus=2)
    try:
        job = chaos.start(chaos.job(tmp_path / "in", tmp_path / "out", *flags, "--address", cluster.address))
        parts, deadline = tmp_path / "out" / "_raycolor" / "outcomes", time.monotonic() + 240
        while not list(parts.glob("part-*")):
            assert job.poll() is None, job.communicate()
            assert time.monotonic() < deadline
            time.sleep(0.2)
        chaos.add_node(cluster, 4, PYTHONPATH=str(other.parent))
        _, told = job.communicate(timeout=400)
    finally:
        cluster.shutdown()
    assert job.returncode == 0, told
    assert told.count("gets no work: it came while the job ran, and it has pillow 0.0.1, the driver ") == 1
    quiet = chaos.start(chaos.job(tmp_path / "in", tmp_path / "quiet", *flags))
    quiet.communicate(timeout=300)
    assert chaos.results(tmp_path / "out") == chaos.results(tmp_path / "quiet")
