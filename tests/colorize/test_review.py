"""Laws of a review and of hints in a job: decided things are done, once, and nothing else changes."""

import threading

import chaos
import photographs
import pytest

from raycolor.colorize.config import ColorizeConfig
from raycolor.colorize.job_record import read_job
from raycolor.colorize.outcomes import read_outcomes
from raycolor.colorize.review_list import Decision, add_decision, hints_from_text, hints_to_text, read_decisions
from raycolor.colorizer.hint_list import Hint
from raycolor.errors import ConfigError, ManifestError
from raycolor.storage import open_store

WHEN = "2026-11-29T12:00:00+00:00"
BLUE = (Hint(20, 20, "#27345e"),)


def outputs(folder):
    """Return the outputs: relative path -> bytes."""
    return {key: data for key, data in photographs.tree(folder).items() if not key.startswith("_raycolor/")}


def rows(folder):
    """Return key -> outcome."""
    return {outcome.key: outcome for outcome in read_outcomes(open_store(folder))}


def decide(folder, *decisions):
    """Write decisions as the page does."""
    for key, verdict, more in decisions:
        add_decision(open_store(folder), Decision(key, verdict, who="Ann", when=WHEN, **more))


@pytest.fixture
def apply(run, tmp_path):
    """A function that applies the review of a destination by the command; returns the shards that were done."""

    def apply(dest="out", **flags):
        return run(dest, source=str(tmp_path / dest / "_raycolor/review.csv"), **flags, checkpoint="regression")

    return apply


def four(folder):
    """Return four keys of a job."""
    return sorted(outputs(folder))[:4]


def reviewed(folder):
    """Reject one, make one vivid, hint at one, approve one."""
    a, b, c, d = four(folder)
    decide(
        folder,
        (a, "approve", {}), (a, "reject", {}), (b, "approve", {"saturation": 2.0}),
        (c, "approve", {"hints": BLUE, "saturation": 0.5}), (d, "approve", {}),
    )  # fmt: skip
    return a, b, c, d


def test_what_was_decided_is_done_and_nothing_else(run, apply, tmp_path):
    """Rejected: the file is gone and its outcome says by whom; changed: as a job of these settings; others stay."""
    run()
    run("vivid", saturation=2.0)
    before = outputs(tmp_path / "out")
    a, b, c, d = reviewed(tmp_path / "out")
    apply()
    after, found = outputs(tmp_path / "out"), rows(tmp_path / "out")
    assert before.keys() - after.keys() == {a}
    assert (found[a].status, found[a].reason, found[a].output_key) == ("skipped", "withdrawn", None)
    assert found[a].detail == f"rejected in a review by Ann, {WHEN}"
    assert after[b] == outputs(tmp_path / "vivid")[b]
    assert {key for key in after if after[key] != before[key]} == {b, c}
    record = read_job(open_store(tmp_path / "out"))
    assert {key: found[key].revision for key in (b, c, d)} == {b: 1, c: 2, d: 0}
    assert [(one.settings["saturation"], bool(one.hints_sha256)) for one in record.revisions] == [
        (2, False),
        (0.5, True),
    ]
    assert record.round is None
    chaos.results(tmp_path / "out")


def test_applying_twice_changes_nothing(run, apply, tmp_path):
    """No shard is done, no revision is added, outputs and outcomes stay."""
    run()
    reviewed(tmp_path / "out")
    apply()
    before, found = outputs(tmp_path / "out"), rows(tmp_path / "out")
    assert apply() == []
    assert (outputs(tmp_path / "out"), rows(tmp_path / "out")) == (before, found)
    assert len(read_job(open_store(tmp_path / "out")).revisions) == 2


@pytest.mark.parametrize("again", ["same", "plain"])
def test_a_review_that_was_stopped_ends_as_one_that_was_left_alone(run, apply, tmp_path, again):
    """Stopped after any shard, the same command or that of the job goes on with it."""
    for name in ("out", "quiet"):
        run(name)
        reviewed(tmp_path / name)
    apply("quiet")
    apply(stop_after=0)
    apply(stop_after=1)
    if again == "same":
        apply()
    else:
        run()
    assert chaos.results(tmp_path / "out") == chaos.results(tmp_path / "quiet")
    assert outputs(tmp_path / "out") == outputs(tmp_path / "quiet")


