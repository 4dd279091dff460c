"""Laws of what a dataset is made of: folders, and archives that are read in place."""

import io
import tarfile
import zipfile

import pytest

from raycolor.errors import ArchiveError, ConfigError
from raycolor.prepare.candidates import choose
from raycolor.prepare.config import PrepareConfig
from raycolor.prepare.source import is_picture, list_inputs
from raycolor.sources.open import open_source


def write_tar(path, members, mode="w"):
    with tarfile.open(path, mode) as tar:
        for name, data in members:
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))


def listed(path):
    """The inputs of a source, and how to read them."""
    source = open_source(str(path), archives=False)
    return [(info.key, source.reader.get_any(info)) for info in list_inputs(source)]


def test_tar_members_are_read_in_place(tmp_path):
    """Every member's bytes come from its offset, long and odd names included; folders and links are no members."""
    members = [("./a.jpg", b"one"), ("b/" + "long" * 60 + ".jpg", b"two" * 999), ("é.jpg", b""), ("c", b"x" * 512)]
    path = tmp_path / "photos.tar"
    write_tar(path, members)
    with tarfile.open(path, "a") as tar:
        folder = tarfile.TarInfo("folder")
        folder.type = tarfile.DIRTYPE
        tar.addfile(folder)
        link = tarfile.TarInfo("link.jpg")
        link.type, link.linkname = tarfile.SYMTYPE, "c"
        tar.addfile(link)
    assert listed(path) == [(name.removeprefix("./"), data) for name, data in members]


def test_zip_members_are_read_in_place(tmp_path):
    """A zip gives the keys and bytes of its members too."""
    with zipfile.ZipFile(tmp_path / "photos.zip", "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("a/1.jpg", b"one" * 99)
        file.writestr("b.jpg", b"two")
    assert listed(tmp_path / "photos.zip") == [("a/1.jpg", b"one" * 99), ("b.jpg", b"two")]


def test_folder_members_are_its_files(tmp_path):
    """A folder lists its files by key and reads them: archives are files like others, and no folder is clutter."""
    files = {"@eaDir/2.jpg": b"two", "a/1.jpg": b"one", "b.tar": bytes(1024)}
    for key, data in files.items():
        (tmp_path / key).parent.mkdir(exist_ok=True)
        (tmp_path / key).write_bytes(data)
    assert dict(listed(tmp_path)) == files


def test_a_single_file_is_a_source(tmp_path):
    """One photograph is a source of one."""
    (tmp_path / "1.jpg").write_bytes(b"one")
    assert listed(tmp_path / "1.jpg") == [("1.jpg", b"one")]


@pytest.mark.parametrize("keep", [0, 100, 513, 700, 1536, 1536 + 100, 3072])
def test_a_tar_cut_short_is_refused(tmp_path, keep):
    """A download that stopped is an error, wherever it stopped, not a smaller dataset; between two members, too."""
    path = tmp_path / "photos.tar"
    write_tar(path, [("a.jpg", b"1" * 600), ("b.jpg", b"2" * 600)])
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(ArchiveError, match="fetch it again"):
        listed(path)


def test_a_broken_header_is_not_the_end(tmp_path):
    """A damaged header in the middle is an error; tarfile alone would silently end there."""
    path = tmp_path / "photos.tar"
    write_tar(path, [("a.jpg", b"1"), ("b.jpg", b"2"), ("c.jpg", b"3")])
    data = bytearray(path.read_bytes())
    data[1024:1100] = b"\x55" * 76
    path.write_bytes(data)
    with pytest.raises(ArchiveError, match="damaged tar header at byte 1024: fetch it again"):
        listed(path)


def test_sources_that_cannot_be_read_are_refused(tmp_path):
    """Compressed archives and missing places get a line that says what to do."""
    (tmp_path / "x.tar.gz").write_bytes(b"any")
    (tmp_path / "x.tar").write_bytes(b"no tar" * 200)
    for name, error, said in [
        ("x.tar.gz", ConfigError, "make a .tar"),
        ("x.tar", ArchiveError, "no archive: fetch it again"),
        ("y.tar", ConfigError, "no such folder"),
    ]:
        with pytest.raises(error, match=said):
            listed(tmp_path / name)


@pytest.mark.parametrize(
    ("key", "expected"),
    [("a.JPG", True), ("a/b.tiff", True), ("noext", True), ("a.txt", False), (".DS_Store", False), ("._a.jpg", False)],
)
def test_pictures_are_told_by_name(key, expected):
    """Suffixes of pictures count, in any case; hidden files and others do not."""
    assert is_picture(key) is expected


def test_globs_choose_candidates(tmp_path):
    """--include and --exclude are globs of keys, inside an archive too; what they leave out is no other file."""
    write_tar(tmp_path / "photos.tar", [("a/1.jpg", b"one"), ("a/2.JPG", b"two"), ("b/3.jpg", b"three"), ("c", b"")])
    config = PrepareConfig(
        source=str(tmp_path / "photos.tar"), dataset=str(tmp_path / "out"), include=("*.jpg",), exclude=("b/*",)
    )
    chosen = choose(config)
    assert sorted(info.key for split in chosen.splits for info in split.candidates) == ["a/1.jpg", "a/2.JPG"]
    assert chosen.other_files == 0
