"""Laws of a shard that was done before: what is asked for is done again, and nothing else."""

from dataclasses import replace

import photographs
import pytest

from raycolor.colorize.manifest import Manifest
from raycolor.colorize.outcomes import find_shard
from raycolor.colorize.redo import Again
from raycolor.colorize.shard import ShardWorker
from raycolor.sources import Input


@pytest.fixture
def done(job, tmp_path):
    """A shard of two photographs and two failures that has been done."""
    files = {f"{i}.jpg": photographs.encoded(photographs.gray_pixels(seed=i)) for i in range(2)}
    worker = job({**files, "bad.jpg": b"no photograph", "empty.png": b""})
    worker.run(0)
    return worker, files


def again(worker, **asked):
    """Do the shard again; return the report and its record."""
    report = ShardWorker(replace(worker.spec, again=Again(**asked))).run(0)
    return report, find_shard(worker.dest, 0)


def by_key(record):
    """Return key -> outcome; one each."""
    found = {outcome.key: outcome for outcome in record.outcomes}
    assert len(found) == len(record.outcomes)
    return found


def test_a_retry_does_the_failed_ones_alone(done, tmp_path):
    """Failures of the reason asked for are done again, once in a round; other rows of the record stay as they are."""
    worker, files = done
    before = by_key(find_shard(worker.dest, 0))
    photographs.write_all(tmp_path / "in", {"bad.jpg": files["0.jpg"], "empty.png": files["1.jpg"]})
    report, record = again(worker, number=1, retry=True, reasons=("empty",))
    assert (report.tally.counts, report.images, record.round) == ({"colorized": 1}, 1, 1)
    after = by_key(record)
    assert (after["empty.png"].status, after["bad.jpg"].status) == ("colorized", "failed")
    assert {k: v for k, v in after.items() if k != "empty.png"} == {k: v for k, v in before.items() if k != "empty.png"}
    assert again(worker, number=1, retry=True)[0].images == 0
    report, record = again(worker, number=2, retry=True)
    assert (report.tally.counts, record.round) == ({"colorized": 1}, 2)
    assert {outcome.status for outcome in record.outcomes} == {"colorized"}
    assert [outcome.key for outcome in record.outcomes] == list(before)


@pytest.mark.parametrize(("outputs", "found"), [("there", {"missing": 1}), ("same", {"missing": 1, "changed": 1})])
def test_outputs_that_are_missing_or_changed_are_made_again(done, tmp_path, outputs, found):
    """The bytes of before come back; a plain look finds what is missing, reading finds what has changed."""
    worker, _ = done
    whole = photographs.tree(tmp_path / "out")
    (tmp_path / "out" / "0.jpg").unlink()
    (tmp_path / "out" / "1.jpg").write_bytes(b"edited")
    report, record = again(worker, outputs=outputs)
    assert report.found == found
    assert report.images == (4 if outputs == "same" else 1)
    now = photographs.tree(tmp_path / "out")
    assert now["0.jpg"] == whole["0.jpg"]
    assert now["1.jpg"] == (whole["1.jpg"] if outputs == "same" else b"edited")
    assert len(by_key(record)) == 4


def test_a_changed_input_that_fails_leaves_no_color_of_before(done, tmp_path):
    """Its outcome says why, and the old output goes, unless somebody else's file stands there by now."""
    worker, _ = done
    (tmp_path / "out" / "1.jpg").write_bytes(b"edited")
    for key in ("0.jpg", "1.jpg"):
        (tmp_path / "in" / key).write_bytes(b"")
    manifest = Manifest(worker.dest, worker.spec.totals)
    inputs = [Input(i.key, 0, "new") if i.key in ("0.jpg", "1.jpg") else i for i in manifest.shard(0)]
    manifest.replace(0, inputs)
    report, record = again(worker, number=1, changed=True)
    assert report.images == 2
    outcomes = by_key(record)
    assert {outcomes[key].reason for key in ("0.jpg", "1.jpg")} == {"empty"}
    assert {key for key in photographs.tree(tmp_path / "out") if not key.startswith("_")} == {"1.jpg"}
