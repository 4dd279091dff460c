"""Submitted jobs on a cluster that loses nodes: killed ones, and spot instances that EC2 takes back.

`pytest -m slow tests/cluster/test_submit_chaos.py --chaos-rounds 5` repeats each five times in a row.
"""

import csv
import http.server
import io
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import chaos
import labset
import photographs
import pytest
from jobserver import ROOT, job_server

from raycolor.storage import open_store

pytestmark = [pytest.mark.ray, pytest.mark.slow, pytest.mark.timeout(3600)]

COLORIZE = ["--checkpoint", "regression", "--network-size", 64, "--images-per-shard", 4, "--workers", 2]
TRAIN = ["--workers", 4, "--epochs", 8, "--batch-size", 3, "--crop-px", 64, "--precision", "fp32"]
PATIENCE_S = 300


@pytest.fixture(scope="module")
def server(s3, tmp_path_factory):
    """A head that runs no work, and two nodes of two CPUs."""
    with job_server(s3, tmp_path_factory.mktemp("home"), upload=False) as server:
        yield server


@pytest.fixture(scope="module")
def bucket(s3, server, tmp_path_factory):
    """Gray photographs and a dataset, and what quiet jobs make of them under `quiet/`."""
    folder = tmp_path_factory.mktemp("submit")
    photographs.archive(folder / "scans", count=120)
    photographs.write_all(folder / "scans", {key: data for key, (data, _) in photographs.bad_files().items()})
    labset.write_dataset_of(folder / "dataset", train=48, val=6, size_px=72)
    uri = s3.uri("submit-chaos")
    for key, data in photographs.tree(folder).items():
        open_store(uri).put(key, data)
    colorize(server, uri, "quiet")
    train(server, uri, "quiet")
    return uri


@pytest.fixture
def rounds(request):
    """How often each test repeats."""
    return range(request.config.getoption("--chaos-rounds"))


def colorize(server, bucket, name):
    server.run("colorize", f"{bucket}/scans", f"{bucket}/{name}/colored", *COLORIZE)


def train(server, bucket, name):
    server.run("train", "regression", "--data", f"{bucket}/dataset", "--out", f"{bucket}/{name}/run", *TRAIN)


def wait_until(true, running):
    """Wait until something holds of a job that has not ended."""
    deadline = time.monotonic() + PATIENCE_S
    while not true():
        assert not running.done(), running.result()
        assert time.monotonic() < deadline
        time.sleep(0.2)


def outcomes(bucket, name):
    """Count the shards that are done."""
    return sum(1 for _ in open_store(f"{bucket}/{name}/colored").list("_raycolor/outcomes/"))


def test_a_node_is_lost_while_a_submitted_job_colorizes(server, bucket, rounds):
    """One node is killed, another joins; the job ends by itself with the outcomes and bytes of a quiet one."""
    expected = chaos.results(f"{bucket}/quiet/colored")
    for number in rounds:
        with ThreadPoolExecutor(1) as pool:
            running = pool.submit(colorize, server, bucket, f"lost-{number}")
            wait_until(lambda name=f"lost-{number}": outcomes(bucket, name) >= 2, running)
            server.nodes("replace")
            killed_in_time = not running.done()
            running.result()
        assert killed_in_time
        assert chaos.results(f"{bucket}/lost-{number}/colored") == expected


def test_a_node_is_lost_while_a_submitted_job_trains(server, bucket, rounds):
    """The run goes on from its last checkpoint and ends as a quiet one would, within 5% of loss and mse.

    Epochs before the loss are the same bytes. Later ones may differ: the sum of four workers' gradients rounds as the
    order in which they came together, and training amplifies that. (Sums of two have one order only: with two workers
    tests/cluster/test_train_nodes.py asks for the same bytes.)
    """
    store = open_store(bucket)
    for number in rounds:
        run = f"lost-{number}/run"
        with ThreadPoolExecutor(1) as pool:
            running = pool.submit(train, server, bucket, f"lost-{number}")
            wait_until(lambda run=run: any("training_state" in info.key for info in store.list(run)), running)
            server.nodes("replace")
            killed_in_time = not running.done()
            running.result()
        assert killed_in_time
        lost, quiet = (
            list(csv.DictReader(io.StringIO(store.get(f"{one}/curve.csv").decode()))) for one in (run, "quiet/run")
        )
        assert lost[0] == quiet[0]
        assert len(lost) == len(quiet) == 8
        for mine, other in zip(lost, quiet, strict=True):
            for name in ("train_loss", "val_mse"):
                assert float(mine[name]) == pytest.approx(float(other[name]), rel=0.05), (mine["epoch"], name)


def test_a_spot_instance_is_taken_back(server, bucket, rounds):
    """The watcher hears the notice and drains the node: it gets no new work, and what it has is finished or done again.

    The notice comes from a metadata service of the test's own, the rest is real: docs/aws/spot_watch.py, Ray's drain,
    and the end of the node while it is drained.
    """

    class Metadata(http.server.BaseHTTPRequestHandler):
        def do_PUT(self):
            self.answer(b"token")

        def do_GET(self):
            self.answer(b'{"action": "terminate", "time": "2026-01-01T00:02:00Z"}')

        def answer(self, text):
            self.send_response(200)
            self.end_headers()
            self.wfile.write(text)

        def log_message(self, *_):
            pass

    expected = chaos.results(f"{bucket}/quiet/colored")
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Metadata) as metadata:
        threading.Thread(target=metadata.serve_forever, daemon=True).start()
        for number in rounds:
            name = f"spot-{number}"
            address, nodes = server.nodes()
            with ThreadPoolExecutor(1) as pool:
                running = pool.submit(colorize, server, bucket, name)
                wait_until(lambda name=name: outcomes(bucket, name) >= 2, running)
                watcher = [
                    sys.executable, ROOT / "docs" / "aws" / "spot_watch.py", "--address", address, "--node-id",
                    nodes[0], "--metadata", f"http://127.0.0.1:{metadata.server_port}", "--interval-s", "0.5",
                ]  # fmt: skip
                watched = subprocess.run(
                    watcher, env=server.environment, capture_output=True, text=True, timeout=PATIENCE_S, cwd=ROOT
                )
                assert watched.returncode == 0, watched.stderr
                assert "drained" in watched.stderr
                server.nodes("replace")  # the drained one is the oldest
                running.result()
            assert chaos.results(f"{bucket}/{name}/colored") == expected
        metadata.shutdown()
