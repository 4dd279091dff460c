"""Two shards at once in one worker, and the one thread in which their photographs are computed."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import photographs
import pytest

from raycolor.colorize.job_folder import FOLDER
from raycolor.colorize.manifest import write_manifest
from raycolor.colorize.outcomes import read_outcomes
from raycolor.colorize.priority_queue import PriorityQueue
from raycolor.colorize.shard import ShardWorker
from raycolor.sources import open_source
from raycolor.storage import open_store

FILES = {f"{i:02}.jpg": photographs.encoded(photographs.gray_pixels(40 + i, 60, seed=i)) for i in range(12)}


def run_two_at_a_time(worker):
    """Run every shard as a worker of the job does, and return the outcomes without times."""
    with ThreadPoolExecutor(2) as calls:
        list(calls.map(worker.run, range(worker.spec.totals.shards)))
    return [replace(outcome, seconds=0.0) for outcome in read_outcomes(worker.dest)]


def test_lower_ranks_come_first_and_in_their_order():
    """What is asked while the thread is busy is computed by rank, then by age."""
    queue, done, busy, go = PriorityQueue(lambda: None), [], threading.Event(), threading.Event()

    def hold():
        busy.set()
        assert go.wait(20)

    with ThreadPoolExecutor(8) as callers:
        first = callers.submit(queue.run, 9, hold)
        assert busy.wait(20)
        later = []
        for rank, name in ((1, "b"), (0, "x"), (1, "c"), (0, "y")):
            asked = queue._asked.qsize()
            later.append(callers.submit(queue.run, rank, done.append, name))
            while queue._asked.qsize() == asked:
                time.sleep(0.001)
        go.set()
        for call in (first, *later):
            call.result(20)
    assert done == ["x", "y", "b", "c"]


def test_one_thread_computes_and_errors_go_to_who_asked():
    """Whoever asks: the same thread, made ready once; the next one is computed all the same."""
    ready = []
    queue = PriorityQueue(ready.append, "ready")
    with ThreadPoolExecutor(4) as callers:
        threads = set(callers.map(lambda rank: queue.run(rank, threading.get_ident), range(20)))
        failing = callers.submit(queue.run, 0, int, "no number")
        with pytest.raises(ValueError, match="no number"):
            failing.result(20)
        assert callers.submit(queue.run, 0, int, "7").result(20) == 7
    assert len(threads) == 1
    assert threading.get_ident() not in threads
    assert ready == ["ready"]


def test_two_shards_at_once_end_as_one_after_the_other(job, tmp_path):
    """The same outcomes and bytes, and no mark of an attempt is left."""
    files = {**FILES, "bad.jpg": b"no photograph", "blue.png": photographs.encoded(photographs.color_pixels())}
    worker = job(files)
    assert worker.spec.totals.shards == 4
    for shard in range(worker.spec.totals.shards):
        worker.run(shard)
    expected = [replace(outcome, seconds=0.0) for outcome in read_outcomes(worker.dest)]
    outputs = {k: v for k, v in photographs.tree(tmp_path / "out").items() if not k.startswith(FOLDER)}
    again = open_store(tmp_path / "again")
    totals = write_manifest(again, open_source(str(tmp_path / "in")).inputs(again.uri), images_per_shard=1000)
    other = ShardWorker(replace(worker.spec, dest=again.uri, totals=totals))
    assert run_two_at_a_time(other) == expected
    left = photographs.tree(tmp_path / "again")
    assert {k: v for k, v in left.items() if not k.startswith(FOLDER)} == outputs
    assert not [key for key in left if key.startswith(f"{FOLDER}attempts/")]


def test_while_one_shard_is_written_the_next_is_computed(job):
    """The last output of the first shard is written only when all of the second have been computed."""
    worker = job(FILES)
    computed = threading.Semaphore(0)
    put, colorize = worker.dest.put, worker.colorizer.colorize
    of_second = [FILES[f"{i:02}.jpg"] for i in range(4, 8)]

    def slow_put(key, data, **options):
        if key == "03.jpg":
            assert all(computed.acquire(timeout=20) for _ in of_second)
        return put(key, data, **options)

    def told(data, *_):
        result = colorize(data)
        if data in of_second:
            computed.release()
        return result

    worker.dest.put, worker.colorizer.colorize = slow_put, told
    assert {outcome.status for outcome in run_two_at_a_time(worker)} == {"colorized"}


def test_a_packed_archive_is_unpacked_for_one_shard_at_a_time(packed_job):
    """Two shards of one archive do not send each other back to its front, and each member gets its own bytes."""
    worker, fronts = packed_job(FILES)
    assert worker.spec.totals.shards == 3
    outcomes = run_two_at_a_time(worker)
    assert [outcome.status for outcome in outcomes] == ["colorized"] * len(FILES)
    assert len(fronts) <= worker.spec.totals.shards
    for outcome, data in zip(outcomes, FILES.values(), strict=True):
        assert worker.dest.get(outcome.output_key) == worker.colorizer.colorize(data).data
