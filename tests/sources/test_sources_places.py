"""Laws of what a bulk job reads from a folder, and of places that could overwrite each other."""

import photographs
import pytest

from raycolor.errors import ConfigError
from raycolor.sources import check_places, key_inside, open_source


@pytest.fixture
def source(tmp_path):
    """A folder with some keys, a destination inside it, and what an earlier job left."""
    files = {"a.jpg": b"1", "b/c.TIF": b"2", "b/notes.txt": b"3", "out/old.jpg": b"4", "outer/x.jpg": b"5"}
    photographs.write_all(tmp_path, {**files, "_raycolor/job.json": b"{}"})
    return open_source(str(tmp_path)), str(tmp_path / "out")


def keys(source, dest, include=(), exclude=()):
    """Return the keys that a job would colorize."""
    return [info.key for info in source.inputs(dest, include, exclude)]


def test_a_destination_inside_the_source_is_left_out(source):
    """Outputs and records are never inputs, and are counted; a folder whose name only begins alike is read."""
    assert keys(*source) == ["a.jpg", "b/c.TIF", "b/notes.txt", "outer/x.jpg"]
    assert source[0].notes == {"inside DEST": 1, "records of an earlier job": 1}


def test_patterns_choose_by_the_whole_key(source):
    """Include takes what any pattern matches, exclude then leaves out."""
    assert keys(*source, include=("*.jpg", "*.TIF")) == ["a.jpg", "b/c.TIF", "outer/x.jpg"]
    assert keys(*source, include=("*.jpg",), exclude=("outer/*",)) == ["a.jpg"]


def test_a_single_file_is_a_source(tmp_path):
    """A path of a file means that file alone, not those whose names begin like it; two files are two sources."""
    photographs.write_all(tmp_path, {"a.jpg": b"1", "a.jpg.bak": b"2"})
    one = open_source(str(tmp_path / "a.jpg"))
    assert keys(one, str(tmp_path / "out")) == ["a.jpg"]
    assert one.uri == str(tmp_path / "a.jpg")
    one.check_dest(str(tmp_path / "out"))
    with pytest.raises(ConfigError, match="holds the SOURCE"):
        one.check_dest(str(tmp_path))


def test_a_place_that_is_not_there_or_has_no_root_is_refused(tmp_path):
    """What, which value, how to mend it."""
    with pytest.raises(ConfigError, match="no such folder: check the path"):
        open_source(str(tmp_path / "nowhere"))
    with pytest.raises(ConfigError, match="--root x: goes with a list of keys"):
        open_source(str(tmp_path), root="x")


@pytest.mark.parametrize(
    ("source", "dest"),
    [("/p/in", "/p/in"), ("/p/in/", "/p/in"), ("/p/in", "/p"), ("s3://b/in/deep", "s3://b/in"), ("s3://b/x", "s3://b")],
)
def test_a_destination_that_could_overwrite_inputs_is_refused(source, dest):
    """Inputs are never changed: DEST must not be the source or hold it."""
    with pytest.raises(ConfigError, match="give another place"):
        check_places(source, dest)


@pytest.mark.parametrize(
    ("source", "dest"), [("/p/in", "/p/in/out"), ("/p/in", "/p/in2"), ("s3://b/in", "s3://b/into"), ("/a", "/b")]
)
def test_other_places_are_fine(source, dest):
    """Beside, inside, or merely named alike."""
    check_places(source, dest)


def test_key_inside_is_about_folders_not_letters():
    """A prefix ends at a slash."""
    assert key_inside("/a/b", "/a/b/c") == "c/"
    assert key_inside("/a/b", "/a/bc") is None
    assert key_inside("/a/b", "/a/b") is None
