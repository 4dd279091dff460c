"""Laws of the list of photographs that must not be colorized."""

import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from raycolor.errors import ConfigError
from raycolor.sources import Input, Reader, SkippedInputError
from raycolor.sources.never_list import NeverList, read_never_list


def listed(tmp_path, text, name="never.csv"):
    """Write and read a list."""
    (tmp_path / name).write_text(text, encoding="utf-8", newline="")
    return read_never_list(str(tmp_path / name))


def test_keys_folders_archives_and_globs_are_left_alone(tmp_path):
    """Each with its own reason, whatever the case; below a folder or an archive, too; nothing else."""
    rows = ["key,reason", "camp/,asked by the family", "*_NEG.tif,", "box.tar,sealed", "'=a.jpg,x", "p[1].jpg,y"]
    never = listed(tmp_path, "\r\n".join(rows))
    assert never.why("camp/1/a.jpg") == "asked by the family"
    assert never.why("CAMP/b.jpg") == "asked by the family"
    assert never.why("x/12_neg.tif") == "on the list of photographs that must not be colorized"
    assert never.why("box.tar/in/1.jpg") == "sealed"
    assert never.why("=a.jpg") == "x"
    assert (never.why("p[1].jpg"), never.why("p1.jpg")) == ("y", "y")
    assert [never.why(key) for key in ("camps/a.jpg", "a/camp/b.jpg", "neg.tif", "box.tar.gz", "box.jpg")] == [None] * 5


def test_a_plain_list_is_one_key_or_glob_a_line(tmp_path):
    """Keys with commas and spaces inside need no quotes there."""
    never = listed(tmp_path, "a, b.jpg\n\n  c/*.png \n", "never.txt")
    assert [never.why(key) is not None for key in ("a, b.jpg", "c/d.png", "a", "c")] == [True, True, False, False]


@given(st.dictionaries(st.text("ab*?[]=-'/, \u00e9", max_size=8), st.text("ab,\"'= ", max_size=5), min_size=1))
def test_what_is_kept_of_a_list_says_the_same(tmp_path_factory, reasons):
    """The copy beside a job's records, read again, is the same list with the same hash."""
    reasons = {key.strip("/ ").lower(): why.strip() or "why" for key, why in reasons.items()}
    reasons.pop("", None)
    if reasons:
        never = NeverList(reasons)
        path = tmp_path_factory.mktemp("never") / "never.csv"
        path.write_bytes(never.to_csv())
        again = read_never_list(str(path))
        assert again == never
        assert again.sha256 == never.sha256


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "has no column `key`"),
        ("photo,reason\na,b\n", "has no column `key`"),
        ("key,reason\n", "names nothing"),
        ("key,reason\n,why\n", "row 2 names no key"),
        ('key,reason\n"a,b\n', "cannot be read as a list"),
    ],
)
def test_a_list_that_is_none_is_refused(tmp_path, text, message):
    """Before anything is colorized: a list that is not understood would protect nothing."""
    with pytest.raises(ConfigError, match=message):
        listed(tmp_path, text)


def test_a_missing_list_is_refused(tmp_path):
    """Named, with what to check."""
    with pytest.raises(ConfigError, match=r"--never .*no\.csv.*check the path"):
        read_never_list(str(tmp_path / "no.csv"))


def test_nothing_is_read_of_what_is_on_the_list(tmp_path):
    """Also in a reader that has travelled to another process."""
    (tmp_path / "a.jpg").write_bytes(b"bytes")
    reader = Reader(str(tmp_path), never=NeverList({"a.jpg": "asked by the family"}))
    for one in (reader, pickle.loads(pickle.dumps(reader))):
        (tmp_path / "a.jpg").unlink(missing_ok=True)
        with pytest.raises(SkippedInputError, match="excluded: asked by the family"):
            one.get(Input("a.jpg", 5, ""))
