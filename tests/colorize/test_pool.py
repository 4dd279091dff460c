"""Laws of the pool of workers: rows of shards, a cluster that grows, one without room, and Ray Data's limits."""

import os
import threading
import time
from collections import Counter
from contextlib import ExitStack
from types import SimpleNamespace

import chaos
import pytest

from raycolor.cluster import pool, session
from raycolor.colorize import ray_driver
from raycolor.colorize.actor import ShardActor
from raycolor.colorize.config import ColorizeConfig
from raycolor.colorize.execution import Execution
from raycolor.colorize.job_record import JobRecord
from raycolor.colorize.later_runs import Todo
from raycolor.colorize.manifest import ManifestTotals
from raycolor.colorize.messages import ShardReport, ShardSpec, reports_of
from raycolor.colorize.outcomes import Outcome, Tally, write_outcomes
from raycolor.colorize.redo import Again
from raycolor.colorize.shard import ShardWorker
from raycolor.colorize.summary import Timing
from raycolor.colorizer.config import ColorizerConfig
from raycolor.errors import OutageError, RaycolorError
from raycolor.storage import open_store

pytestmark = pytest.mark.ray


def report(shard):
    return ShardReport(shard, Tally(Counter(colorized=64)), 1.0, 2.0, 64)


def actor_of(worker):
    """Return a pool member around a worker, without its start."""
    actor = object.__new__(ShardActor)
    actor._worker, actor._error, actor._name = worker, None, "here:1"
    return actor


class Recorder:
    """A `ShardWorker` of which some shards are done already."""

    def __init__(self, before=(), broken=()):
        self.before, self.broken, self.did, self.looked = before, broken, [], []

    def done_before(self, shard):
        self.looked.append(shard)
        return report(shard) if shard in self.before else None

    def run(self, shard):
        self.did.append(shard)
        if shard in self.broken:
            raise OutageError("no answer")
        return report(shard)


@pytest.mark.parametrize(
    ("before", "did", "looked"),
    [((), [4, 5, 6], [4]), ((4, 5), [6], [4, 5]), ((5,), [4, 5, 6], [4])],
    ids=["fresh", "after a death", "not from its front"],
)
def test_a_row_that_is_begun_again_goes_on(before, did, looked):
    """What a worker that died had done of a row is reported, not done again; a fresh row costs one look."""
    worker = Recorder(before)
    found = actor_of(worker)._row([4, 5, 6])
    assert [one.shard for one in found] == [4, 5, 6]
    assert (worker.did, worker.looked) == (did, looked)


def test_one_shard_is_not_looked_for():
    """A row of one costs no request more than its shard."""
    worker = Recorder()
    assert [one.shard for one in actor_of(worker)._row([4])] == [4]
    assert worker.looked == []


def test_the_reports_before_an_error_count():
    """What a row had done when it ended is reported; then its error ends the job, and nothing after it is done."""
    worker = Recorder(broken=[5])
    rows, seen = [actor_of(worker)._row([4, 5, 6]), "never"], []
    with pytest.raises(OutageError, match="no answer"):  # noqa: PT012
        for one in reports_of(rows):
            seen.append((one.shard, one.worker))
    assert (seen, worker.did) == ([(4, "here:1")], [4, 5])


def test_a_finished_shard_is_known_by_its_record(tmp_path):
    """In a first pass alone: a later one does shards that have a record."""
    dest = open_store(tmp_path)
    write_outcomes(dest, 7, [Outcome("a", "failed", "empty"), Outcome("b", "skipped", "excluded")])
    worker = object.__new__(ShardWorker)
    worker.dest, worker.spec = dest, spec_of(tmp_path)
    found = worker.done_before(7)
    assert (found.shard, found.images, found.tally.counts) == (7, 2, {"failed": 1, "skipped": 1})
    assert worker.done_before(8) is None
    worker.spec = spec_of(tmp_path, again=Again(1, retry=True))
    assert worker.done_before(7) is None


