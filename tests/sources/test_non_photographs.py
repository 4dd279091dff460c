"""Laws of what is no photograph by its name."""

import pytest
from sources import packs

from raycolor.errors import ImageError
from raycolor.sources import Reader, SkippedInputError, open_source
from raycolor.sources.non_photographs import non_photograph

CLUTTER = [
    ".DS_Store", "box/.DS_Store", "Thumbs.db", "box/THUMBS.DB", "._photo.jpg", "box/._photo.tif",
    "box/@eaDir/photo.jpg/SYNOPHOTO_THUMB_XL.jpg", "box.zip/__MACOSX/photo.jpg", "photo.xmp", "photo.jpg.XMP",
    "notes.txt", "box/list.pdf", "film.mp4",
]  # fmt: skip
NO_CLUTTER = [
    "photo.jpg", "photo.JPG", "photo", "photo.", ".jpg", "photo.txt.jpg", "photo.jpg~", "txt", ".txt", "photo._jpg",
    "photo.heic", "photo.cr2", "inner.zip", "inner.7z", "Thumbs.db/photo.jpg", "@eaDir", "eaDir/photo.jpg",
]  # fmt: skip


@pytest.mark.parametrize("key", CLUTTER)
def test_clutter_is_known_by_its_name(key):
    """In any folder and any case; the detail says what it is."""
    assert non_photograph(key)


@pytest.mark.parametrize("key", NO_CLUTTER)
def test_what_may_be_a_photograph_is_no_clutter(key):
    """Picture names, unknown names, none; formats and archives that raycolor does not read fail and are seen."""
    assert non_photograph(key) is None


def test_clutter_is_not_read(tmp_path):
    """Neither from a folder nor from an archive, whatever lies there; what has a picture's name is read."""
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "box.tar").write_bytes(packs.tar([("._a.jpg", b"side"), ("a.jpg", b"bytes")]))
    (tmp_path / "in" / "huge.txt").symlink_to("/nowhere")
    source = open_source(str(tmp_path / "in"))
    reader, found = Reader(source.root), {}
    for info in source.inputs("/nowhere-else"):
        try:
            found[info.key] = reader.get(info)
        except ImageError as exc:
            found[info.key] = exc.reason, isinstance(exc, SkippedInputError)
    assert found == {
        "box.tar/._a.jpg": ("not_a_photograph", True),
        "box.tar/a.jpg": b"bytes",
        "huge.txt": ("not_a_photograph", True),
    }
