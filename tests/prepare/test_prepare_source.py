"""Laws of PictureSource: folders and tars."""

import io
import tarfile

import pytest

from raycolor.errors import ArchiveError, ConfigError
from raycolor.prepare.source import PictureSource, is_picture


def write_tar(path, members, mode="w"):
    with tarfile.open(path, mode) as tar:
        for name, data in members:
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))


def test_tar_members_are_read_in_place(tmp_path):
    """Every member's bytes come from its offset, long and odd names included; folders and links are no members."""
    members = [("./a.jpg", b"one"), ("b/" + "long" * 60 + ".jpg", b"two" * 999), ("é.jpg", b""), ("c", b"x" * 512)]
    path = tmp_path / "photos.tar"
    write_tar(path, members)
    with tarfile.open(path, "a") as tar:
        folder = tarfile.TarInfo("folder")
        folder.type = tarfile.DIRTYPE
        tar.addfile(folder)
    source = PictureSource(str(path))
    found = {picture.key: source.read(picture) for picture in source.list()}
    assert found == {name.removeprefix("./"): data for name, data in members}


def test_folder_members_are_its_files(tmp_path):
    """A folder lists its files by key and reads them."""
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "1.jpg").write_bytes(b"one")
    source = PictureSource(str(tmp_path))
    assert [(picture.key, source.read(picture)) for picture in source.list()] == [("a/1.jpg", b"one")]


@pytest.mark.parametrize("keep", [0, 100, 513, 700, 1536, 1536 + 100, 3072])
def test_a_tar_cut_short_is_refused(tmp_path, keep):
    """A download that stopped is an error, wherever it stopped, not a smaller dataset; between two members, too."""
    path = tmp_path / "photos.tar"
    write_tar(path, [("a.jpg", b"1" * 600), ("b.jpg", b"2" * 600)])
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(ArchiveError, match="fetch it again"):
        list(PictureSource(str(path)).list())


def test_a_broken_header_is_not_the_end(tmp_path):
    """A damaged header in the middle is an error; tarfile alone would silently end there."""
    path = tmp_path / "photos.tar"
    write_tar(path, [("a.jpg", b"1"), ("b.jpg", b"2"), ("c.jpg", b"3")])
    data = bytearray(path.read_bytes())
    data[1024:1100] = b"\x55" * 76
    path.write_bytes(data)
    with pytest.raises(ArchiveError, match="damaged tar header at byte 1024: fetch it again"):
        list(PictureSource(str(path)).list())


def test_sources_that_cannot_be_read_are_refused(tmp_path):
    """Compressed archives and missing places get a line that says what to do."""
    for name, said in [("x.tar.gz", "make a plain .tar"), ("x.tar", "no such file"), ("x", "no such folder")]:
        with pytest.raises(ConfigError, match=said):
            PictureSource(str(tmp_path / name))


@pytest.mark.parametrize(
    ("key", "expected"),
    [("a.JPG", True), ("a/b.tiff", True), ("noext", True), ("a.txt", False), (".DS_Store", False), ("._a.jpg", False)],
)
def test_pictures_are_told_by_name(key, expected):
    """Suffixes of pictures count, in any case; hidden files and others do not."""
    assert is_picture(key) is expected
