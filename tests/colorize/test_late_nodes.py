"""A node that comes while a job runs, and would make other bytes, gets no work: the job goes on without it."""

import os
import pickle
import time
from collections import Counter
from contextlib import ExitStack, nullcontext
from pathlib import Path

import chaos
import numpy as np
import pytest
import ray

from raycolor.cluster import pool, session
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

    monkeypatch.setattr(ray_driver, "answers", lambda rows, column: iter(rows))
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


def differing(first, folder):
    """Return a pool member that finds its node unfit on any but the first, and on that one reports.

    After its first shards it waits until the other node has been given some.
    """
    begun, asked = Path(folder) / "begun", Path(folder) / "asked"

    class Member:
        def __init__(self, spec, predict):
            import ray

            self.node = ray.get_runtime_context().get_node_id()

        def __call__(self, batch):
            (row,) = batch["shards"]
            shards = [int(shard) for shard in row]
            if self.node != first:
                asked.touch()
                return {"reports": [pickle.dumps([GivenBack(shards, self.node, "newcomer", "it is another")])]}
            until = time.monotonic() + 100
            while begun.exists() and not asked.exists() and time.monotonic() < until:
                time.sleep(0.2)
            begun.touch()
            done = [
                ShardReport(n, Tally(Counter(colorized=64)), 1.0, 2.0, 64, worker=f"a:{os.getpid()}") for n in shards
            ]
            return {"reports": [pickle.dumps(done)]}

    return Member


@pytest.mark.slow
def test_a_job_goes_on_without_a_node_that_came_and_differs(tmp_path, monkeypatch, caplog):
    """Every shard is reported once, by the node that the job began on; the newcomer is told of, and then left out."""
    cluster, came, done, shards = chaos.start_cluster(nodes=1, cpus=2), False, Counter(), 60
    used = []
    plain = ray_driver.elsewhere
    monkeypatch.setattr(ray_driver, "elsewhere", lambda ids: used.append(tuple(ids)) or plain(ids))
    try:
        totals = ManifestTotals(64 * shards, 10, shards, (0,))
        record = JobRecord({}, {}, str(tmp_path), {}, "0", totals, "2026-01-01T00:00:00+00:00")
        config = ColorizeConfig(source=str(tmp_path), dest=str(tmp_path), address=cluster.address)
        with ExitStack() as ends:
            ends.enter_context(session.connect(cluster.address))
            first = next(node["NodeID"] for node in ray.nodes() if node["Alive"] and node["Resources"].get("CPU"))
            monkeypatch.setattr(ray_driver, "ShardActor", differing(first, tmp_path))
            runner = ray_driver.RayPool(config, ends)
            runner._settled = Execution("cpu", 0), record
            for found in runner._on_ray(
                spec_of(tmp_path), Todo(list(range(shards)), totals.images), list(range(shards)), Timing()
            ):
                done[found.shard] += 1
                if not came:
                    came = True
                    chaos.add_node(cluster, 2)
            # With no other node left a job waits, and then says so.
            monkeypatch.setattr(pool, "ROOM_S", 1.0)
            with pytest.raises(RaycolorError, match="no CPU of the cluster came free on a node that can do this job"):
                pool.wait_for_room([node["NodeID"] for node in ray.nodes()])
    finally:
        cluster.shutdown()
    assert done == dict.fromkeys(range(shards), 1)
    assert caplog.text.count("node newcomer gets no work: it came while the job ran") >= 1
    assert used[0] == ()
    assert used[-1] != ()
    assert first not in used[-1]