def spec_of(folder, **options):
    return ShardSpec(str(folder), str(folder), ManifestTotals(0, 0, 0, (0,)), ColorizerConfig(), **options)


def recording(seconds):
    """Return a pool member that takes its time for a shard and does nothing."""

    class Slow:
        def __init__(self, spec, predict):
            self.spec = spec

        def __call__(self, batch):
            import pickle

            (row,) = batch["shards"]
            done = []
            for shard in row:
                time.sleep(seconds)
                made = ShardReport(int(shard), Tally(Counter(colorized=64)), 1.0, 2.0, 64, worker=f"here:{os.getpid()}")
                done.append(made)
            return {"reports": [pickle.dumps(done)]}

    return Slow


def reports_on(address, monkeypatch, folder, shards, seconds, **settings):
    """Yield the reports of a job on a cluster whose workers only take their time, with its `Timing`."""
    monkeypatch.setattr(ray_driver, "ShardActor", recording(seconds))
    totals = ManifestTotals(64 * shards, 10, shards, (0,))
    record = JobRecord({}, {}, str(folder), {}, "0", totals, "2026-01-01T00:00:00+00:00")
    config = ColorizeConfig(source=str(folder), dest=str(folder), address=address, **settings)
    timing = Timing()
    with ExitStack() as ends:
        ends.enter_context(session.connect(address))
        runner = ray_driver.RayPool(config, ends)
        runner._settled = Execution("cpu", 0), record
        spec = spec_of(folder, image_timeout_s=1.0, images_per_shard=2)
        for found in runner._on_ray(spec, Todo(list(range(shards)), totals.images), list(range(shards)), timing):
            yield found, timing


@pytest.mark.slow
def test_the_pool_grows_with_the_cluster(tmp_path, monkeypatch):
    """CPUs that come while a job runs get workers, and every shard is reported once all the same."""
    cluster, came, workers, shards = chaos.start_cluster(nodes=1, cpus=2), False, set(), Counter()
    try:
        for found, timing in reports_on(cluster.address, monkeypatch, tmp_path, 300, 0.6):
            workers.add(found.worker)
            shards[found.shard] += 1
            if not came:
                assert timing.workers == 1  # a CPU is left to Ray's helpers at first
                came = chaos.add_node(cluster, 4) or True
    finally:
        cluster.shutdown()
    assert shards == dict.fromkeys(range(300), 1)
    assert len(workers) >= 4
    assert timing.workers == len(workers)


@pytest.mark.slow
def test_a_pool_of_a_given_size_stays(tmp_path, monkeypatch):
    """--workers is a number, not a beginning."""
    cluster = chaos.start_cluster(nodes=1, cpus=3)
    try:
        found = list(reports_on(cluster.address, monkeypatch, tmp_path, 30, 0.1, workers=2))
    finally:
        cluster.shutdown()
    assert len({one.worker for one, _ in found}) == 2
    assert sorted(one.shard for one, _ in found) == list(range(30))


@pytest.mark.slow
def test_a_shard_may_take_longer_than_the_limit_of_ray_data(tmp_path, monkeypatch):
    """Shards of 6 s pass where nothing may be silent for 2 s: the limit follows from the photographs' own. And it ends
    a job whose shards take longer than they may, in one line."""
    monkeypatch.setattr(pool, "NO_PROGRESS_S", 2.0)
    cluster = chaos.start_cluster(nodes=1, cpus=1)
    try:
        # Two photographs to a shard, 1 s each, two shards at a time.
        monkeypatch.setattr(ShardSpec, "longest_s", 5.0)
        assert len(list(reports_on(cluster.address, monkeypatch, tmp_path, 2, 6.0))) == 2
        monkeypatch.setattr(ShardSpec, "longest_s", 0.5)
        with pytest.raises(RaycolorError, match=r"made no progress for at least [234]s"):
            list(reports_on(cluster.address, monkeypatch, tmp_path, 2, 60.0))
    finally:
        cluster.shutdown()


