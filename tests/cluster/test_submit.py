"""`ray job submit` from prepare to colorize: a cluster of three nodes with a job server and a token, and S3 alone.

What stands in the README and in docs/aws.md as commands for a cluster is run here as a user would: from the command
line, with this repository as the working directory.
"""

import csv
import io
import json

import photographs
import pytest
from jobserver import job_server
from PIL import Image

from raycolor.colorize.outcomes import read_outcomes
from raycolor.storage import open_store

pytestmark = [pytest.mark.ray, pytest.mark.slow, pytest.mark.timeout(3600)]


@pytest.fixture(scope="module")
def server(s3, tmp_path_factory):
    """The cluster; its jobs find S3 and credentials in the environment that its nodes were started with."""
    with job_server(s3, tmp_path_factory.mktemp("home")) as server:
        yield server


@pytest.fixture(scope="module")
def bucket(s3):
    """Photographs in color to learn from, and gray ones to colorize, one of them cut off."""
    uri = s3.uri("submit")
    store = open_store(uri)
    for seed in range(96):
        store.put(f"colors/{seed:03}.jpg", photographs.encoded(photographs.color_pixels(72, 80, seed)))
    for seed in range(9):
        store.put(f"scans/box/{seed}.jpg", photographs.encoded(photographs.gray_pixels(72, 96, seed)))
    store.put("scans/cut.jpg", photographs.bad_files()["cut.jpg"][0])
    return uri


def test_from_photographs_to_a_colorized_bucket(server, bucket):
    """Five jobs, each reading what the one before it wrote to S3: every one succeeds, and what it wrote can be read."""
    store = open_store(bucket)
    log = server.run("prepare", f"{bucket}/colors", f"{bucket}/dataset", "--train", 32, "--val", 8, "--size-px", 64)
    assert "prepare: photographs" in log  # our progress lines stream to who submitted
    assert json.loads(store.get("dataset/dataset.json"))["counts"] == {"train": 32, "val": 8}

    log = server.run(
        "train", "regression", "--data", f"{bucket}/dataset", "--out", f"{bucket}/run", "--workers", 2,
        "--epochs", 1, "--batch-size", 4, "--crop-px", 64, "--precision", "fp32",
    )  # fmt: skip
    assert "trained by 2 cpu worker(s)" in log
    assert json.loads(store.get("run/checkpoint.json"))["method"] == "regression"

    server.run("tune", "tune_configs/smoke.yaml", "--data", f"{bucket}/dataset", "--out", f"{bucket}/sweep")
    trials = list(csv.DictReader(io.StringIO(store.get("sweep/report/trials.csv").decode())))
    assert [trial["status"] for trial in trials] == ["finished"] * 4
    assert b"<html" in store.get("sweep/report/index.html")

    server.run(
        "evaluate", f"{bucket}/run", "--data", f"{bucket}/dataset", "--out", f"{bucket}/report",
        "--images", 4, "--workers", 1,
    )  # fmt: skip
    assert store.get("report/table.csv").decode().count("\n") >= 4  # head, two floors, the checkpoint

    log = server.run(
        "colorize", f"{bucket}/scans", f"{bucket}/colored", "--checkpoint", f"{bucket}/run",
        "--network-size", 64, "--workers", 2, "--max-failed", 1, "--log-format", "json",
    )  # fmt: skip
    events = [json.loads(line) for line in log.splitlines() if line.startswith('{"time"')]
    assert events[-1]["event"] == "done"
    assert {"progress_end", "done"} <= {event["event"] for event in events}
    summary = json.loads(store.get("colored/_raycolor/summary.json"))
    assert summary["counts"] == {"colorized": 9, "skipped": 0, "failed": 1}
    for outcome in read_outcomes(open_store(f"{bucket}/colored")):
        if outcome.status == "colorized":
            data = store.get(f"colored/{outcome.output_key}")
            with Image.open(io.BytesIO(data)) as picture:
                assert (picture.size, picture.mode) == ((96, 72), "RGB")


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["{bucket}/scans", "{bucket}/strict", "--max-failed", "0", "--network-size", "64", "--workers", "1"], 3),
        (["{bucket}/scans", "{bucket}/never", "--on-color", "maybe"], 2),
        (["{bucket}/nothing-here", "{bucket}/never"], None),
    ],
    ids=["too many failed", "bad usage", "no such source"],
)
def test_a_failing_job_says_which_failure(server, bucket, arguments, expected):
    """The status is FAILED, `ray job submit` ends with 1, and the driver's exit code is raycolor's own."""
    code, log, status, driver_code = server.submit("colorize", *(text.format(bucket=bucket) for text in arguments))
    assert (code, status) == (1, "FAILED"), log[-3000:]
    assert driver_code in ({1, 2} if expected is None else {expected}), log[-3000:]
    if expected != 3:
        assert "raycolor: " in log
        assert "Traceback" not in log


def test_without_the_token_nobody_submits(server):
    """A job server that is reached is still no open door."""
    stranger = {**server.environment, "RAY_AUTH_TOKEN": "wrong" * 8}
    code, log, status, _ = server.submit("plan", "docs/sample", "--sample", 0, environment=stranger)
    assert code != 0
    assert status is None
    assert "images" not in log
