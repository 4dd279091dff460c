"""Laws of archives as sources: every member is an input, and no archive harms anything."""

import gzip
import io
import pickle
import stat
import struct
import tarfile
import warnings
import zipfile
import zlib

import packs
import photographs
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from raycolor.errors import DecodeError, StorageError
from raycolor.sources import Reader, open_source, zips
from raycolor.sources import streams as streams_module
from raycolor.sources.keys import member_key
from raycolor.sources.tars import next_header
from raycolor.storage import check_key, open_store

MEMBERS = [
    ("a.jpg", b"first"),
    ("deep/er/b.tif", bytes(range(256)) * 40),
    ("empty.png", b""),
    ("ü \n.jpg", b"x" * 1000),
]


@pytest.fixture
def read(tmp_path):
    """A function that makes a folder of archives and returns key -> bytes or problem, as a worker would see it."""

    def read(files, archives=True, **options):
        photographs.write_all(tmp_path / "in", files)
        source = open_source(str(tmp_path / "in"), archives=archives)
        return packs.read_all(source, pickle.loads(pickle.dumps(Reader(source.root))), **options)

    return read


@pytest.mark.parametrize("kind", packs.MAKERS)
def test_members_are_inputs_below_the_archives_key(read, kind):
    """Every file of an archive is read back whole under archive/member; folders are none; others stay as they are."""
    name = f"box/photos.{kind}"
    found = read({name: packs.MAKERS[kind](MEMBERS), "plain.jpg": b"plain"})
    assert found == {**{f"{name}/{key}": data for key, data in MEMBERS}, "plain.jpg": b"plain"}


@pytest.mark.parametrize("kind", ["tar", "tgz", "zip"])
def test_any_member_can_be_read_alone_and_in_any_order(tmp_path, kind):
    """A worker needs no other member first, and may go back."""
    photographs.write_all(tmp_path, {f"p.{kind}": packs.MAKERS[kind](MEMBERS)})
    source = open_source(str(tmp_path))
    inputs, reader = list(source.inputs("/nowhere")), Reader(source.root)
    for index in (3, 1, 0, 2, 1):
        assert reader.get(inputs[index]) == MEMBERS[index][1]


def test_no_archives_keeps_them_as_single_inputs(read):
    """--no-archives takes nothing apart."""
    data = packs.tar(MEMBERS)
    assert read({"p.tar": data}, archives=False) == {"p.tar": data}


def test_archives_are_told_by_their_content(read):
    """A tar named .tgz is a tar, a packed one named .tar is packed, and a photograph named .zip is a photograph."""
    files = {"a.tgz": packs.tar(MEMBERS[:1]), "b.tar": packs.tgz(MEMBERS[:1]), "c.zip": b"\xff\xd8no zip", "d.tar": b""}
    assert read(files) == {"a.tgz/a.jpg": b"first", "b.tar/a.jpg": b"first", "c.zip": files["c.zip"], "d.tar": b""}


def test_archives_inside_archives_stay_closed(read):
    """A tar inside a zip is one input."""
    inner = packs.tar(MEMBERS)
    assert read({"o.zip": packs.zipped([("i.tar", inner)])}) == {"o.zip/i.tar": inner}


@pytest.mark.parametrize("kind", ["tar", "tgz", "zip"])
def test_members_of_one_name_all_become_inputs(read, kind):
    """Later ones get a number, also where that name is taken, and where names differ only before cleaning."""
    names = ["x.jpg", "x.jpg", "x~2.jpg", "./x.jpg", "/x.jpg", "raw", "raw"]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # zipfile warns of what is meant here
        data = packs.MAKERS[kind]([(name, bytes([i])) for i, name in enumerate(names)])
    expected = ["x.jpg", "x~2.jpg", "x~2~2.jpg", "x~3.jpg", "x~4.jpg", "raw", "raw~2"]
    assert read({f"p.{kind}": data}) == {f"p.{kind}/{name}": bytes([i]) for i, name in enumerate(expected)}


@pytest.mark.parametrize("kind", ["tar", "tgz", "zip"])
@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("../../etc/passwd", "%2E%2E/%2E%2E/etc/passwd"),
        ("/etc/passwd", "etc/passwd"),
        ("//a//b/./c", "a/b/c"),
        ("C:/x.jpg", "C%3A/x.jpg"),
        ("a/..", "a/%2E%2E"),
        (".", "unnamed"),
        (".raycolor-1234", "%2Eraycolor-1234"),
        ("~root/x", "~root/x"),
        ("n" * 900 + ".jpg", "n" * 900 + ".jpg"),
    ],
)
def test_hostile_names_stay_below_the_archive(read, tmp_path, kind, name, key):
    """Whatever a member is called, its key is one that every store takes, below the archive's."""
    assert read({f"p.{kind}": packs.MAKERS[kind]([(name, b"data")])}) == {f"p.{kind}/{key}": b"data"}


