"""Places that are out for a time, in a real job from bucket to bucket: `raycolor colorize` with --patience."""

import json
import os
import signal
import threading
import time

import chaos
import photographs
import pytest
from faultproxy import FaultProxy

from raycolor.storage import open_store

pytestmark = [pytest.mark.ray, pytest.mark.slow]

COUNT = 24
SMALL = ("--checkpoint", "regression", "--network-size", "64", "--workers", "2", "--images-per-shard", "2")


@pytest.fixture(scope="module")
def uploaded(s3, tmp_path_factory):
    """Photographs in a bucket, and the results of a quiet job."""
    folder = tmp_path_factory.mktemp("outages")
    photographs.archive(folder, count=COUNT)
    source, dest = s3.uri(), s3.uri()
    for key, data in photographs.tree(folder).items():
        open_store(source).put(key, data)
    process = chaos.start(chaos.job(source, dest, *SMALL))
    _, error = process.communicate(timeout=300)
    assert process.returncode == 0, error
    return source, chaos.results(dest)


def start(s3, source, proxy, *flags):
    """Start a job that reads and writes through a proxy; returns its process, its destination, and its lines so far."""
    dest = s3.uri()
    environment = {**os.environ, "AWS_ENDPOINT_URL": proxy.endpoint}
    process = chaos.start(chaos.job(source, dest, *SMALL, *flags), env=environment)
    lines = []

    def read():
        with process.stdout, process.stderr:
            lines.extend(iter(process.stderr.readline, ""))

    reader = threading.Thread(target=read)
    reader.start()
    return process, dest, lines, reader


def when_begun(process, dest):
    """Wait until a first shard is done."""
    store = open_store(dest)
    while process.poll() is None and not any(store.list("_raycolor/outcomes/")):
        time.sleep(0.1)


@pytest.mark.parametrize("fault", ["expired", "skewed", "down"])
def test_a_job_outlives_an_outage(s3, uploaded, fault):
    """Forty seconds of old credentials, a wrong clock or no server: told on the terminal, and the same bytes."""
    source, quiet = uploaded
    with FaultProxy(s3.endpoint) as proxy:
        process, dest, lines, reader = start(s3, source, proxy)
        when_begun(process, dest)
        if fault == "down":
            proxy.down()
        else:
            proxy.rule = lambda method, path: fault
        time.sleep(40)
        proxy.rule = None
        if fault == "down":
            proxy.up()
        assert process.wait(300) == 0, lines
        reader.join()
    assert chaos.results(dest) == quiet
    assert [line for line in lines if ": waiting, " in line and "of 600 s" in line], lines
    assert [line for line in lines if "answers again after" in line], lines


def test_an_outage_that_lasts_ends_the_job_and_the_same_command_goes_on(s3, uploaded):
    """Past --patience: exit code 1, one line, no outcome for what was not tried; then all of it is done."""
    source, quiet = uploaded
    with FaultProxy(s3.endpoint) as proxy:
        process, dest, lines, reader = start(s3, source, proxy, "--patience", "5")
        when_begun(process, dest)
        proxy.rule = lambda method, path: "expired" if source.rpartition("/")[2] in path else None
        assert process.wait(300) == 1, lines
        reader.join()
        assert "(--patience)" in lines[-1]
        assert "Traceback" not in "".join(lines)
        summary = json.loads(open_store(dest).get("_raycolor/summary.json"))
        assert summary["counts"]["failed"] == 0
        assert summary["complete"] is False
    again = chaos.start(chaos.job(source, dest, *SMALL))
    _, error = again.communicate(timeout=300)
    assert again.returncode == 0, error
    assert chaos.results(dest) == quiet


def test_ctrl_c_ends_a_wait(s3, uploaded):
    """A job that waits for its source stops at once when it is told to."""
    source, _ = uploaded
    with FaultProxy(s3.endpoint) as proxy:
        process, dest, lines, reader = start(s3, source, proxy)
        when_begun(process, dest)
        proxy.rule = lambda method, path: "expired" if source.rpartition("/")[2] in path else None
        deadline = time.monotonic() + 60
        while not any(": waiting, " in line for line in lines) and time.monotonic() < deadline:
            time.sleep(0.1)
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 130, lines
        reader.join()
