"""Laws of the lease that keeps two jobs from one destination."""

import json
import subprocess
import sys
import time

import pytest

from raycolor.errors import ManifestError
from raycolor.lease import LEASE_KEY, Lease
from raycolor.storage import open_store


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
        "import sys, time; from raycolor.lease import Lease; from raycolor.storage import open_store\n"
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
    monkeypatch.setattr("raycolor.lease.time.sleep", lambda seconds: store.put(LEASE_KEY, foreign(2)))
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
