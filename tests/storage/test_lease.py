"""Laws of the lease that keeps two jobs from one destination."""

import json
import os
import signal
import socket
import subprocess
import sys
import time

import pytest

from raycolor.errors import ManifestError
from raycolor.storage import lease, open_store
from raycolor.storage.lease import LEASE_KEY, Lease


def test_a_second_job_is_refused_while_the_first_lives(tmp_path):
    """Exactly one living job holds a destination, and leaves nothing behind."""
    store = open_store(tmp_path)
    with Lease(store), pytest.raises(ManifestError, match="another raycolor job is writing there"), Lease(store):
        pass
    assert store.stat(LEASE_KEY) is None
    with Lease(store):
        pass


def test_a_killed_holder_on_this_machine_is_followed_at_once(tmp_path):
    """After SIGKILL the same command does not have to wait."""
    store = open_store(tmp_path)
    code = (
        "import sys, time; from raycolor.storage.lease import Lease; from raycolor.storage import open_store\n"
        "with Lease(open_store(sys.argv[1])): print('held', flush=True); time.sleep(60)"
    )
    holder = subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert holder.stdout.readline() == "held\n"
    with pytest.raises(ManifestError, match=f"process {holder.pid}"), Lease(store):
        pass
    holder.kill()
    holder.wait()
    holder.stdout.close()
    begun = time.monotonic()
    with Lease(store):
        assert time.monotonic() - begun < 5


def foreign(beats):
    """Return the lease of a job on another machine."""
    return json.dumps({"holder": "x", "host": "far", "boot": "other", "pid": 1, "beats": beats}).encode()


def test_a_lease_of_another_machine_is_taken_only_when_it_stands_still(tmp_path):
    """A lease that is not refreshed for the stated time is stale; nothing depends on clocks that agree."""
    store = open_store(tmp_path)
    store.put(LEASE_KEY, foreign(1))
    with Lease(store, stale_s=0.5):
        assert json.loads(store.get(LEASE_KEY))["holder"] != "x"


def test_a_lease_of_another_machine_that_is_refreshed_is_respected(tmp_path, monkeypatch):
    """A refreshed lease means a living job."""
    store = open_store(tmp_path)
    store.put(LEASE_KEY, foreign(1))
    monkeypatch.setattr("raycolor.storage.lease.time.sleep", lambda seconds: store.put(LEASE_KEY, foreign(2)))
    with pytest.raises(ManifestError, match="on far"), Lease(store, stale_s=5):
        pass


def test_the_lease_is_refreshed(tmp_path):
    """The holder's beats go up while it lives."""
    store = open_store(tmp_path)
    with Lease(store, refresh_s=0.05):
        first = json.loads(store.get(LEASE_KEY))["beats"]
        deadline = time.monotonic() + 5
        while json.loads(store.get(LEASE_KEY))["beats"] == first:
            assert time.monotonic() < deadline
            time.sleep(0.02)


SLEEPER = """
import signal, sys, time
signal.signal(signal.SIGINT, signal.default_int_handler)  # in the background of a shell it is ignored
from raycolor.storage import lease
from raycolor.errors import ManifestError
from raycolor.storage import open_store
lease._boot_id = lambda: "another machine"
try:
    with lease.Lease(open_store(sys.argv[1]), refresh_s=0.1, stale_s=1.0) as held:
        print("held", flush=True)
        time.sleep(60)
except ManifestError as exc:
    print(held.lost, exc)
"""


@pytest.mark.parametrize("ended", [False, True])
def test_a_sleeper_stops_when_another_job_has_taken_over(tmp_path, ended):
    """A holder that wakes up stops by itself, in one line, be the other job at work or done, and takes nothing back."""
    store = open_store(tmp_path)
    command = [sys.executable, "-c", SLEEPER, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as sleeper:
        assert sleeper.stdout.readline() == "held\n"
        sleeper.send_signal(signal.SIGSTOP)
        try:
            with Lease(store, stale_s=1.5):
                mine = json.loads(store.get(LEASE_KEY))["holder"]
                if not ended:
                    sleeper.send_signal(signal.SIGCONT)
                    said, _ = sleeper.communicate(timeout=20)
                    assert json.loads(store.get(LEASE_KEY))["holder"] == mine
            if ended:
                sleeper.send_signal(signal.SIGCONT)
                said, _ = sleeper.communicate(timeout=20)
        finally:
            sleeper.kill()
    assert said.startswith("True ")
    assert "took the job over while this one was suspended" in said
    assert (f"process {os.getpid()}" in said) is not ended
    assert store.stat(LEASE_KEY) is None


def neighbor(beats, **changes):
    """Return the lease of a job in another container on this machine, whose process id is nobody's here."""
    here = {"host": socket.gethostname(), "boot": lease._boot_id(), "pids": lease._pid_namespace()}
    return json.dumps({"holder": "x", "pid": 2**22 + 1, "beats": beats, **here, **changes}).encode()


@pytest.mark.parametrize("changes", [{"host": "0a1b2c"}, {"pids": "pid:[1]"}])
def test_a_container_started_anew_on_the_same_machine_takes_over(tmp_path, monkeypatch, changes):
    """Another container's lease is followed when it stands still, and respected while it does not."""
    store = open_store(tmp_path)
    store.put(LEASE_KEY, neighbor(1, **changes))
    with Lease(store, stale_s=0.5):
        assert json.loads(store.get(LEASE_KEY))["holder"] != "x"
    store.put(LEASE_KEY, neighbor(1, **changes))
    monkeypatch.setattr(
        "raycolor.storage.lease.time.sleep", lambda seconds: store.put(LEASE_KEY, neighbor(2, **changes))
    )
    with pytest.raises(ManifestError, match="another raycolor job is writing there"), Lease(store, stale_s=5):
        pass


def test_a_lease_that_somebody_removed_is_written_again(tmp_path):
    """A holder that is awake goes on, and nobody else can come in."""
    store = open_store(tmp_path)
    with Lease(store, refresh_s=0.05) as held:
        store.delete(LEASE_KEY)
        deadline = time.monotonic() + 5
        while store.stat(LEASE_KEY) is None:
            assert time.monotonic() < deadline
            time.sleep(0.02)
        assert not held.lost
