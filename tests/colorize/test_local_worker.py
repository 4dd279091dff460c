"""A job without Ray: who decides that, and a worker in a child process that photographs may end."""

import subprocess
import sys
from dataclasses import replace

import photographs
import pytest

from raycolor.child_process import Child
from raycolor.colorize import driver, local_worker, runner
from raycolor.colorize.config import ColorizeConfig
from raycolor.colorize.execution import Execution
from raycolor.colorize.job_record import JobRecord
from raycolor.colorize.later_runs import Todo
from raycolor.colorize.local_worker import HeadStart, LocalWorker
from raycolor.colorize.manifest import ManifestTotals
from raycolor.colorize.messages import BrokenWorkerError
from raycolor.colorize.outcomes import read_outcomes
from raycolor.colorize.summary import Timing
from raycolor.errors import ConfigError
from raycolor.storage import open_store

COMMAND = """
import sys
from raycolor import cli
code = cli.run(sys.argv[1:])
heavy = {"ray", "torch", "pandas", "pyarrow.dataset"}
assert not heavy & set(sys.modules), heavy & set(sys.modules)
sys.exit(code)
"""
CHILD = """
import os, sys, time
from raycolor import child_process
from raycolor.colorize import isolation
from raycolor.colorizer.photograph import FileColorizer
colorize = FileColorizer.colorize
def slow(self, data, hints=()):
    if data.endswith(b"hang"): time.sleep(60)
    if data.endswith(b"abort"): os.abort()
    return colorize(self, data, hints)
FileColorizer.colorize = slow
class Careless(child_process.Child):
    def __init__(self, *args, **options):
        super().__init__(*args, **options | {"command": [sys.executable, "-c", os.environ["CARELESS"]]})
isolation.Child = Careless
child_process.serve()
"""


def record(images, size, **more):
    return JobRecord({}, {"method": "unet"}, "/in", {}, "1", ManifestTotals(images, size, 1, (0,)), "now", **more)


def decided(images=16, size=10**6, todo=None, environment=(), **settings):
    """Return whether a job runs here."""
    config = ColorizeConfig(source="/in", **{"dest": "/out", **settings})
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("RAY_ADDRESS", raising=False)
        for name in environment:
            patch.setenv(name, "127.0.0.1:6379")
        patch.setattr(runner, "gpu_model", lambda: None)
        return runner.runs_here(config, record(images, size), 0, Todo([0], images if todo is None else todo))


def test_a_job_that_is_done_before_ray_would_start_runs_here():
    """Few photographs of few bytes, in local folders, with nothing that only Ray can follow."""
    assert decided()
    assert not decided(images=1000)
    assert not decided(size=10**9)
    assert decided(images=1000, todo=3)
    assert not decided(dest="s3://bucket/out")
    assert not decided(address="10.0.0.1:6379")
    assert not decided(environment=["RAY_ADDRESS"])
    for settings in ({"workers": 2}, {"shape": "staged"}, {"gpus": 1}, {"scale_to": 8}):
        assert not decided(**settings)
    assert decided(workers=1)
    assert not decided(ray=True)
    assert decided(images=1000, ray=False, dest="s3://bucket/out")


def test_a_machine_with_a_gpu_uses_it(monkeypatch):
    """Bytes must not depend on the size of the job: where Ray would take the GPU, no CPU here begins."""
    monkeypatch.setattr(runner, "gpu_model", lambda: ("NVIDIA L4", 8.9))
    config = ColorizeConfig(source="/in", dest="/out")
    assert not runner.runs_here(config, record(16, 10), 0, Todo([0], 16))
    assert runner.runs_here(config, record(16, 10, device="cpu"), 0, Todo([0], 16))
    assert not runner.runs_here(
        config.model_copy(update={"shape": "fused"}), record(1, 1, device="cuda"), 0, Todo([0], 1)
    )


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"address": "h:1"}, "--no-ray: --address h:1 needs Ray"),
        ({"workers": 3}, "--no-ray: --workers 3 needs Ray"),
        ({"shape": "staged"}, "--no-ray: --shape staged needs Ray"),
    ],
)
def test_what_only_ray_can_follow_is_refused_beside_no_ray(settings, message):
    """One line that names the flag, before anything is listed."""
    with pytest.raises(ConfigError, match=message):
        driver.run(ColorizeConfig(source="/nowhere", dest="/out", ray=False, **settings))


def test_a_small_job_loads_neither_ray_nor_torch_in_its_driver(tmp_path, untrained):
    """Its bytes come from one child process; the records are those of every job."""
    photographs.archive(tmp_path / "in", count=5)
    command = [sys.executable, "-c", COMMAND, "colorize", tmp_path / "in", tmp_path / "out", "--checkpoint", untrained]
    process = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert process.returncode == 0, process.stderr
    assert {outcome.status for outcome in read_outcomes(open_store(tmp_path / "out"))} == {"colorized"}