@settings(deadline=None)
@given(st.text(alphabet=st.one_of(st.sampled_from("./\\:\0C~%"), st.characters()), max_size=30))
def test_every_name_gives_a_key_inside_the_destination(name):
    """A law over all names, NUL and surrogates included: the key is valid UTF-8 and leads nowhere else."""
    key = member_key("p.tar", name)
    check_key(key)
    key.encode()
    store = open_store("/dest")
    assert store.path(key).is_relative_to("/dest/p.tar")


def test_backslashes_in_a_zip_are_folders(read):
    """Windows programs write them; `..` between them is as harmless as between slashes."""
    data = packs.zipped([("aXb.jpg", b"1"), ("XXX..Xc.jpg", b"2")]).replace(b"X", b"\\")
    assert read({"p.zip": data}) == {"p.zip/a/b.jpg": b"1", "p.zip/%2E%2E/c.jpg": b"2"}


def test_links_and_devices_are_skipped_with_a_reason(read):
    """They are no photographs, and are never followed."""
    kinds = {
        "s": tarfile.SYMTYPE,
        "h": tarfile.LNKTYPE,
        "c": tarfile.CHRTYPE,
        "b": tarfile.BLKTYPE,
        "f": tarfile.FIFOTYPE,
    }
    members = [packs.special(name, kind, "/etc/passwd") for name, kind in kinds.items()]
    link = zipfile.ZipInfo("s")
    link.create_system, link.external_attr = 3, (stat.S_IFLNK | 0o777) << 16
    found = read({"p.tar": packs.tar([*members, packs.special("folder", tarfile.DIRTYPE), MEMBERS[0]]),
                  "q.zip": packs.zipped([(link, "/etc/passwd"), ("folder/", b"")])})  # fmt: skip
    assert found.pop("p.tar/a.jpg") == b"first"
    assert set(found) == {*(f"p.tar/{name}" for name in kinds), "q.zip/s"}
    assert {(problem[0], problem[2]) for problem in found.values()} == {("not_a_photograph", "SkippedInputError")}
    assert "a symbolic link" in found["p.tar/s"][1]


