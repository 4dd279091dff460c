"""A local Ray cluster with a job server and a token, for tests that submit jobs as users do."""

import json
import os
import secrets
import socket
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
BIN = Path(sys.executable).parent

# In a process of its own, because Ray settles when it is imported whether a token is asked for. It lives until its
# standard input is closed, so that nothing stays behind if the tests die.
CLUSTER = """
import json, sys
from ray.cluster_utils import Cluster

cluster = Cluster(initialize_head=True, head_node_args={
    "num_cpus": 0, "include_dashboard": True, "dashboard_host": "127.0.0.1", "dashboard_port": int(sys.argv[1]),
    "dashboard_agent_listen_port": 0})
try:
    nodes = [cluster.add_node(num_cpus=2) for _ in range(2)]
    cluster.wait_for_nodes(timeout=120)
    print("ready", flush=True)
    for word in iter(sys.stdin.readline, ""):
        if word.strip() == "replace":
            cluster.remove_node(nodes.pop(0), allow_graceful=False)
            nodes.append(cluster.add_node(num_cpus=2))
        print(json.dumps([cluster.address, [node.node_id for node in nodes]]), flush=True)
finally:
    cluster.shutdown()
"""

ASK = """
import json, sys
from ray.job_submission import JobSubmissionClient

info = JobSubmissionClient(sys.argv[1]).get_job_info(sys.argv[2])
print(json.dumps([str(info.status.value), info.driver_exit_code]))
"""


class JobServer:
    """A local cluster that takes jobs.

    Attributes:
        upload: whether they bring this repository as their working directory. Nodes of this cluster share one machine
            and so one folder for it, which a node that goes may take along; nodes of a real cluster have a folder each.
    """

    def __init__(self, port, environment, process, upload):
        self.upload = upload
        self.address, self.environment, self._process = f"http://127.0.0.1:{port}", environment, process

    def nodes(self, word="nodes"):
        """Return the address of the cluster and the ids of its workers, oldest first.

        After the word `replace` the oldest has been killed, and another has joined.
        """
        self._process.stdin.write(word + "\n")
        self._process.stdin.flush()
        return json.loads(self._process.stdout.readline())

    def submit(self, name, *arguments, environment=None):
        """Run a job to its end; returns the exit code of `ray job submit`, log, status, and the driver's exit code."""
        number = f"{name}-{secrets.token_hex(4)}"
        command = [
            BIN / "ray", "job", "submit", "--address", self.address, "--submission-id", number,
            *(["--working-dir", "."] if self.upload else []),
            "--", "python", f"jobs/{name}.py" if self.upload else ROOT / "jobs" / f"{name}.py", *map(str, arguments),
        ]  # fmt: skip
        for _ in range(10):
            done = subprocess.run(
                command, cwd=ROOT, env=environment or self.environment, capture_output=True, text=True, timeout=1200
            )
            if "No available agent to submit job, please try again later" not in done.stdout + done.stderr:
                break
            time.sleep(3)  # the head has only just started
        return done.returncode, done.stdout + done.stderr, *self.ask(number)

    def ask(self, number):
        """Return status and driver's exit code of a job; None twice if there is no such job."""
        done = subprocess.run(
            [sys.executable, "-c", ASK, self.address, number],
            env=self.environment, capture_output=True, text=True, timeout=300, cwd=ROOT,
        )  # fmt: skip
        return tuple(json.loads(done.stdout.splitlines()[-1])) if done.returncode == 0 else (None, None)

    def run(self, name, *arguments):
        """Submit a job that has to succeed; returns its log."""
        code, log, status, driver_code = self.submit(name, *arguments)
        if "ModuleNotFoundError: No module named 'raycolor" in log:
            # The nodes of this cluster share one machine and so one folder, into which each unpacks the working
            # directory: a job may see it half unpacked. Nodes of a real cluster have a folder each.
            code, log, status, driver_code = self.submit(name, *arguments)
        assert (code, status, driver_code) == (0, "SUCCEEDED", 0), f"{name}: {log[-4000:]}"
        return log


@contextmanager
def job_server(s3, home, *, upload=True):
    """Run the cluster; `home` is an empty folder, so that no token of this machine's user counts."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    environment = {
        **os.environ,
        **s3.environment,
        "HOME": str(home),
        "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}",
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN": secrets.token_hex(16),
        "RAY_USAGE_STATS_ENABLED": "0",
    }
    environment.pop("RAY_ADDRESS", None)
    process = start_cluster(port, environment, home / "cluster.log")
    try:
        yield JobServer(port, environment, process, upload)
    finally:
        process.stdin.close()
        try:
            process.wait(timeout=120)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        process.stdout.close()


def start_cluster(port, environment, path):
    """Return the cluster's process once all nodes are there; a machine that is busy gets several tries."""
    command = [sys.executable, "-c", CLUSTER, str(port)]
    for _ in range(4):
        with path.open("w") as log:
            process = subprocess.Popen(
                command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True, cwd="/"
            )
        if process.stdout.readline().strip() == "ready":
            return process
        process.communicate(timeout=120)
    raise AssertionError(path.read_text()[-3000:])