def test_later_runs_leave_what_was_withdrawn_alone(run, apply, tmp_path):
    """A plain run, --verify, --redo and --add-new of a changed file do not bring it back; approving it does."""
    run()
    before = outputs(tmp_path / "out")
    key = four(tmp_path / "out")[0]
    decide(tmp_path / "out", (key, "reject", {}))
    apply()
    for flags in ({}, {"verify": True}, {"redo": ("*",), "saturation": 0.5}, {"redo": ("*",)}):
        run(**flags)
        assert key not in outputs(tmp_path / "out")
    decide(tmp_path / "out", (key, "approve", {}))
    apply()
    assert outputs(tmp_path / "out") == before


def test_only_what_the_job_wrote_is_withdrawn(run, apply, tmp_path):
    """An output that somebody has edited since is not deleted."""
    run()
    key = four(tmp_path / "out")[0]
    (tmp_path / "out" / key).write_bytes(b"edited")
    decide(tmp_path / "out", (key, "reject", {}))
    apply()
    assert (tmp_path / "out" / key).read_bytes() == b"edited"
    assert rows(tmp_path / "out")[key].reason == "withdrawn"


def test_more_decisions_make_again_only_what_they_are_about(run, apply, tmp_path):
    """The revision of an earlier review is used where it fits, hints of the same photograph included."""
    run()
    _, b, c, d = reviewed(tmp_path / "out")
    apply()
    decide(tmp_path / "out", (d, "approve", {"saturation": 2.0}), (b, "skip", {}))
    apply()
    assert {key: rows(tmp_path / "out")[key].revision for key in (b, c, d)} == {b: 1, c: 2, d: 1}
    own = {"checkpoint": "regression", "saturation": 1.0}
    decide(tmp_path / "out", (c, "approve", own))
    apply()
    assert rows(tmp_path / "out")[c].revision == 0


def test_a_hint_outside_the_picture_costs_that_photograph_its_change(run, apply, tmp_path, caplog):
    """One line; what was made before stays."""
    run()
    before = outputs(tmp_path / "out")
    key = four(tmp_path / "out")[0]
    decide(tmp_path / "out", (key, "approve", {"hints": (Hint(4000, 1, "red"),)}))
    apply()
    assert outputs(tmp_path / "out") == before
    assert "1 photograph failed, and what was made of it before stays" in caplog.text


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("key,decision\r\nno such.jpg,reject\r\n", r"review\.csv: no such\.jpg: no input of this job"),
        ("key,decision\r\na,perhaps\r\n", "row 2: decision 'perhaps': must be approve, reject, skip"),
        ("key,decision,saturation\r\na,approve,lots\r\n", "row 2: saturation 'lots': must be 0 to 3"),
        ("key,decision,hints\r\na,approve,1 2\r\n", "row 2: hint '1 2': must read `x y color`"),
        ("key,decision,hints\r\na,approve,1 2 blu\r\n", "color 'blu': must be"),
        ("key\r\na\r\n", "has no column `decision`"),
        ('key,decision\r\n"a,reject\r\n', "cannot be read"),
    ],
)
def test_a_review_that_was_edited_into_something_else_is_refused(run, apply, tmp_path, text, match):
    """One line that names the row; nothing is withdrawn or made, and the file stays as it is."""
    run()
    before = outputs(tmp_path / "out")
    path = tmp_path / "out/_raycolor/review.csv"
    path.write_bytes(text.encode())
    with pytest.raises(ConfigError, match=match):
        apply()
    assert outputs(tmp_path / "out") == before
    assert path.read_bytes() == text.encode()


def test_a_review_without_its_job_is_refused(run, apply, tmp_path):
    """No job, an unfinished one, another request beside it, another DEST: one line."""
    (tmp_path / "out/_raycolor").mkdir(parents=True)
    decide(tmp_path / "out", ("a", "reject", {}))
    with pytest.raises(ConfigError, match="holds no job"):
        apply()
    run("other", stop_after=1)
    decide(tmp_path / "other", ("a", "reject", {}))
    with pytest.raises(ManifestError, match=r"has not ended .*shards have no outcomes"):
        apply("other")
    with pytest.raises(ConfigError, match=r"review\.csv and --verify: one after the other"):
        apply(verify=True)
    place = str(tmp_path / "other/_raycolor/review.csv")
    with pytest.raises(ConfigError, match=r"the review is of .*other: omit DEST"):
        run("out", source=place)
    assert ColorizeConfig(source=place).dest == str(tmp_path / "other")


