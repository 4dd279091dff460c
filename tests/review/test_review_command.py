"""Laws of `raycolor review`: what it shows, whom it answers, and that no decision is lost."""

import http.client
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import urllib.parse
from contextlib import closing

import finished_jobs
import photographs
import pytest
from reviewing import served, session_of

from raycolor import cli
from raycolor.codecs.thumbnail import photo_thumbnail
from raycolor.colorize.outcomes import Outcome, read_outcomes
from raycolor.colorize.review_list import Decision, add_decision, read_decisions
from raycolor.colorizer.hint_list import Hint
from raycolor.errors import ConfigError
from raycolor.review.photographs import PAGE, Filter, Photographs
from raycolor.review.session import LARGE_PX
from raycolor.storage import open_store

NAMES = ["a/0.jpg", "a/<script>alert(1)<∕script>.jpg", "b/2.jpg", "3.jpg"]


@pytest.fixture(scope="module")
def made(tmp_path_factory, untrained):
    """A finished job of four photographs and a broken file, which no test may change."""
    return finished_jobs.make(tmp_path_factory.mktemp("job"), untrained, NAMES, max_failed="1")


@pytest.fixture
def done(made, tmp_path):
    """A copy of the finished job."""
    return shutil.copytree(made, tmp_path / "out")


def outcome(key, confidence=None, flags=None, status="colorized", reason=None):
    return Outcome(key, status, reason, source_kind="gray", confidence=confidence, flags=flags, output_key=key)


def test_the_least_confident_come_first_in_pages():
    """Those without a confidence come last, by name; every photograph is on just one page."""
    given = [outcome(f"{i:03}.jpg", None if i % 5 == 0 else (i * 37 % 100) / 100) for i in range(2 * PAGE + 7)]
    books = Photographs([*given, outcome("x", status="failed", reason="empty")])
    pages = [books.page(Filter(), page * PAGE) for page in range(4)]
    rows = [row for found, _ in pages for row in found]
    assert [len(found) for found, _ in pages] == [PAGE, PAGE, 7, 0]
    assert {count for _, count in pages} == {len(given)}
    expected = sorted(given, key=lambda one: (one.confidence is None, one.confidence or 0, one.key))
    assert [row.key for row in rows] == [one.key for one in expected]


def test_filters_by_flag_status_folder_and_decision():
    """Each alone and together; a folder holds what lies in folders below it, and nothing that only begins alike."""
    books = Photographs(
        [
            outcome("a/1", flags="dull"), outcome("a/b/2", flags="dull,overflow"), outcome("ab/3"),
            outcome("a/4", status="skipped", reason="withdrawn"), outcome("a/5", status="skipped", reason="excluded"),
        ]
    )  # fmt: skip
    books.take([Decision("a/1", "reject"), Decision("a/1", "approve"), Decision("none", "skip")])

    def keys(**wanted):
        return [row.key for row in books.page(Filter(**wanted), 0)[0]]

    assert keys(flag="dull") == ["a/1", "a/b/2"]
    assert keys(folder="a") == ["a/1", "a/4", "a/b/2"]
    assert keys(folder="a/", status="colorized", flag="overflow") == ["a/b/2"]
    assert keys(status="withdrawn") == ["a/4"]
    assert keys(decision="approve") == ["a/1"]
    assert keys(decision="none") == ["a/4", "a/b/2", "ab/3"]
    assert (books.flags(), books.folders(9)) == (["dull", "overflow"], ["a", "a/b", "ab"])
    assert books.counts() == {"all": 4, "approve": 1, "none": 3}


def request(address, method="GET", path="", body=None, **headers):
    """Send one request; return status and text."""
    parts = urllib.parse.urlsplit(address)
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    with closing(http.client.HTTPConnection("127.0.0.1", parts.port, timeout=60)) as connection:
        connection.request(method, parts.path + path, body, names)
        answer = connection.getresponse()
        return answer.status, answer.read().decode("utf-8", "replace")


