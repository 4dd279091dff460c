"""Several photographs on their way at once in one worker, and a network that runs elsewhere."""

import threading
import time
from dataclasses import replace

import numpy as np
import photographs
import pytest

from raycolor.colorize import shard as shard_module
from raycolor.colorize.job_folder import FOLDER
from raycolor.colorize.messages import NetworkGoneError
from raycolor.colorize.outcomes import read_outcomes
from raycolor.colorize.shard import ShardWorker
from raycolor.colorizer.batches import Batcher
from raycolor.colorizer.predict import Predictor

FILES = {f"{i}.jpg": photographs.encoded(photographs.gray_pixels(40 + i, 60, seed=i)) for i in range(8)}


def outcomes_of(worker):
    """Run every shard and return the outcomes, in order, without times."""
    for shard in range(worker.spec.totals.shards):
        worker.run(shard)
    return [replace(outcome, seconds=0.0) for outcome in read_outcomes(worker.dest)]


@pytest.mark.parametrize("begun_before", [False, True])
def test_a_network_elsewhere_makes_the_same_bytes(job, tmp_path, begun_before):
    """Also in the child process of a second attempt, which asks its parent; L and ab travel as float16."""
    worker = job({**FILES, "bad.jpg": b"no photograph", "blue.png": photographs.encoded(photographs.color_pixels())})
    expected, files = outcomes_of(worker), photographs.tree(tmp_path / "out")
    planes = []

    def predict(L_small):
        planes.extend(L_small)
        found = network([plane.astype(np.float16).astype(np.float32) for plane in L_small])
        return [one._replace(ab=one.ab.astype(np.float16).astype(np.float32)) for one in found]

    network = Batcher(Predictor(worker.spec.colorizer).begin, 1)
    elsewhere = ShardWorker(worker.spec, predict)
    if begun_before:
        elsewhere.dest.put(f"{FOLDER}attempts/shard-000000", b"")
    assert outcomes_of(elsewhere) == expected
    assert len(planes) == len(FILES)
    left = photographs.tree(tmp_path / "out")
    assert {k: v for k, v in left.items() if "outcomes" not in k} == {
        k: v for k, v in files.items() if "outcomes" not in k
    }


@pytest.mark.parametrize("begun_before", [False, True])
def test_a_network_that_is_gone_is_no_photographs_failure(job, begun_before):
    """The shard stops and records nothing, so that the next run does it all."""

    def gone(L_small):
        raise NetworkGoneError("the network's actor does not answer")

    worker = job(FILES)
    worker = ShardWorker(worker.spec, gone)
    if begun_before:
        worker.dest.put(f"{FOLDER}attempts/shard-000000", b"")
    with pytest.raises(NetworkGoneError):
        worker.run(0)
    assert list(read_outcomes(worker.dest)) == []


def test_a_slow_store_is_asked_for_several_at_once(job):
    """Each read ends only when two are under way: with one after the other none would."""
    worker = job(FILES)
    together = threading.Barrier(2, timeout=20)
    get = worker.source.get

    def slow(info):
        together.wait()
        return get(info)

    worker.source.get = slow
    assert {outcome.status for outcome in outcomes_of(worker)} == {"colorized"}


@pytest.mark.parametrize("told", [True, False])
@pytest.mark.parametrize(("budget", "at_once"), [(100, 1), (2 * 700, 2)])
def test_files_on_their_way_stay_within_a_budget(job, monkeypatch, budget, at_once, told):
    """Memory does not grow with the threads: a file larger than the budget goes alone, and smaller ones share it.

    Sizes that a list does not tell count as well.
    """
    monkeypatch.setattr(shard_module, "_HELD_BYTES", budget)
    assert all(500 < len(data) < 700 for data in FILES.values())
    worker = job(FILES)
    shard = worker.manifest.shard
    if not told:
        monkeypatch.setattr(worker.manifest, "shard", lambda n: [info._replace(size=0) for info in shard(n)])
    get, put = worker.source.get, worker.dest.put
    held, most = set(), []

    def read(info):
        held.add(info.key)
        time.sleep(0.05)  # the others could come now
        most.append(len(held))
        return get(info)

    def write(key, data, **options):
        put(key, data, **options)
        held.discard(key)

    worker.source.get, worker.dest.put = read, write
    assert {outcome.status for outcome in outcomes_of(worker)} == {"colorized"}
    assert max(most) == at_once


def test_seconds_are_the_photographs_own(job, monkeypatch):
    """The wait behind others does not count: four photographs of 0.3 s each would make 3 s with it, 1.2 s without."""
    worker = job(FILES)
    colorize = worker.colorizer.colorize
    monkeypatch.setattr(worker.colorizer, "colorize", lambda data, hints: time.sleep(0.3) or colorize(data, hints))
    worker.run(0)
    seconds = [outcome.seconds for outcome in read_outcomes(worker.dest)]
    assert len(seconds) == 4
    assert 1.2 <= sum(seconds) < 2.4


def test_a_packed_archive_is_unpacked_once(packed_job):
    """Its members are read in their order, one after the other: each step back would unpack from the front again."""
    worker, fronts = packed_job(FILES)
    assert {outcome.status for outcome in outcomes_of(worker)} == {"colorized"}
    assert len(fronts) == 1
