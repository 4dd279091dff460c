"""Laws of later runs over a job, its shards done in this process in place of Ray's workers."""

import json
from collections import Counter

import chaos
import photographs
import pytest

from raycolor.colorize.job_record import read_job
from raycolor.colorize.outcomes import read_shards
from raycolor.errors import ManifestError
from raycolor.storage import open_store
from raycolor.storage.local import LocalStore


def change(source, good):
    """Mend the bad files, bring new ones, and exchange two photographs."""
    first, second, *_ = good
    photographs.write_all(source, {f"bad/{i}.jpg": good[first] for i in range(3)})
    photographs.write_all(source, {f"new/{i}.jpg": good[second] for i in range(5)})
    photographs.write_all(source, {first: good[second], second: good[first]})


@pytest.mark.parametrize("flags", [{"retry_failed": True}, {"add_new": True}, {"retry_failed": True, "add_new": True}])
@pytest.mark.parametrize("again", ["same", "plain"])
def test_a_stopped_round_ends_as_one_that_was_left_alone(run, tmp_path, flags, again):
    """Stopped after any shard, the same command or a plain one ends with the same outcomes, and does no shard twice."""
    good = photographs.tree(tmp_path / "in")
    photographs.write_all(tmp_path / "in", {f"bad/{i}.jpg": b"" for i in range(3)})
    for name in ("out", "quiet"):
        run(name)
    change(tmp_path / "in", good)
    whole = run("quiet", **flags)
    done = run(stop_after=0, **flags)
    done += run(stop_after=1, **flags)
    done += run(**(flags if again == "same" else {}))
    assert sorted(done) == sorted(whole)
    assert chaos.results(tmp_path / "out") == chaos.results(tmp_path / "quiet")
    record = read_job(open_store(tmp_path / "out"))
    assert (record.round, record.rounds) == (None, 1)
    assert record.manifest == read_job(open_store(tmp_path / "quiet")).manifest


def test_a_manifest_that_was_half_changed_is_no_lost_change(run, tmp_path):
    """Killed after the changes were written and before the round said so: they are colored all the same."""
    good = photographs.tree(tmp_path / "in")
    run()
    run("quiet")
    change(tmp_path / "in", good)
    run("quiet", add_new=True)
    dest = open_store(tmp_path / "out")
    before = read_job(dest)
    run(stop_after=0, add_new=True)
    amended = read_job(dest)
    # As a kill between the two leaves it.
    amended.amend(dest, manifest=before.manifest, round=type(amended.round)(1, add_new=True))
    run()
    assert chaos.results(tmp_path / "out") == chaos.results(tmp_path / "quiet")


def test_another_request_comes_after_the_one_that_was_stopped(run, tmp_path, caplog):
    """A retry that was stopped is finished, then outputs are verified; both are done once."""
    photographs.write_all(tmp_path / "in", {f"bad/{i}.jpg": b"" for i in range(3)})
    run()
    whole = chaos.results(tmp_path / "out")
    victim = next(key for key, (status, *_) in whole.items() if status == "colorized")
    (tmp_path / "out" / victim).write_bytes(b"edited")
    run(stop_after=1, retry_failed=True)
    run(verify=True)
    assert chaos.results(tmp_path / "out") == whole
    dest = open_store(tmp_path / "out")
    assert (read_job(dest).round, read_job(dest).rounds) == (None, 2)
    assert {record.round for record in read_shards(dest)} == {2}


def test_a_plain_run_makes_the_job_whole_and_says_what_is_not_in_it(run, tmp_path, caplog):
    """Deleted outputs come back; new and changed files are counted in a line each, and nothing of them is done."""
    caplog.set_level("INFO")
    good = photographs.tree(tmp_path / "in")
    run()
    whole = chaos.results(tmp_path / "out")
    assert "--add-new" not in caplog.text
    (tmp_path / "out" / list(good)[-1]).unlink()
    change(tmp_path / "in", good)
    assert len(run()) == 1
    assert chaos.results(tmp_path / "out") == whole
    assert "8 new files are not in this job: --add-new" in caplog.text
    assert "2 changed files kept their old output: --add-new colorizes them again" in caplog.text
    before = json.loads((tmp_path / "out" / "_raycolor" / "summary.json").read_text())
    assert run() == []
    summary = json.loads((tmp_path / "out" / "_raycolor" / "summary.json").read_text())
    assert (summary["complete"], summary["images"]) == (True, 9)
    assert summary == before, "a run without work tells the speed of the last that had some"
    assert summary["images_this_run"] == 1


def test_a_job_reads_its_records_once(run, tmp_path, monkeypatch):
    """`job.json` is read at the start, each completion record at the end: for summary, CSV, page and failure limit."""
    read, get = Counter(), LocalStore.get
    monkeypatch.setattr(LocalStore, "get", lambda self, key, **of: read.update([key]) or get(self, key, **of))
    done = run()
    records = {key: count for key, count in read.items() if "outcomes/part" in key}
    assert len(records) == len(done) > 1
    assert set(records.values()) == {1}
    assert read["_raycolor/job.json"] == 1


def test_later_runs_go_by_the_list_that_the_job_began_with(run, tmp_path):
    """What must not be colorized stays so without the flag, new or asked for; another list is refused."""
    photograph = next(iter(photographs.tree(tmp_path / "in").values()))
    photographs.write_all(tmp_path / "in", {"camp/1.jpg": photograph})
    (tmp_path / "never.csv").write_text("key,reason\nCamp,asked by the family\n")
    run(never=str(tmp_path / "never.csv"))
    photographs.write_all(tmp_path / "in", {"camp/2.jpg": photograph, "z.jpg": photograph})
    run(add_new=True)
    run(redo=("camp/*",), saturation=1.3)
    dest = open_store(tmp_path / "out")
    rows = {row.key: row for shard in read_shards(dest) for row in shard.outcomes}
    assert rows["z.jpg"].status == "colorized"
    for key in ("camp/1.jpg", "camp/2.jpg"):
        assert (rows[key].status, rows[key].reason, rows[key].detail) == ("skipped", "excluded", "asked by the family")
    (tmp_path / "other.csv").write_text("key\nz.jpg\n")
    with pytest.raises(ManifestError, match="never_sha256 was"):
        run(never=str(tmp_path / "other.csv"))