def test_strangers_get_nothing(done):
    """Without the token, under another host name, from another site's page, or by a form: refused, nothing written."""
    with session_of(done, checkpoint=()) as session, served(session) as address:
        good = json.dumps({"decision": "reject"})
        port = urllib.parse.urlsplit(address).port
        assert request(address)[0] == 200
        assert request(f"http://127.0.0.1:{port}/")[0] == 403
        assert request(f"http://127.0.0.1:{port}/{'x' * 32}/")[0] == 403
        assert request(f"http://127.0.0.1:{port}/{'x' * 32}/photographs")[0] == 403
        assert request(address, Host="evil.example")[0] == 403
        assert request(address, Host=f"evil.example:{port}")[0] == 403
        json_type = {"Content_Type": "application/json"}
        path = "photographs/1/decision"
        assert request(address, "POST", path, good, Origin="http://evil.example", **json_type)[0] == 403
        assert request(address, "POST", path, good, Content_Type="text/plain")[0] == 415
        assert request(address, "POST", "photographs/99/decision", good, **json_type)[0] == 404
        for body in ("[]", "{", '{"decision": "maybe"}', '{"decision": "reject", "choice": 99}', '{"hints": 3}'):
            assert request(address, "POST", path, body, **json_type)[0] == 400, body
        outside = json.dumps({"decision": "approve", "hints": [[1.5, 0.5, "red"]]})
        status, text = request(address, "POST", path, outside, **json_type)
        assert (status, json.loads(text)["error"]) == (409, "hint: x 1.5: must lie within the picture, 0 to 1")
        assert not (done / "_raycolor/review.csv").exists()
        assert (
            request(address, "POST", path, good, Origin=address.rpartition("/")[0].rpartition("/")[0], **json_type)[0]
            == 200
        )
        assert len(read_decisions(open_store(done)).of) == 1


def test_a_rendering_is_what_the_job_makes_of_the_decision(done):
    """The picture of another choice with a hint, and the output after the review is applied, are the same."""
    with session_of(done, checkpoint=(), saturation=(2.0,)) as session:
        row = session.photographs.page(Filter(), 0)[0][0]
        hints = [[0.5, 0.25, "#27345e"]]
        picture = session.rendering(row, 1, hints)
        assert picture != session.picture(row, "after", LARGE_PX)
        decision = session.decide(row, "approve", 1, hints)
        assert (decision.saturation, decision.hints) == (2.0, (Hint(32, 12, "#27345e"),))
        assert session.decide(row, "approve", 0, []).changes is False
        session.decide(row, "approve", 1, hints)
    assert cli.run(["colorize", str(done / "_raycolor/review.csv"), "--no-ray"]) == 0
    with session_of(done, checkpoint=()) as session:
        again = session.photographs.get(row.id)
        assert again.revision == 1
        assert session.picture(again, "after", LARGE_PX) == picture
        assert session.known_hints(again) == hints
        # What stands, hint included, is approved without settings.
        assert not session.decide(again, "approve", 0, session.known_hints(again)).changes
    assert cli.run(["verify", str(done)]) == 0


def test_two_people_see_what_the_other_decided(done):
    """Each writes behind the other's; a page that is asked for after it shows it."""
    with session_of(done, checkpoint=()) as ann, session_of(done, who="Bob", checkpoint=()) as bob:
        rows = ann.photographs.page(Filter(), 0)[0]
        ann.decide(rows[0], "reject", 0, [])
        bob.decide(rows[1], "skip", 0, [])
        assert bob.page(Filter(decision="reject"), 0)["count"] == 1
        assert ann.page(Filter(), 0)["counts"] == {"all": 4, "none": 2, "reject": 1, "skip": 1}
    assert [one.who for one in read_decisions(open_store(done)).of.values()] == ["Ann", "Bob"]


