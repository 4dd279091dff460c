"""Laws of a new listing against the inputs that a job has already."""

import os

import packs
import photographs
import pytest

from raycolor.sources import Input, Location, open_source
from raycolor.sources.known_inputs import KnownInputs
from raycolor.sources.reader import Reader


def compared(before, after, root="/in", now=None, take=lambda key: True):
    """Return the new inputs, what a manifest of `before` becomes, and the counts."""
    with KnownInputs() as known:
        known.know(before, root, 0)
        new = list(known.compare(after, now or root, root, take))
        return new, known.changed(0, before) or before, known.counts


def test_new_and_changed_inputs_are_told_apart():
    """A key of another etag, or where there is none of another size, has changed; one that has gone stays."""
    before = [Input("a", 1, "x"), Input("b", 2, "y"), Input("c", 3, ""), Input("gone", 1, "z")]
    after = [Input("b", 2, "Y"), Input("new", 9, "n"), Input("a", 1, "x"), Input("c", 4, "")]
    new, rows, counts = compared(before, after)
    assert new == [Input("new", 9, "n")]
    assert rows == [before[0], after[0], after[3], before[3]]
    assert (counts["new"], counts["taken"], counts["changed"]) == (1, 2, 0)
    assert compared(before, after, take=lambda key: key == "c")[1] == [*before[:2], after[3], before[3]]


def member(key, start, etag="t", archive="p.tar"):
    """Return a member of an archive as a listing gives it."""
    return Input(key, 5, etag, Location(None, archive, kind="tar", start=start))


def test_a_name_once_given_stays():
    """An archive that came later, or a version listed earlier, takes no key from the inputs of the job."""
    held = Input("p.tar/x.jpg", 1, "o")
    renamed = Input("p.tar/x~2.jpg", 1, "o", Location(object="p.tar/x.jpg"))
    new, rows, _ = compared([held], [member("p.tar/x.jpg", 512), renamed])
    assert rows == [held]
    assert new == [member("p.tar/x~2.jpg", 512)]
    first = Input("x.jpg", 1, "e", Location(version="v1"))
    earlier = Input("x.jpg", 1, "d", Location(version="v0"))
    later = Input("x~2.jpg", 1, "e", Location(object="x.jpg", version="v1"))
    new, rows, _ = compared([first], [earlier, later])
    assert rows == [first]
    assert new == [Input("x~2.jpg", 1, "d", Location(object="x.jpg", version="v0"))]


def test_what_a_list_has_lost_keeps_its_color_and_what_it_regained_is_tried():
    """`gone` never replaces an input that was there; an input that was gone has changed when it is back."""
    here, gone = member("p.tar/1", 512), Input("p.tar/1", 0, "", Location(reason="not_found"))
    assert compared([here], [gone])[1:] == ([here], {})
    assert compared([gone], [here])[1] == [here]


def test_a_list_that_grew_into_other_buckets_is_the_same_list():
    """Keys become bucket/key then, and the store they are relative to another: the job's inputs stay its inputs."""
    after = [
        Input("a/z.jpg", 0, "", Location("s3://a", "z.jpg")),
        Input("x/y.jpg", 0, "", Location("s3://x", "y.jpg")),
    ]
    new, rows, _ = compared([Input("y.jpg", 0, "")], after, root="s3://x", now="s3://a")
    assert (new, rows) == (after[:1], [Input("y.jpg", 0, "")])
    plain = compared([Input("y.jpg", 0, "")], [Input("q.jpg", 0, "")], root="/l/in", now="/")[0]
    assert plain == [Input("q.jpg", 0, "", Location("/", "q.jpg"))]


@pytest.mark.parametrize("kind", ["tar", "zip"])
def test_an_archive_is_read_again_only_if_it_has_changed(tmp_path, kind, monkeypatch):
    """Its members are known by its etag; one that was mended gives all its members, and its own row says so."""
    members = [("1.jpg", b"one"), ("2.jpg", b"two"), ("3.jpg", b"three")]
    whole = packs.tar(members) if kind == "tar" else packs.zipped(members)
    key = f"p.{kind}"
    photographs.write_all(tmp_path, {key: whole[: 1100 if kind == "tar" else -30], "a.jpg": b"A"})
    source = open_source(str(tmp_path))
    before = list(source.inputs("/nowhere"))
    opened = []
    original = type(source).members
    monkeypatch.setattr(type(source), "members", lambda self, info: opened.append(info.key) or original(self, info))

    def again():
        with KnownInputs() as known:
            known.know(before, source.root, 0)
            listing = source.inputs("/nowhere", unchanged=lambda archive: known.has_archive(archive, source.root))
            new = list(known.compare(listing, source.root, source.root, lambda key: True))
            return new, known.changed(0, before)

    assert again() == ([], None)
    assert opened == []
    photographs.write_all(tmp_path, {key: whole})
    os.utime(tmp_path / key, ns=(1, 1))
    new, rows = again()
    assert opened == [key]
    everything = {info.key: info for info in [*rows, *new]}
    assert set(everything) == {"a.jpg", key, f"{key}/1.jpg", f"{key}/2.jpg", f"{key}/3.jpg"}
    assert everything.pop(key).location.skipped
    read = {info.key: Reader(source.root).get(info) for info in everything.values()}
    assert read[f"{key}/1.jpg"] + read[f"{key}/2.jpg"] + read[f"{key}/3.jpg"] == b"onetwothree"
