"""Laws of `raycolor verify`: it tells every difference between outputs and outcomes, and changes nothing."""

import csv
import json
import shutil

import photographs
import pytest
from finished_jobs import REFUSED, make, unfinish

from raycolor import cli
from raycolor.colorize.job_record import JOB_KEY
from raycolor.storage import open_store


@pytest.fixture(scope="module")
def made(tmp_path_factory, untrained):
    """A finished job of four photographs and a broken file; returns its destination, which no test may change."""
    return make(tmp_path_factory.mktemp("job"), untrained, [f"a/{i}.jpg" for i in range(4)], max_failed="1")


@pytest.fixture
def done(made, tmp_path):
    """A copy of the finished job."""
    return shutil.copytree(made, tmp_path / "out")


def verify(dest, *flags):
    """Run the command; return its exit code."""
    return cli.run(["verify", str(dest), *flags])


def problems(path):
    """Return the rows of a list of problems."""
    with path.open(encoding="utf-8", newline="") as file:
        return sorted((row["key"], row["problem"]) for row in csv.DictReader(file))


def test_a_whole_job_is_as_recorded(done, tmp_path, capsys):
    """Exit code 0, and not a byte in DEST is other than before."""
    before = photographs.tree(done)
    assert verify(done, "--csv", str(tmp_path / "p.csv")) == 0
    assert "4 outputs, 4 as recorded, 0 missing, 0 changed; 0 other files" in capsys.readouterr().err
    assert problems(tmp_path / "p.csv") == []
    assert photographs.tree(done) == before


def test_every_difference_is_told_once(done, tmp_path):
    """Missing, of another size, of other bytes, and a file that is nobody's: four problems, by name; exit code 1."""
    (done / "a" / "0.jpg").unlink()
    (done / "a" / "1.jpg").write_bytes(b"edited")
    data = bytearray((done / "a" / "2.jpg").read_bytes())
    data[-1] ^= 1
    (done / "a" / "2.jpg").write_bytes(data)
    (done / "=note.txt").write_bytes(b"of mine")
    assert verify(done, "--csv", str(tmp_path / "p.csv")) == 1
    expected = [("'=note.txt", "foreign"), ("a/0.jpg", "missing"), ("a/1.jpg", "changed"), ("a/2.jpg", "changed")]
    assert problems(tmp_path / "p.csv") == expected
    (done / "a" / "3.jpg").unlink()
    assert verify(done, "--csv", str(tmp_path / "p.csv")) == 1  # an earlier list is replaced
    assert len(problems(tmp_path / "p.csv")) == 5


def test_files_of_others_are_no_damage(done):
    """The photographs are all there: exit code 0."""
    (done / "note.txt").write_bytes(b"of mine")
    assert verify(done) == 0


def spoil(dest, kind):
    """Leave a destination that cannot be verified."""
    if unfinish(dest, kind):
        return
    job = json.loads((dest / JOB_KEY).read_text())
    if kind == "damaged":
        job["manifest"]["images"] += 1
        (dest / JOB_KEY).write_text(json.dumps(job))
    else:
        (dest / JOB_KEY).write_text(json.dumps({**job, "format_version": 99}))


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        *REFUSED,
        ("damaged", "6 inputs and 5 outcomes"),
        ("another raycolor's", "format version 99"),
    ],
)
def test_what_cannot_be_verified_is_one_line(done, kind, message, capsys):
    """No job, one that has not ended, damaged records, another raycolor's: exit code 1, what it is and what to do."""
    spoil(done, kind)
    assert verify(done) == 1
    error = capsys.readouterr().err
    assert message in error
    assert error.strip().splitlines()[-1].startswith("raycolor: ")


def test_no_other_file_is_overwritten(done, tmp_path, capsys):
    """--csv over a photograph, or over a folder: refused before anything is read."""
    (tmp_path / "scan.tif").write_bytes(b"II*")
    assert verify(done, "--csv", str(tmp_path / "scan.tif")) == 2
    assert "no list of problems" in capsys.readouterr().err
    assert (tmp_path / "scan.tif").read_bytes() == b"II*"
    assert verify(done, "--csv", str(tmp_path)) == 2


def test_a_job_in_s3_is_verified_there(s3, made, tmp_path):
    """The same as in a folder: a deleted and an overwritten object are found, and the list is an object, too."""
    dest = s3.uri("verified")
    store = open_store(dest)
    for key, data in photographs.tree(made).items():
        store.put(key, data)
    assert verify(dest) == 0
    store.delete("a/0.jpg")
    store.put("a/1.jpg", b"edited")
    assert verify(dest, "--csv", s3.uri("lists/problems.csv")) == 1
    (tmp_path / "p.csv").write_bytes(open_store(s3.uri("lists")).get("problems.csv"))
    assert problems(tmp_path / "p.csv") == [("a/0.jpg", "missing"), ("a/1.jpg", "changed")]