def test_what_was_decided_survives_a_kill(done):
    """The command itself, killed right behind a decision: the row is whole, and the next session shows it."""
    command = [sys.executable, "-m", "raycolor", "review", str(done), "--checkpoint", "regression", "--who", "Ann"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        address = re.search(r"open (\S+)", next(line for line in process.stderr if "open http" in line))[1]
        body = json.dumps({"decision": "reject"})
        assert request(address, "POST", "photographs/2/decision", body, Content_Type="application/json")[0] == 200
        os.kill(process.pid, signal.SIGKILL)
    found = read_decisions(open_store(done)).of
    assert [(one.decision, one.who) for one in found.values()] == [("reject", "Ann")]
    with session_of(done, checkpoint=()) as session:
        assert session.page(Filter(decision="reject"), 0)["count"] == 1


@pytest.mark.parametrize(("kind", "message"), finished_jobs.REFUSED)
def test_what_cannot_be_reviewed_is_one_line(done, kind, message, capsys):
    """No job, or one that has not ended: exit code 1, what it is and what to do."""
    assert finished_jobs.unfinish(done, kind)
    assert cli.run(["review", str(done)]) == 1
    error = capsys.readouterr().err
    assert message in error
    assert error.strip().splitlines()[-1].startswith("raycolor: ")


def test_a_list_that_is_none_and_a_checkpoint_that_is_none_are_one_line(done, capsys):
    """Named before there is a page; the file stays as it is."""
    assert cli.run(["review", str(done), "--checkpoint", "no-such"]) == 2
    assert "--checkpoint no-such: " in capsys.readouterr().err
    path = done / "_raycolor/review.csv"
    path.write_text("key,decision\na/0.jpg,perhaps\n")
    assert cli.run(["review", str(done), "--checkpoint", "regression"]) == 2
    assert "row 2: decision 'perhaps'" in capsys.readouterr().err
    path.write_text("who\nAnn\n")
    with pytest.raises(ConfigError, match="has no column `key`"):
        add_decision(open_store(done), Decision("a/0.jpg", "skip"))
    assert path.read_text() == "who\nAnn\n"


def test_other_commands_work_on_a_reviewed_job(done, tmp_path):
    """verify and package, before the review is applied and after; its records are packed."""
    add_decision(open_store(done), Decision("a/0.jpg", "reject", who="Ann", when="now"))
    for _ in range(2):
        assert cli.run(["verify", str(done)]) == 0
        assert cli.run(["package", str(done), str(tmp_path / "bag")]) == 0
        assert (tmp_path / "bag/data/_raycolor/review.csv").exists()
        assert cli.run(["colorize", str(done / "_raycolor/review.csv"), "--no-ray"]) == 0
    assert {one.key: one.reason for one in read_outcomes(open_store(done))}["a/0.jpg"] == "withdrawn"
    assert "a/0.jpg" not in photographs.tree(done)


@pytest.mark.slow
def test_a_job_in_s3_is_reviewed_there(done, s3, tmp_path):
    """Pictures, decisions and their application, all over S3."""
    uri = s3.uri(tmp_path.name)
    source = done.parent / "source"
    files = {name: photographs.encoded(photographs.gray_pixels(seed=i)) for i, name in enumerate(NAMES)}
    photographs.write_all(source, files)
    assert cli.run(["colorize", str(source), uri, "--no-ray", "--checkpoint", "regression"]) == 0
    with session_of(uri, checkpoint=()) as session:
        row = session.photographs.page(Filter(), 0)[0][0]
        expected = photo_thumbnail(open_store(uri).get(row.output_key), LARGE_PX)
        assert session.picture(row, "after", LARGE_PX) == expected
        session.decide(row, "reject", 0, [])
    assert cli.run(["colorize", f"{uri}/_raycolor/review.csv", "--no-ray"]) == 0
    assert open_store(uri).stat(row.output_key) is None


def test_ctrl_c_ends_it_and_says_how_to_apply(done):
    """Exit code 0: that is how a review ends; without a decision there is nothing to apply."""
    command = [sys.executable, "-m", "raycolor", "review", str(done), "--checkpoint", "regression"]
    # A shell's background would be deaf to it.
    with subprocess.Popen(
        command,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    ) as process:
        address = re.search(r"open (\S+)", next(line for line in process.stderr if "open http" in line))[1]
        body = json.dumps({"decision": "reject"})
        assert request(address, "POST", "photographs/1/decision", body, Content_Type="application/json")[0] == 200
        process.send_signal(signal.SIGINT)
        said = process.communicate(timeout=120)[1]
    assert process.returncode == 0
    assert f"decisions: 1; to apply them: raycolor colorize {done}/_raycolor/review.csv" in said