def test_a_wait_for_room_is_told(monkeypatch, caplog):
    """A line each minute says what is waited for; at last the job ends in one."""
    asked = SimpleNamespace(options=lambda **needs: SimpleNamespace(remote=lambda: "probe"))
    silent = SimpleNamespace(
        remote=lambda task: asked, wait=lambda refs, timeout: ([], refs), cancel=lambda ref, force: None
    )
    monkeypatch.setattr(pool, "ray", silent)
    monkeypatch.setattr(pool, "cluster_resources", lambda: {"CPU": 3.0})
    monkeypatch.setattr(pool, "ROOM_S", 0.0)
    with pytest.raises(RaycolorError, match=r"no CPU of the cluster came free within 0 s \(it has 3\)"):
        pool.wait_for_room()
    assert "waiting for a CPU: the cluster has 3, none of them free" in caplog.text


def test_a_probe_is_canceled_only_where_it_is_given_up(monkeypatch):
    """Ray ends the whole process by a failed check when the reply comes of a task that was canceled meanwhile."""
    answers, canceled = [], []
    asked = SimpleNamespace(options=lambda **needs: SimpleNamespace(remote=lambda: "probe"))
    fake = SimpleNamespace(
        remote=lambda task: asked,
        wait=lambda refs, timeout: answers.pop(0),
        cancel=lambda ref, force: canceled.append(ref),
    )
    monkeypatch.setattr(pool, "ray", fake)
    monkeypatch.setattr(pool, "cluster_resources", lambda: {"CPU": 3.0})
    answers += [([], ["probe"]), (["probe"], [])]
    pool.wait_for_room()
    assert canceled == []
    monkeypatch.setattr(pool, "ROOM_S", 0.0)
    answers.append(([], ["probe"]))
    with pytest.raises(RaycolorError, match="no CPU"):
        pool.wait_for_room()
    assert canceled == ["probe"]


@pytest.mark.slow
def test_a_cluster_without_room_is_waited_for_and_then_named(monkeypatch):
    """All CPUs are held by others: when one comes free the job goes on, else it ends."""
    import ray

    cluster = chaos.start_cluster(nodes=1, cpus=1)
    try:
        with session.connect(cluster.address):

            @ray.remote(num_cpus=1)
            class Holder:
                def there(self):
                    return True

            holder = Holder.remote()
            assert ray.get(holder.there.remote())
            monkeypatch.setattr(pool, "_SAY_EVERY_S", 0.5)
            with monkeypatch.context() as short:
                short.setattr(pool, "ROOM_S", 1.0)
                with pytest.raises(RaycolorError, match=r"no CPU of the cluster came free within 1 s \(it has 1\)"):
                    pool.wait_for_room()
            threading.Timer(2.0, ray.kill, [holder]).start()
            pool.wait_for_room()
    finally:
        cluster.shutdown()


@pytest.mark.slow
def test_workers_that_fail_at_their_start_are_replaced_three_times(tmp_path, monkeypatch):
    """A node that goes under starting workers costs a job nothing; a defect that every worker has ends it."""
    cluster, plain = chaos.start_cluster(nodes=1, cpus=1), recording(0.0)
    mark = tmp_path / "starts"

    def failing(starts):
        mark.write_text("")

        class Failing(plain):
            def __init__(self, spec, predict):
                with mark.open("a") as file:
                    file.write("x")
                if len(mark.read_text()) <= starts:
                    raise OSError("the node goes")
                super().__init__(spec, predict)

        return lambda seconds: Failing

    try:
        monkeypatch.setattr(f"{__name__}.recording", failing(3))
        assert len(list(reports_on(cluster.address, monkeypatch, tmp_path, 3, 0.0))) == 3
        assert len(mark.read_text()) == 4
        monkeypatch.setattr(f"{__name__}.recording", failing(99))
        with pytest.raises(RaycolorError, match="the node goes"):
            list(reports_on(cluster.address, monkeypatch, tmp_path, 3, 0.0))
        assert len(mark.read_text()) == 4
    finally:
        cluster.shutdown()