@pytest.fixture
def careless(monkeypatch):
    """Children in which photographs that end so hang or abort, and their own children."""
    begun = []
    monkeypatch.setenv("CARELESS", CHILD)

    class Careless(Child):
        def __init__(self, *args, **options):
            super().__init__(*args, **options, command=[sys.executable, "-c", CHILD])

        def _start(self):
            begun.append(self._process is None)
            return super()._start()

    monkeypatch.setattr(local_worker, "Child", Careless)
    return begun


def test_a_photograph_that_ends_the_worker_costs_itself_alone(job, careless):
    """A hang and a crash of the decoder: a child follows that is careful, and all others are colorized."""
    good = [photographs.encoded(photographs.gray_pixels(seed=i)) for i in range(4)]
    files = {"a.jpg": good[0], "b.jpg": good[1] + b"hang", "c.jpg": good[2] + b"abort", "d.jpg": good[3]}
    given = job(files)
    with LocalWorker(replace(given.spec, image_timeout_s=5.0)) as worker:
        worker.run(0)
    assert sum(careless) == 2
    outcomes = {outcome.key: outcome for outcome in read_outcomes(given.dest)}
    assert {key: outcome.status for key, outcome in outcomes.items() if outcome.status != "failed"} == {
        "a.jpg": "colorized",
        "d.jpg": "colorized",
    }
    assert {outcome.reason for outcome in outcomes.values() if outcome.status == "failed"} == {"internal_error"}
    assert "hung for 5 s" in outcomes["b.jpg"].detail
    assert "SIGABRT" in outcomes["c.jpg"].detail


def test_a_worker_in_which_nothing_works_is_started_anew_and_then_tells(job, monkeypatch):
    """Three children, then the error that names the cause: no photograph is given the blame."""
    asked, closed = [], []
    given = job({"a.jpg": b"x"})

    class Broken:
        def __init__(self, *args, **options): ...

        def ask(self, shard):
            asked.append(shard)
            raise BrokenWorkerError("nothing works", len(asked))

        def close(self):
            closed.append(1)

    monkeypatch.setattr(local_worker, "Child", Broken)
    with LocalWorker(given.spec) as worker, pytest.raises(BrokenWorkerError, match="nothing works"):
        worker.run(0)
    assert (len(asked), len(closed)) == (3, 4)


def test_a_head_start_ends_when_ray_is_there(job, monkeypatch):
    """Each shard is done once: here while Ray starts, the rest on Ray; a failure here is told."""
    given = job({"a.jpg": b"x"})
    done = []

    class Worker:
        def __init__(self, spec): ...

        def run(self, shard):
            done.append(shard)
            if shard == 9:
                raise BrokenWorkerError("broken", 3)
            return shard

        def close(self): ...

    monkeypatch.setattr(local_worker, "LocalWorker", Worker)
    with HeadStart(given.spec, [3, 1, 2]) as head:
        while len(done) < 3:
            pass
        rest = head.rest()
        assert sorted([*rest, *head.finished(), *head.reports()]) == [1, 2, 3]
    with HeadStart(given.spec, [9, 1]) as head, pytest.raises(BrokenWorkerError, match="broken"):
        list(head.reports())


@pytest.mark.ray
def test_shards_begun_here_are_not_done_by_ray_again(job, monkeypatch):
    """The pool gets what the head start has left, computed in the same way; what is done already is told first."""
    from raycolor.colorize import ray_driver

    given = job({"a.jpg": b"x"})
    execution, asked, done = Execution("cpu", 0), [], [["0"]]

    class Early:
        def __init__(self, spec, order):
            assert order == [0, 1, 2]

        def __enter__(self):
            return self

        def __exit__(self, *_): ...

        def rest(self):
            return [2]

        def finished(self):
            return iter(done.pop() if done else ())

        def reports(self):
            return iter(["1"])

    monkeypatch.setattr(runner, "gpu_model", lambda: None)
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setattr(ray_driver, "HeadStart", Early)
    monkeypatch.setattr(ray_driver, "settle_here", lambda config, record, revision, dest: (execution, record))
    monkeypatch.setattr(ray_driver.RayPool, "_settle_on_ray", lambda self, record: None)
    monkeypatch.setattr(
        ray_driver.RayPool, "_on_ray", lambda self, spec, todo, shards, timing: asked.append(shards) or iter(["2"])
    )
    pool = ray_driver.RayPool(ColorizeConfig(source="/in", dest="/out"), None)
    pool.settle(record(3, 3), 0, given.dest)
    assert list(pool.reports(given.spec, Todo([0, 1, 2], 3), Timing())) == ["0", "2", "1"]
    assert asked == [[2]]
