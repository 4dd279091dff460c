"""The script that colorizes an archive from bucket to bucket under faults and a killed node, on a small archive."""

import json
import subprocess
import sys
from pathlib import Path

import photographs
import pytest

pytestmark = [pytest.mark.ray, pytest.mark.slow, pytest.mark.timeout(600)]

SCRIPT = Path(__file__).resolve().parents[1] / "archive_under_fire.py"


def test_an_archive_from_bucket_to_bucket_loses_nothing(tmp_path):
    """Every object has the outcome and the bytes of a quiet run, though answers broke and a node died."""
    photographs.archive(tmp_path / "in", count=12)
    photographs.write_all(tmp_path / "in", {"empty.jpg": b""})
    command = [sys.executable, SCRIPT, tmp_path / "in", "--fold", "20", "--"]
    flags = ["--checkpoint", "regression", "--network-size", "64", "--images-per-shard", "4", "--max-failed", "10%"]
    done = subprocess.run([*map(str, command), *flags], capture_output=True, text=True, timeout=540)
    assert done.returncode == 0, done.stderr[-3000:]
    told = json.loads(done.stdout.splitlines()[-1])
    assert told["outcomes"] == {"colorized": 240, "failed": 20}
    assert len(told["nodes_killed_at_shard"]) == 1
    assert told["requests"].keys() > {"passed", "503"}