@pytest.mark.parametrize("kind", ["tar", "tgz"])
@pytest.mark.parametrize("sixteenth", range(1, 16))
def test_a_cut_tar_keeps_what_lies_before_the_cut(read, kind, sixteenth):
    """Members before the cut are read whole, and the archive itself is one failed input."""
    members = [(f"{i}.jpg", bytes([i * 7 % 256]) * 700 + str(i).encode() * 300) for i in range(24)]
    # What follows the last member of a tar, end mark and padding, may go missing: there lies nothing.
    data = packs.tar(members, end=False) if kind == "tar" else packs.tgz(members)
    name = f"p.{kind}"
    found = read({name: data[: len(data) * sixteenth // 16]})
    problem = found.pop(name)
    assert problem[0] == "truncated"
    assert list(found.items()) == [(f"{name}/{key}", data) for key, data in members[: len(found)]]
    if kind == "tar":
        assert len(found) >= sixteenth * 24 // 16 - 3


def test_what_tarfile_does_not_document_is_there():
    """`next_header` keeps no header and says where the next one is, whichever Python runs it."""
    with tarfile.open(fileobj=io.BytesIO(packs.tar(MEMBERS))) as tar:
        offsets = []
        while (found := next_header(tar)) is not None:
            assert tar.members == []
            offsets.append((found[0].offset, found[1]))
    assert [end for _, end in offsets[:-1]] == [begin for begin, _ in offsets[1:]]


def test_a_tar_without_its_end_mark_is_told(read):
    """Cut exactly between two members, a tar looks whole but for the mark."""
    found = read({"p.tar": packs.tar(MEMBERS, end=False)})
    assert found.pop("p.tar")[0] == "truncated"
    assert len(found) == 4


def test_a_damaged_header_ends_the_tar_but_not_the_members_before(read):
    """decode_error for the archive; what was read stays."""
    data = bytearray(packs.tar(MEMBERS))
    data[1024 + 100] ^= 0xFF
    found = read({"p.tar": bytes(data)})
    assert found.pop("p.tar")[:1] == ("decode_error",)
    assert found == {"p.tar/a.jpg": b"first"}


def test_a_broken_archive_is_told_whatever_patterns_take(read):
    """--include '*.jpg' must not hide that members are missing; --exclude of the archive leaves out all."""
    data = packs.tar(MEMBERS)[:2000]
    assert set(read({"p.tar": data}, include=("*.jpg",))) == {"p.tar", "p.tar/a.jpg"}
    assert read({"p.tar": data}, exclude=("p.tar",)) == {}
    assert set(read({"p.tar": packs.tar(MEMBERS)}, include=("*.tif",))) == {"p.tar/deep/er/b.tif"}


def test_a_cut_or_damaged_zip_is_one_failed_input(read):
    """Its directory stands at the end: without it no member is known."""
    data = packs.zipped(MEMBERS)
    for cut in range(1, 16):
        found = read({"p.zip": data[: len(data) * cut // 16]})
        assert {key: problem[0] for key, problem in found.items()} == {"p.zip": "truncated"}


def test_a_damaged_member_of_a_zip_costs_itself(read):
    """The checksum inside the zip is checked."""
    data = bytearray(packs.zipped(MEMBERS, zipfile.ZIP_STORED))
    data[data.index(b"first")] ^= 1
    found = read({"p.zip": bytes(data)})
    assert found.pop("p.zip/a.jpg")[:2] == ("decode_error", "the checksum inside the zip is wrong")
    assert found == {f"p.zip/{key}": data for key, data in MEMBERS[1:]}


@pytest.mark.parametrize("claim", [4 << 30, (1 << 40) + 1, (4 << 30) - 2])
def test_claims_of_gigabytes_cost_nothing(read, claim):
    """A tar member, a zip member and a header that claim 4 GB and more are refused without allocating them."""
    header = tarfile.TarInfo("big.jpg")
    header.size = claim
    name = tarfile.TarInfo("././@LongLink")
    name.type, name.size = tarfile.GNUTYPE_LONGNAME, claim
    zip_data = bytearray(packs.zipped([("big.jpg", b"small")]))
    at = zip_data.index(b"PK\1\2")
    zip_data[at + 20 : at + 28] = struct.pack("<2L", 5, min(claim, 0xFFFFFFFE))
    blocks = {key: info.tobuf(tarfile.GNU_FORMAT) + bytes(2048) for key, info in {"m": header, "h": name}.items()}
    found = read({"m.tar": blocks["m"], "h.tar": blocks["h"], "z.zip": bytes(zip_data)})
    assert found["m.tar"][0] == "truncated"
    assert found["h.tar"][:2] == ("decode_error", f"a header claims {-(-claim // 512) * 512} bytes")
    assert found["z.zip/big.jpg"][0] == "too_large"
    assert len(found) == 3


def test_a_zip_member_never_unpacks_to_more_than_it_says(read):
    """Sizes in the directory are claims: a deflate stream that goes on is cut off and refused."""
    data = bytearray(packs.zipped([("bomb.jpg", bytes(10_000_000))]))
    at = data.index(b"PK\1\2")
    data[at + 24 : at + 28] = struct.pack("<L", 1000)
    assert read({"p.zip": bytes(data)})["p.zip/bomb.jpg"][:2] == ("decode_error", "unpacks to more than 1000 bytes")
    packed = zlib.compress(bytes(10_000_000), wbits=-15)
    assert len(zips._unpack(memoryview(packed), zipfile.ZIP_DEFLATED, 1000)) == 1001


def test_members_that_overlap_are_refused(read):
    """A zip whose members share their bytes would unpack to any size."""
    data = packs.zipped([("a.jpg", bytes(100_000))])
    at, end = data.index(b"PK\1\2"), data.index(b"PK\5\6")
    entry, tail = data[at:end], bytearray(data[end:])
    tail[8:12] = struct.pack("<2H", 500, 500)
    tail[12:16] = struct.pack("<L", 500 * len(entry))
    found = read({"p.zip": data[:at] + entry * 500 + bytes(tail)})
    assert found["p.zip"][0] == "too_large"
    assert len(found) < 500


def test_a_gzip_bomb_is_stopped(read, monkeypatch):
    """A packed tar is given up once it has unpacked to 200 times its size."""
    monkeypatch.setattr(streams_module, "_FREE_BYTES", 1_000_000)
    found = read({"p.tgz": packs.tgz([("a.jpg", b"first"), ("zeros.jpg", bytes(20_000_000))])})
    assert found.pop("p.tgz")[0] == "too_large"
    assert found == {"p.tgz/a.jpg": b"first"}


def test_what_cannot_be_unpacked_is_named(read):
    """Encrypted and strangely packed members are inputs that fail by themselves."""
    data = bytearray(packs.zipped([("a.jpg", b"1"), ("b.jpg", b"2")]))
    first = data.index(b"PK\1\2")
    second = data.index(b"PK\1\2", first + 1)
    data[first + 8] |= 1
    data[second + 10] = 14
    found = read({"p.zip": bytes(data), "l.zip": packs.zipped([("a.jpg", b"1")], zipfile.ZIP_BZIP2)})
    assert found == {
        "l.zip/a.jpg": b"1",
        "p.zip/a.jpg": ("unsupported_format", "encrypted inside a zip", "ImageError"),
        "p.zip/b.jpg": ("unsupported_format", "packed inside a zip by LZMA", "ImageError"),
    }


def test_unusual_but_whole_archives_are_read(read):
    """Several gzip members in a row, a zip with bytes in front, pax headers."""
    data = packs.tar(MEMBERS, mode="w")
    pax = tarfile.TarInfo("é" * 200)
    pax.pax_headers = {"comment": "x" * 5000}
    sink = io.BytesIO()
    with tarfile.open(fileobj=sink, mode="w", format=tarfile.PAX_FORMAT) as archive:
        archive.addfile(pax)
    files = {
        "a.tgz": gzip.compress(data[:3000]) + gzip.compress(data[3000:]) + bytes(100),
        "b.zip": b"#!/bin/sh\n" * 50 + packs.zipped(MEMBERS),
        "c.tar": sink.getvalue(),
    }
    files["b.zip"] = b"PK\3\4" + files["b.zip"][4:]  # told as a zip by its first bytes
    found = read(files)
    assert {key: data for key, data in found.items() if key[0] == "a"} == {f"a.tgz/{k}": d for k, d in MEMBERS}
    assert {key: data for key, data in found.items() if key[0] == "b"} == {f"b.zip/{k}": d for k, d in MEMBERS}
    assert found["c.tar/" + "é" * 200] == b""


def test_a_zip_of_more_members_than_it_can_count(tmp_path):
    """The end record counts 16 bits, and not every writer knows the larger one: the directory itself is measured."""
    data = packs.zipped([("a", b"")], zipfile.ZIP_STORED)
    at, end = data.index(b"PK\1\2"), data.index(b"PK\5\6")
    entry, tail = data[at:end], bytearray(data[end:])
    tail[8:12] = struct.pack("<2H", 3, 3)
    tail[12:16] = struct.pack("<L", 65_539 * len(entry))
    photographs.write_all(tmp_path, {"p.zip": data[:at] + entry * 65_539 + bytes(tail)})
    assert sum(1 for _ in open_source(str(tmp_path)).inputs("/nowhere")) == 65_539


@pytest.mark.parametrize("kind", ["tar", "tgz", "zip"])
def test_an_archive_that_was_replaced_is_noticed(tmp_path, kind):
    """Bytes of another file never pass as the member that was listed."""
    photographs.write_all(tmp_path, {f"p.{kind}": packs.MAKERS[kind]([("0", b"?" * 5000), *MEMBERS])})
    source = open_source(str(tmp_path))
    inputs = list(source.inputs("/nowhere"))
    photographs.write_all(tmp_path, {f"p.{kind}": packs.MAKERS[kind]([("0", b"!" * 7000), *MEMBERS])})
    with pytest.raises(DecodeError, match=r"changed since|no member at byte"):
        Reader(source.root).get(inputs[2])


@pytest.mark.parametrize("kind", ["tar", "tgz", "zip"])
def test_an_archive_that_is_gone_is_not_found(tmp_path, kind):
    """Its members end as any other input that was removed after the listing."""
    photographs.write_all(tmp_path, {f"p.{kind}": packs.MAKERS[kind](MEMBERS)})
    source = open_source(str(tmp_path))
    inputs = list(source.inputs("/nowhere"))
    (tmp_path / f"p.{kind}").unlink()
    with pytest.raises(StorageError, match="no such") as caught:
        Reader(source.root).get(inputs[0])
    assert caught.value.reason == "not_found"


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    kind=st.sampled_from(["tar", "tgz", "zip"]),
    flips=st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(1, 255)), min_size=1, max_size=6),
)
def test_damage_anywhere_ends_in_inputs_and_outcomes(read, kind, flips):
    """Flipped bytes never raise anything but an outcome; a member of a zip is read as it was or not at all."""
    data = bytearray(packs.MAKERS[kind](MEMBERS))
    for place, mask in flips:
        data[int(place * len(data))] ^= mask
    name = f"p.{kind}"
    found = {key: value for key, value in read({name: bytes(data)}).items() if key.startswith(name)}
    assert found
    for key, value in found.items():
        check_key(key)
        if kind == "zip" and isinstance(value, bytes):
            # Where not even the kind can be told the archive is an input itself. A packed tar's checksum comes last.
            assert value in {bytes(data), *dict(MEMBERS).values()}
