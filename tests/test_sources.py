"""Laws of what a bulk job reads."""

import photographs
import pytest

from raycolor.errors import ConfigError
from raycolor.sources import check_places, key_inside, list_inputs, open_source
from raycolor.storage import open_store


@pytest.fixture
def source(tmp_path):
    """A folder with some keys, and a destination inside it."""
    files = {"a.jpg": b"1", "b/c.TIF": b"2", "b/notes.txt": b"3", "out/old.jpg": b"4", "outer/x.jpg": b"5"}
    photographs.write_all(tmp_path, files)
    return open_store(tmp_path), open_store(tmp_path / "out")


def keys(source, dest, only=None, include=(), exclude=()):
    """Return the keys that a job would colorize."""
    return [info.key for info in list_inputs(source, dest, only, include, exclude)]


def test_a_destination_inside_the_source_is_left_out(source):
    """Outputs are never inputs of the same job; a folder whose name only begins alike is."""
    assert keys(*source) == ["a.jpg", "b/c.TIF", "b/notes.txt", "outer/x.jpg"]


def test_patterns_choose_by_the_whole_key(source):
    """Include takes what any pattern matches, exclude then leaves out."""
    assert keys(*source, include=("*.jpg", "*.TIF")) == ["a.jpg", "b/c.TIF", "outer/x.jpg"]
    assert keys(*source, include=("*.jpg",), exclude=("outer/*",)) == ["a.jpg"]


def test_a_single_file_is_a_source(tmp_path):
    """A path of a file means that file alone, not those whose names begin like it."""
    photographs.write_all(tmp_path, {"a.jpg": b"1", "a.jpg.bak": b"2"})
    store, only = open_source(str(tmp_path / "a.jpg"))
    assert keys(store, open_store(tmp_path / "out"), only) == ["a.jpg"]


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
