"""Laws of `raycolor sign`: each colorized output is signed once, its picture stays, and records know both bytes."""

import hashlib
import json
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from finished_jobs import CHECKPOINT
from PIL import Image
from signing import DETACHED, EMBEDDED, manifest_of, outputs

from raycolor import cli
from raycolor.codecs import decode
from raycolor.colorize.memory_budget import MemoryBudget
from raycolor.colorize.outcomes import find_shard
from raycolor.colorize.redo import Again, standing
from raycolor.colorize.signatures import read_signatures
from raycolor.sign.driver import _Pass
from raycolor.sources import Input
from raycolor.storage import open_store


def test_every_format_is_signed_in_the_way_that_is_safe(made, signed):
    """Embedded where it is read as the same photograph, beside the file elsewhere; every signature is valid."""
    before, after = outputs(made / "out"), outputs(signed)
    assert after.keys() == before.keys() | {f"{name}.c2pa" for name in DETACHED}
    for name in EMBEDDED:
        assert after[name] != before[name]
        manifest_of(after[name], name)
    for name in DETACHED:
        assert after[name] == before[name]
        manifest_of(after[name], name, after[f"{name}.c2pa"])


def test_a_signature_says_what_was_made_from_what_by_what(made, signed):
    """The original's SHA-256 as ingredient, the network's weights, IPTC's digital source type; no thumbnail."""
    weights = CHECKPOINT["weights_sha256"]
    for name in (*EMBEDDED, *DETACHED):
        beside = signed / f"{name}.c2pa"
        about = manifest_of((signed / name).read_bytes(), name, beside.read_bytes() if beside.exists() else None)
        original = hashlib.sha256((made / "in" / name).read_bytes()).hexdigest()
        (ingredient,) = about["ingredients"]
        assert ingredient["relationship"] == "parentOf"
        assert original in ingredient["description"]
        (actions, detail) = (one["data"] for one in about["assertions"])
        assert [action["action"] for action in actions["actions"]] == ["c2pa.opened", "c2pa.color_adjustments"]
        colored = actions["actions"][1]
        assert colored["digitalSourceType"].endswith("/compositeWithTrainedAlgorithmicMedia")
        assert colored["parameters"]["org.raycolor.weights_sha256"] == weights
        assert detail["original"] == {"key": name, "sha256": original}
        assert "thumbnail" not in json.dumps(about)


def test_the_picture_stays(made, signed):
    """Every page of every file decodes to the same pixels, and metadata stay."""
    for name in EMBEDDED:
        before, after = (decode((folder / name).read_bytes()) for folder in (made / "out", signed))
        assert all(np.array_equal(a, b) for a, b in zip(before.pages, after.pages, strict=True))
        assert after.metadata.xmp == before.metadata.xmp
        with Image.open(signed / name) as picture:
            picture.load()


@pytest.mark.skipif(shutil.which("jpegtran") is None, reason="jpegtran is not installed")
def test_a_signed_jpeg_gives_the_original_back(made, signed):
    """`jpegtran -grayscale` of the signed file is byte for byte that of the original: colorizing stays reversible."""
    gray = [
        subprocess.run(["jpegtran", "-copy", "none", "-grayscale", path], capture_output=True, check=True).stdout
        for path in (made / "in/scan.jpg", signed / "scan.jpg")
    ]
    assert gray[0] == gray[1]


def test_records_hold_both_hashes(made, signed):
    """Before and after, for every output; the summary names the certificate."""
    store = open_store(signed)
    rows = {key: row for shard in range(8) for key, row in read_signatures(store, shard).items()}
    assert rows.keys() == {*EMBEDDED, *DETACHED}
    for name, row in rows.items():
        assert row.output_sha256 == hashlib.sha256((made / "out" / name).read_bytes()).hexdigest()
        assert row.signed_sha256 == hashlib.sha256((signed / name).read_bytes()).hexdigest()
    summary = json.loads((signed / "_raycolor/signatures/summary.json").read_text())
    assert summary["complete"]
    assert "CN=signer" in summary["certificate"]["subject"]


def test_detached_leaves_every_output_as_it_is(made, done, who):
    """--detached: all bytes of colorize stand, each with a manifest beside it that is valid."""
    before = outputs(done)
    assert cli.run(["sign", str(done), *who, "--detached"]) == 0
    after = outputs(done)
    assert {name: after[name] for name in before} == before
    assert after.keys() - before.keys() == {f"{name}.c2pa" for name in before}
    assert cli.run(["verify", str(done)]) == 0


def test_nothing_is_signed_twice(signed, who, tmp_path, capsys):
    """The same command again, and one with --detached: not a byte of outputs and signatures changes."""
    dest = shutil.copytree(signed, tmp_path / "out")
    before = outputs(dest)
    assert cli.run(["sign", str(dest), *who]) == 0
    assert cli.run(["sign", str(dest), *who, "--detached"]) == 0
    assert outputs(dest) == before
    assert "0 signed now (0 embedded, 0 detached), 8 before" in capsys.readouterr().err


@pytest.mark.parametrize("writes", [0, 1, 3, 7])
def test_a_stopped_pass_goes_on(done, who, monkeypatch, writes):
    """Stopped after some writes: every output is one that records know, what is signed stays, the rest is signed."""
    before, put, left = outputs(done), _Pass._put, [writes]

    def stop(self, ready):
        if left[0] == 0:
            raise KeyboardInterrupt
        left[0] -= 1
        return put(self, ready)

    with monkeypatch.context() as patched:
        patched.setattr("raycolor.sign.driver._THREADS", 1)
        patched.setattr(_Pass, "_put", stop)
        assert cli.run(["sign", str(done), *who]) == 130
    halfway = outputs(done)
    changed = {name for name in halfway if halfway[name] != before.get(name)}
    assert len(changed) == writes
    again = Again(outputs="same")
    for shard in range(4):
        inputs = [Input(outcome.key, 0, "") for outcome in find_shard(open_store(done), shard).outcomes]
        assert not standing(open_store(done), shard, inputs, again, MemoryBudget(1)).replaced
    assert cli.run(["sign", str(done), *who]) == 0
    after = outputs(done)
    assert {name: after[name] for name in changed} == {name: halfway[name] for name in changed}
    assert cli.run(["verify", str(done)]) == 0


@pytest.mark.slow
def test_a_killed_pass_goes_on(done, who):
    """SIGKILL at the first signed output: the lease of the dead is taken over, and every signature ends valid."""
    before = outputs(done)
    process = subprocess.Popen([sys.executable, "-m", "raycolor", "sign", str(done), *who])
    deadline = time.monotonic() + 120
    sizes = {done / name: len(before[name]) for name in EMBEDDED}
    while all(path.stat().st_size == size for path, size in sizes.items()) and time.monotonic() < deadline:
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    process.wait()
    halfway = {name: data for name, data in outputs(done).items() if ".raycolor-" not in name}
    assert cli.run(["sign", str(done), *who]) == 0
    after = outputs(done)
    assert not any(".raycolor-" in name for name in after)
    assert all(after[name] == halfway[name] for name in halfway if halfway[name] != before.get(name))
    assert cli.run(["verify", str(done)]) == 0
