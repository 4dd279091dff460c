"""Laws of several places as one source: each under its own name, none twice, and nothing else than one would be."""

import photographs
import pytest
from sources import packs

from raycolor import cli
from raycolor.colorize.outcomes import read_outcomes
from raycolor.errors import ConfigError
from raycolor.sources import Reader, open_sources
from raycolor.storage import open_store


@pytest.fixture
def places(tmp_path, monkeypatch):
    """A folder with photographs at several places; it is the current folder."""
    jpeg = photographs.encoded(photographs.gray_pixels())
    files = {name: jpeg + name.encode() for name in ("a/1.jpg", "b/1.jpg", "b/deep/2.jpg", "c/1.jpg", "one.jpg")}
    files |= {"b/_raycolor/job.json": b"{}", "box.tar": packs.tar([("x.jpg", jpeg)]), "list.txt": b"one.jpg\n"}
    photographs.write_all(tmp_path, files)
    monkeypatch.chdir(tmp_path)
    return files


def listed(*given, **options):
    """Return key -> bytes, as a worker would read them."""
    source = open_sources(given, **options)
    reader = Reader(source.root)
    return {info.key: reader.get(info) for info in source.inputs("out")}


def test_each_place_is_under_its_own_name(places):
    """Files by their name, what is in a folder below the folder's; archives are opened, records left out."""
    found = listed("a/1.jpg", "./b/", "box.tar", "one.jpg")
    assert list(found) == ["1.jpg", "b/1.jpg", "b/deep/2.jpg", "box.tar/x.jpg", "one.jpg"]
    assert found["1.jpg"] == places["a/1.jpg"]
    assert found["b/1.jpg"] == places["b/1.jpg"]
    assert found["b/deep/2.jpg"] == places["b/deep/2.jpg"]


def test_one_place_is_what_it_is_alone(places):
    """Keys of a folder given alone do not begin with its name."""
    assert set(listed("b")) == {"1.jpg", "deep/2.jpg"}


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (["a/1.jpg", "c/1.jpg"], r"a/1\.jpg and .*c/1\.jpg: both would be 1\.jpg in DEST"),
        (["b", "b/deep"], "b/deep: lies in .*/b: give one of them"),
        (["one.jpg", "list.txt"], r"list\.txt: is a list, which names all inputs of a job itself"),
    ],
)
def test_what_would_meet_is_refused(places, given, message):
    """Two outputs of one name, one photograph twice, a list among others: one line."""
    with pytest.raises(ConfigError, match=message):
        open_sources(given)


def test_a_destination_among_the_sources_is_refused(places):
    """Inputs are never changed, whichever of the places holds them."""
    source = open_sources(["a", "b"])
    with pytest.raises(ConfigError, match="is the SOURCE itself"):
        source.check_dest("b")


def test_a_job_of_several_places(places, tmp_path, untrained, capsys):
    """On the command line as for `cp`; what failed of it is a SOURCE again; another set of places is another job."""
    (tmp_path / "bad.jpg").write_bytes(b"no photograph")
    flags = ["--checkpoint", untrained, "--max-failed", "9"]
    assert cli.run(["colorize", "a/1.jpg", "b", "bad.jpg", "out", *flags]) == 0
    outputs = {name for name in photographs.tree(tmp_path / "out") if not name.startswith("_")}
    assert outputs == {"1.jpg", "b/1.jpg", "b/deep/2.jpg"}
    assert cli.run(["colorize", "a/1.jpg", "b", "out", *flags]) == 1
    assert "holds another job: source was" in capsys.readouterr().err
    (tmp_path / "bad.jpg").write_bytes(places["one.jpg"])
    assert cli.run(["colorize", "out/_raycolor/failed.csv", "again", *flags]) == 0
    assert {name for name in photographs.tree(tmp_path / "again") if not name.startswith("_")} == {"bad.jpg"}


def test_places_in_buckets_are_named_alike(s3, tmp_path, untrained, capsys):
    """Objects, prefixes and archives of S3, each read from where it lies; folders beside them are refused."""
    jpeg = photographs.encoded(photographs.gray_pixels())
    base, dest = s3.uri(), s3.uri()
    files = {"a/1.jpg": jpeg, "b/1.jpg": jpeg, "b/deep/2.jpg": jpeg, "box.tar": packs.tar([("x.jpg", jpeg)])}
    for key, data in files.items():
        open_store(base).put(key, data + (b"" if key.endswith("tar") else key.encode()))
    given = [f"{base}/a/1.jpg", f"{base}/b/", f"{base}/box.tar"]
    assert cli.run(["colorize", *given, dest, "--checkpoint", untrained, "--no-ray"]) == 0
    outputs = {info.key for info in open_store(dest).list("") if not info.key.startswith("_")}
    assert outputs == {"1.jpg", "b/1.jpg", "b/deep/2.jpg", "box.tar/x.jpg"}
    assert {outcome.input_bytes for outcome in read_outcomes(open_store(dest))} == {len(jpeg) + n for n in (0, 7, 12)}
    capsys.readouterr()
    assert cli.run(["colorize", given[0], str(tmp_path), f"{dest}-2", "--checkpoint", untrained]) == 2
    assert "files and buckets side by side: colorize them in two jobs" in capsys.readouterr().err
