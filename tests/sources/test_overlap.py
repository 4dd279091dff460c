"""Laws of what a bulk job reads from a folder, and of places that could overwrite each other."""

import photographs
import pytest

from raycolor.errors import ConfigError
from raycolor.sources import LinkGuard, open_source
from raycolor.sources.overlap import check_overlap, key_inside


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
    with pytest.raises(ConfigError, match="--root x: needs a list of keys"):
        open_source(str(tmp_path), root="x")


@pytest.mark.parametrize(
    ("source", "dest"),
    [("/p/in", "/p/in"), ("/p/in/", "/p/in"), ("/p/in", "/p"), ("s3://b/in/deep", "s3://b/in"), ("s3://b/x", "s3://b")],
)
def test_a_destination_that_could_overwrite_inputs_is_refused(source, dest):
    """Inputs are never changed: DEST must not be the source or hold it."""
    with pytest.raises(ConfigError, match="give another place"):
        check_overlap(source, dest)


@pytest.mark.parametrize(
    ("source", "dest"), [("/p/in", "/p/in/out"), ("/p/in", "/p/in2"), ("s3://b/in", "s3://b/into"), ("/a", "/b")]
)
def test_other_places_are_fine(source, dest):
    """Beside, inside, or merely named alike."""
    check_overlap(source, dest)


def test_key_inside_is_about_folders_not_letters():
    """A prefix ends at a slash."""
    assert key_inside("/a/b", "/a/b/c") == "c/"
    assert key_inside("/a/b", "/a/bc") is None
    assert key_inside("/a/b", "/a/b") is None


@pytest.fixture
def photos(tmp_path):
    """A folder of photographs, known by links and by other spellings too."""
    photographs.write_all(tmp_path / "photos", {"a.jpg": b"1", "sub/b.jpg": b"2"})
    (tmp_path / "link").symlink_to("photos")
    (tmp_path / "deep").symlink_to("photos/sub")
    (tmp_path / "list.csv").write_text("key\nphotos/a.jpg\n")
    (tmp_path / "photos" / "list.csv").write_text(f"key\n{tmp_path}/photos/a.jpg\n")
    return tmp_path


@pytest.mark.parametrize(
    "source", ["photos", "link", "photos/../photos", "photos/a.jpg", "link/a.jpg", "photos/list.csv"]
)
@pytest.mark.parametrize(
    "dest", ["photos", "link", "photos/../photos", "photos/sub/..", "deep/..", "link/../photos", "photos/../link/."]
)
def test_a_destination_is_the_source_however_it_is_spelled(photos, source, dest):
    """Of a folder, of a file in it, and of a list of files there the folder is no destination, by whatever way."""
    found = open_source(str(photos / source), root=str(photos / "link") if source.endswith(".csv") else None)
    with pytest.raises(ConfigError, match="give another place"):
        found.check_dest(str(photos / dest))


def test_a_source_inside_the_destination_is_found_behind_links(photos):
    """What holds the source really, or holds the link that the source is, could overwrite it."""
    (photos / "up").symlink_to(".")
    for source, dest in [("deep", "photos"), ("deep", "link"), ("link", "up"), ("photos/sub", "link"), ("deep", "up")]:
        with pytest.raises(ConfigError, match="holds the SOURCE"):
            open_source(str(photos / source)).check_dest(str(photos / dest))
    open_source(str(photos)).check_dest(str(photos / "photos" / "out"))
    open_source(str(photos / "deep")).check_dest(str(photos / "out"))


def test_records_that_would_go_into_the_source_are_refused(photos):
    """A link in the destination, where records go, is seen before anything is written."""
    (photos / "out").mkdir()
    (photos / "out" / "_raycolor").symlink_to(photos / "photos" / "sub")
    with pytest.raises(ConfigError, match="_raycolor/ leads into the SOURCE"):
        open_source(str(photos / "photos")).check_dest(str(photos / "out"))


@pytest.mark.parametrize("dest", ["s3://b/in/", "s3://b//in", "s3://b/in/./", "s3://b/x/../in", "s3://b/", "s3://b"])
def test_prefixes_are_compared_by_what_they_mean(dest):
    """Slashes, `.` and `..` make no other place of a prefix."""
    with pytest.raises(ConfigError, match="give another place"):
        check_overlap("s3://b/in", dest)
    check_overlap("s3://b/in", dest.replace("s3://b", "s3://c"))


def test_a_folder_that_leads_into_the_destination_is_left_out(photos):
    """Outputs and records are no inputs, reached by a link in the source either."""
    photographs.write_all(photos / "out", {"x.jpg": b"3", "_raycolor/job.json": b"{}"})
    (photos / "photos" / "mine").symlink_to(photos / "out")
    for options in ({}, {"patience_s": 1.0}):
        found = open_source(str(photos / "photos"), options=options)
        assert keys(found, str(photos / "out")) == ["a.jpg", "list.csv", "sub/b.jpg"]
    (photos / "photos" / "mine").unlink()
    photographs.write_all(photos / "photos" / "out", {"y.jpg": b"3"})
    assert keys(open_source(str(photos / "link")), str(photos / "photos" / "out")) == [
        "a.jpg",
        "list.csv",
        "sub/b.jpg",
    ]


def test_a_link_that_is_put_into_the_destination_later_is_noticed(photos):
    """A folder that was right once is looked at again when another stands in its place."""
    (photos / "out" / "sub").mkdir(parents=True)
    guard = LinkGuard(str(photos / "out"), str(photos / "photos"))
    assert not guard.leads_into_source(photos / "out" / "sub")
    assert not guard.leads_into_source(photos / "out" / "new" / "deep")
    (photos / "out" / "sub").rmdir()
    (photos / "out" / "sub").symlink_to(photos / "photos" / "sub")
    assert guard.leads_into_source(photos / "out" / "sub")
    assert guard.leads_into_source(photos / "out" / "sub" / "new")
    (photos / "elsewhere").mkdir()
    (photos / "out" / "other").symlink_to(photos / "elsewhere")
    assert not guard.leads_into_source(photos / "out" / "other")
