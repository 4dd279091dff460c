"""What a job sets in Ray on purpose, and what becomes of Ray's own errors."""

import subprocess
import sys

import pytest

from raycolor.cluster import pool, session
from raycolor.errors import ConfigError, RaycolorError

TIMEOUT = "Dataset execution made no progress for at least 3600s.\nOperators still running:\nIf this is expected, raise"


def errors():
    """Return one of each kind that Ray raises, with what its line has to say."""
    import ray
    from ray.data.exceptions import ExecutionTimeoutError, SystemException

    return [
        (ExecutionTimeoutError(TIMEOUT), "made no progress for at least 3600s"),
        (SystemException("broken\ninside"), "inside"),
        (ray.exceptions.OutOfMemoryError("Task was killed\ndue to the node running low on memory."), "low on memory"),
        (ray.exceptions.ActorDiedError(), "actor"),
    ]


@pytest.mark.parametrize("number", range(4))
def test_whatever_ray_raises_is_one_line(monkeypatch, number):
    """Also what is no RayError; the line says what to do."""
    monkeypatch.setattr(session.ray, "is_initialized", lambda: True)
    error, words = errors()[number]
    with pytest.raises(RaycolorError, match="run the same command again") as caught, session.connect():
        raise error
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("error", [ConfigError("ours"), ZeroDivisionError("a defect")])
def test_other_errors_pass(monkeypatch, error):
    """A user's error keeps its exit code, and a defect of ours its stack."""
    monkeypatch.setattr(session.ray, "is_initialized", lambda: True)
    with pytest.raises(type(error), match=str(error)), session.connect():
        raise error


def test_the_limits_of_ray_data_are_ours(monkeypatch):
    """A job does not end by a default that another version of Ray may change."""
    monkeypatch.setattr(session.ray, "is_initialized", lambda: True)
    context = session.ray.data.DataContext.get_current()
    context.execution_no_progress_timeout_s, context.max_consecutive_actor_init_deaths = 1.0, 0
    with session.connect():
        assert context.execution_no_progress_timeout_s == pool.NO_PROGRESS_S
        assert context.max_consecutive_actor_init_deaths == 3


def test_without_an_address_no_other_ray_is_joined(monkeypatch):
    """Ray by itself joins whatever cluster was started on the machine, a stranger's too: a job asks for its own."""
    asked = []
    monkeypatch.setattr(session.ray, "init", lambda **options: asked.append(options))
    session._join_or_start(None, verbose=False)
    assert [options["address"] for options in asked] == ["local"]


def test_a_start_that_fails_leaves_no_process_behind(monkeypatch):
    """Each try ends what it had started, before the next; the error is one line."""
    started, others = [], []
    sleep = [sys.executable, "-c", "import time; time.sleep(600)"]

    def fail(**_):
        # The one before has gone, and was not only asked to.
        assert all(one.wait(5) for one in started)
        others.append(subprocess.Popen(sleep))  # as another thread might
        started.append(subprocess.Popen([*sleep, session.ray.__path__[0]]))
        raise Exception("the first processes\nwere too slow")

    monkeypatch.setattr(session.ray, "init", fail)
    monkeypatch.setattr(session.ray, "shutdown", lambda: None)  # other tests' Ray may be up
    try:
        with pytest.raises(RaycolorError, match=r"did not start \(the first processes were too slow\): is the machine"):
            session.start_local(1)
        assert len(started) == session._START_TRIES
        assert all(one.wait(5) == -9 for one in started)
        assert all(one.poll() is None for one in others)
    finally:
        for one in (*started, *others):
            one.kill()
            one.wait()
