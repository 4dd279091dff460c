"""Laws of --redo: outputs made again by other settings in the same destination, and no others."""

import json
from collections import Counter

import chaos
import photographs
import pytest

from raycolor.colorize.config import ColorizeConfig
from raycolor.colorize.job_record import read_job
from raycolor.colorize.outcomes import read_outcomes
from raycolor.colorize.revisions import redo_settings, revision_for
from raycolor.errors import ConfigError, ManifestError
from raycolor.models.checkpoints import load
from raycolor.storage import open_store

BOX = "box 0/*"


def outputs(folder):
    """Return the outputs: relative path -> bytes."""
    return {key: data for key, data in photographs.tree(folder).items() if not key.startswith("_raycolor/")}


def revisions(folder):
    """Return key -> revision."""
    return {outcome.key: outcome.revision for outcome in read_outcomes(open_store(folder))}


def changed(before, after):
    """Return the keys of other bytes."""
    assert before.keys() == after.keys()
    return {key for key in before if before[key] != after[key]}


def test_a_redo_makes_what_matches_as_a_job_of_these_settings_would(run, tmp_path):
    """Other outputs keep their bytes; outcomes, job.json and summary say by what each was made. Again: no work."""
    run()
    run("vivid", saturation=2.0)
    before = outputs(tmp_path / "out")
    assert run(redo=(BOX.upper(),), saturation=2.0)
    after, vivid = outputs(tmp_path / "out"), outputs(tmp_path / "vivid")
    redone = {key for key in before if key.startswith("box 0/")}
    assert changed(before, after) == redone
    assert {key: after[key] for key in redone} == {key: vivid[key] for key in redone}
    assert revisions(tmp_path / "out") == {key: int(key in redone) for key in before}
    record = read_job(open_store(tmp_path / "out"))
    assert [one.settings["saturation"] for one in record.revisions] == [2.0]
    assert (record.round, record.config["saturation"]) == (None, 1.0)
    summary = json.loads((tmp_path / "out" / "_raycolor" / "summary.json").read_text())
    told = [(one["number"], one["images"], one["differences"]) for one in summary["revisions"]]
    assert told == [(1, len(redone), "saturation 1.0 -> 2.0")]
    assert run(redo=(BOX,), saturation=2.0) == []
    assert len(read_job(open_store(tmp_path / "out")).revisions) == 1
    chaos.results(tmp_path / "out")


@pytest.mark.parametrize("again", ["same", "plain"])
def test_a_redo_that_was_stopped_ends_as_one_that_was_left_alone(run, tmp_path, again):
    """Stopped after any shard, the same command or a plain one goes on with it, and does no shard twice."""
    for name in ("out", "quiet"):
        run(name)
    redo = {"redo": ("*.jpg", "*.tif"), "saturation": 0.5, "checkpoint": "autoencoder"}
    whole = run("quiet", **redo)
    done = run(stop_after=0, **redo)
    done += run(stop_after=1, **redo)
    done += run(**(redo if again == "same" else {}))
    assert sorted(done) == sorted(whole)
    assert chaos.results(tmp_path / "out") == chaos.results(tmp_path / "quiet")
    assert revisions(tmp_path / "out") == revisions(tmp_path / "quiet")


def test_a_redo_by_the_jobs_own_settings_takes_it_back(run, tmp_path):
    """Revision 0 again, byte for byte."""
    run()
    before = outputs(tmp_path / "out")
    run(redo=("*",), saturation=0.0)
    run(redo=(BOX,))
    after = outputs(tmp_path / "out")
    assert changed(before, after) == {key for key in before if not key.startswith("box 0/")}
    assert Counter(revisions(tmp_path / "out").values()) == {0: 5, 1: 4}


def test_later_runs_make_each_output_again_as_it_was_made(run, tmp_path):
    """A plain run and --verify, after outputs of two revisions were deleted and edited; --retry-failed as well."""
    photographs.write_all(tmp_path / "in", {"box 0/bad.jpg": b"", "box 1/bad.jpg": b""})
    run()
    run(redo=(BOX,), saturation=2.0)
    whole, made_by = outputs(tmp_path / "out"), revisions(tmp_path / "out")
    for key in list(whole)[::2]:
        (tmp_path / "out" / key).unlink()
    run()
    assert outputs(tmp_path / "out") == whole
    for key in list(whole)[1::2]:
        (tmp_path / "out" / key).write_bytes(b"edited")
    run(verify=True)
    assert outputs(tmp_path / "out") == whole
    good = photographs.encoded(photographs.gray_pixels(seed=9))
    photographs.write_all(tmp_path / "in", {"box 0/bad.jpg": good, "box 1/bad.jpg": good})
    run(stop_after=1, retry_failed=True)
    run()
    assert revisions(tmp_path / "out") == made_by == made_by | {"box 0/bad.jpg": 1, "box 1/bad.jpg": 0}
    mended = outputs(tmp_path / "out")
    assert mended["box 0/bad.jpg"] != mended["box 1/bad.jpg"]
    chaos.results(tmp_path / "out")


def test_a_photograph_that_a_redo_fails_on_stays_as_it_was(run, tmp_path, caplog):
    """Its file is gone meanwhile: what was made of it before is no less good; a later redo takes it up."""
    good = photographs.tree(tmp_path / "in")
    run()
    before = chaos.results(tmp_path / "out")
    lost = next(key for key in good if key.startswith("box 0/"))
    (tmp_path / "in" / lost).write_bytes(b"no photograph any more")
    run(redo=(BOX,), saturation=2.0)
    assert chaos.results(tmp_path / "out")[lost] == before[lost]
    assert revisions(tmp_path / "out")[lost] == 0
    assert "1 photograph failed, and what was made of it before stays" in caplog.text
    photographs.write_all(tmp_path / "in", {lost: good[lost]})
    assert len(run(redo=(BOX,), saturation=2.0)) == 1
    assert revisions(tmp_path / "out")[lost] == 1


def test_what_is_not_given_stays_as_the_job_has_it(run, tmp_path):
    """A redo names what is to be otherwise; of the rest the job's settings count, not the defaults."""
    run(tta="flip", saturation=0.5)
    config = ColorizeConfig(source="in", dest="out", redo=("*",), saturation=2.0)
    found = read_job(open_store(tmp_path / "out"))
    redone = redo_settings(config, found)
    assert (redone.tta, redone.checkpoint, redone.network_size) == ("flip", "regression", 64)
    assert redone.saturation == 2.0
    back = redo_settings(ColorizeConfig(source="in", dest="out", redo=("*",)), found)
    assert revision_for(back, found, load("regression")) == (0, None)


def test_what_a_redo_cannot_be_is_refused(run, tmp_path):
    """No job there, another source or shards, another request beside it: one line each, and nothing is changed."""
    with pytest.raises(ConfigError, match="holds no job: run the command without it first"):
        run(redo=("*",))
    run()
    before = photographs.tree(tmp_path / "out")
    with pytest.raises(ConfigError, match="--redo and --verify: one after the other"):
        run(redo=("*",), verify=True)
    with pytest.raises(ManifestError, match=r"exclude was \[\], now \['x'\]"):
        run(redo=("*",), saturation=2.0, exclude=("x",))
    with pytest.raises(ManifestError, match=r"saturation was 1\.0, now 2\.0"):
        run(saturation=2.0)
    assert photographs.tree(tmp_path / "out") == before
