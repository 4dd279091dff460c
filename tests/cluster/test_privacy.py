"""The Ray that a job starts for itself is out of reach: of the network, of other users, and of who has no token."""

import json
import os
import re
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytestmark = [pytest.mark.ray, pytest.mark.slow]

HOLDER = """
import json, os, sys
from raycolor.cluster import reaper, session
if __name__ == "__main__":
    before = dict(os.environ)
    with session.connect():
        import ray
        @ray.remote
        def token():
            return os.environ["RAY_AUTH_TOKEN"]
        node = ray.nodes()[0]
        print(json.dumps({
            "address": ray.get_runtime_context().gcs_address,
            "folder": node["ObjectStoreSocketName"].split("/r/session_")[0],
            "token": ray.get(token.remote()),
            "pids": [os.getpid(), *(int(process.partition(":")[0]) for process in reaper.descendants())],
        }), flush=True)
        sys.stdin.readline()
    print(json.dumps({name: os.environ.get(name) == before.get(name) for name in ("RAY_AUTH_MODE", "RAY_AUTH_TOKEN")}))
"""

CLIENT = """
import sys
from ray._raylet import GcsClient
print(GcsClient(address=sys.argv[1]).internal_kv_keys(b"", b"", timeout=20))
"""


@pytest.fixture(scope="module")
def job(tmp_path_factory):
    """A process with an embedded Ray, and what it says of it."""
    script = tmp_path_factory.mktemp("holder") / "holder.py"
    script.write_text(HOLDER)
    environment = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    process = subprocess.Popen([sys.executable, script], env={**environment, "RAY_AUTH_MODE": "disabled"}, **pipes)
    try:
        yield process, json.loads(process.stdout.readline())
    finally:
        process.kill()
        process.wait()


def ask(address, **environment):
    """Be another client of this machine."""
    plain = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    command = [sys.executable, "-c", CLIENT, address]
    return subprocess.run(command, env={**plain, **environment}, capture_output=True, text=True, timeout=300)


def test_a_client_without_the_token_is_refused(job):
    """Neither no token nor another one gets an answer; the job's own does, though its user had switched tokens off."""
    found = job[1]
    assert len(found["token"]) == 64
    mine = ask(found["address"], RAY_AUTH_MODE="token", RAY_AUTH_TOKEN=found["token"])
    assert mine.returncode == 0, mine.stderr
    for stranger in ({"RAY_AUTH_MODE": "disabled"}, {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": "ab" * 32}):
        refused = ask(found["address"], **stranger)
        assert refused.returncode != 0
        assert re.search("nauthenticated|UNAUTHENTICATED|authentication", refused.stderr), refused.stderr


def test_the_token_is_written_nowhere(job):
    """It stands on no command line and in no file of the session."""
    token = job[1]["token"].encode()
    lines = [Path(f"/proc/{pid}/cmdline").read_bytes() for pid in job[1]["pids"] if Path(f"/proc/{pid}").exists()]
    assert len(lines) > 3
    assert not any(token in line for line in lines)
    files = [path for path in Path(job[1]["folder"]).rglob("*") if path.is_file()]
    assert len(files) > 10
    assert [path for path in files if token in path.read_bytes()] == []


def test_everything_listens_on_loopback_alone(job):
    """Ray's servers, its Prometheus endpoints and its dashboard included."""
    pids, places = set(job[1]["pids"]), set()
    sockets = {}
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == "0A":
                sockets[f"socket:[{fields[9]}]"] = fields[1].split(":")[0]
    for pid in pids:
        for descriptor in Path(f"/proc/{pid}/fd").glob("*"):
            try:
                places.add(sockets.get(str(descriptor.readlink())))
            except OSError:
                continue
    loopback = {"0100007F", "00000000000000000000000001000000", "0000000000000000FFFF00000100007F"}
    assert len(places - {None}) >= 1
    assert places - {None} <= loopback


def test_another_user_cannot_enter(job):
    """Sockets, logs and spilled objects lie below a folder of mode 0700."""
    folder = job[1]["folder"]
    assert stat.S_IMODE(Path(folder).stat().st_mode) == 0o700
    assert next(Path(folder).rglob("plasma_store")).is_socket()
    if os.getuid() != 0:
        pytest.skip("only root can be another user")
    nobody = {"user": 65534, "group": 65534, "extra_groups": []}
    look = subprocess.run(["/bin/ls", folder], **nobody, capture_output=True, check=False)
    assert look.returncode != 0
    assert b"Permission denied" in look.stderr


def test_nothing_stays(job):
    """Afterwards the folder has gone and the environment is what it was; after a kill the folder goes, too."""
    process, found = job
    process.stdin.write("\n")
    process.stdin.flush()
    assert json.loads(process.stdout.readline()) == {"RAY_AUTH_MODE": True, "RAY_AUTH_TOKEN": True}
    assert process.wait(60) == 0
    assert not Path(found["folder"]).exists()


def test_a_killed_job_leaves_no_folder(tmp_path):
    """What ends the processes of a killed driver removes their folder."""
    (tmp_path / "holder.py").write_text(HOLDER)
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen([sys.executable, tmp_path / "holder.py"], **pipes) as process:
        folder = Path(json.loads(process.stdout.readline())["folder"])
        assert folder.exists()
        process.kill()
    deadline = time.monotonic() + 60
    while folder.exists() and time.monotonic() < deadline:
        time.sleep(0.2)
    assert not folder.exists()