def test_hints_of_a_job_stay_its_hints(run, tmp_path):
    """Hinted photographs differ from others; later runs need no flag; another list, or a key of none, is refused."""
    keys = photographs.archive(tmp_path / "in", count=9)
    (tmp_path / "h.csv").write_text(f"key,x,y,color\n{keys[0]},20,20,navy\n")
    (tmp_path / "other.csv").write_text(f"key,x,y,color\n{keys[0]},20,20,red\n")
    (tmp_path / "unknown.csv").write_text("key,x,y,color\nnone.jpg,20,20,red\n")
    hints = str(tmp_path / "h.csv")
    with pytest.raises(ConfigError, match=r"--hints: none\.jpg: no input of this job"):
        run(hints=str(tmp_path / "unknown.csv"))
    run("plain")
    run(stop_after=1, hints=hints)
    run()
    plain, hinted = outputs(tmp_path / "plain"), outputs(tmp_path / "out")
    assert {key for key in plain if plain[key] != hinted[key]} == {keys[0]}
    with pytest.raises(ManifestError, match="hints_sha256 was"):
        run(hints=str(tmp_path / "other.csv"))
    run("plain", redo=("*",), hints=hints)
    assert outputs(tmp_path / "plain") == hinted
    with pytest.raises(ConfigError, match=r"--hints: none\.jpg"):
        run("plain", redo=("*",), hints=str(tmp_path / "unknown.csv"))
    (tmp_path / "out" / keys[0]).unlink()
    run()
    assert outputs(tmp_path / "out") == hinted


def test_hints_in_a_cell_read_as_they_were_written():
    """Places, colors and their order."""
    hints = (Hint(1, 2.5, "#aabbcc"), Hint(0, 0, "navy"))
    assert hints_from_text(hints_to_text(hints), "w") == hints
    assert hints_from_text("", "w") == ()


@pytest.mark.parametrize("place", ["local", pytest.param("s3", marks=pytest.mark.slow)])
def test_people_who_decide_at_once_lose_nothing(tmp_path, place, request):
    """Four writers, twelve decisions each, in a folder and in S3: all rows are there, once, below the header."""
    uri = str(tmp_path / "out") if place == "local" else request.getfixturevalue("s3").uri(tmp_path.name)

    def person(name):
        dest = open_store(uri)
        for i in range(12):
            add_decision(dest, Decision(f"{name}/{i}.jpg", "reject", who=name, when=WHEN))

    threads = [threading.Thread(target=person, args=(name,)) for name in "abcd"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    dest = open_store(uri)
    assert len(read_decisions(dest).of) == 48
    assert dest.get("_raycolor/review.csv").count(b"\r\n") == 49


def test_a_decision_is_behind_what_people_have_edited(tmp_path):
    """Columns in another order, a last line without its end, a name like a formula: rows stay, one is added."""
    (tmp_path / "_raycolor").mkdir()
    path = tmp_path / "_raycolor/review.csv"
    path.write_bytes(b"decision,key,note\r\nreject,a.jpg,ugly")
    with pytest.raises(ConfigError, match="has no column `checkpoint` any more"):
        add_decision(open_store(tmp_path), Decision("b.jpg", "approve"))
    path.write_bytes(b"decision,key,note,checkpoint,saturation,hints,who,when\r\nreject,a.jpg,ugly,,,,,")
    add_decision(open_store(tmp_path), Decision("=b.jpg", "approve", "default", 1.25, BLUE, "Ann", WHEN))
    found = read_decisions(open_store(tmp_path)).of
    assert found["a.jpg"].decision == "reject"
    assert found["=b.jpg"] == Decision("=b.jpg", "approve", "default", 1.25, BLUE, "Ann", WHEN)
    assert b"ugly" in path.read_bytes()
