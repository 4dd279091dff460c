"""Laws of `raycolor package` over a signed job, and of XMP sidecars for what can hold no XMP."""

import io
import shutil
import xml.etree.ElementTree as ET

import bagit
import certificates
import finished_jobs
import photographs
import pytest
from PIL import Image
from test_package import check_by_rfc, check_order, identifiers, package, read_back

from raycolor import cli
from raycolor.codecs.xmp import DIGITAL_SOURCE_TYPE


def bare_jpeg_2000(pixels):
    """Return pixels as a JPEG 2000 codestream without a container."""
    sink = io.BytesIO()
    Image.fromarray(pixels).save(sink, "jpeg2000", no_jp2=True)
    return sink.getvalue()


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A finished job of a JPEG, a TIFF of two pages, a BMP, bare and boxed JPEG 2000, and a BMP of no such name."""
    folder, gray = tmp_path_factory.mktemp("job"), photographs.gray_pixels()
    pages = io.BytesIO()
    Image.fromarray(gray).save(pages, "tiff", save_all=True, append_images=[Image.fromarray(gray[::-1])])
    files = {
        "a.jpg": photographs.encoded(gray),
        "pages.tif": pages.getvalue(),
        "box/a.bmp": photographs.encoded(gray, "bmp"),
        "box/a.j2k": bare_jpeg_2000(gray),
        "box/a.jp2": photographs.encoded(gray, "jpeg2000"),
        "scan": photographs.encoded(gray, "bmp"),
    }
    return finished_jobs.fabricate(folder, files)


@pytest.fixture(scope="module")
def who(tmp_path_factory):
    """The flags that name a certificate and its key."""
    chain, key = certificates.make(tmp_path_factory.mktemp("certificate"))
    return "--certificate", chain, "--key", key


@pytest.fixture(scope="module")
def signed(made, who, tmp_path_factory):
    """A copy of the job that was signed; no test may change it."""
    # Its originals lie beside the job that it is a copy of.
    dest = shutil.copytree(made, tmp_path_factory.mktemp("signed") / "out")
    assert cli.run(["sign", str(dest), *who]) == 0
    return dest


SIDECARS = {"box/a.bmp.xmp", "box/a.j2k.xmp", "scan.xmp"}


def test_what_holds_no_xmp_gets_a_sidecar(made, tmp_path):
    """BMP and bare JPEG 2000, whatever their names, and no other; it says what other formats say in their XMP."""
    assert package(made, tmp_path / "bag") == 0
    bagit.Bag(str(tmp_path / "bag")).validate()
    check_by_rfc(tmp_path / "bag")
    data = photographs.tree(tmp_path / "bag" / "data")
    assert data.keys() - photographs.tree(made).keys() == SIDECARS
    for name in SIDECARS:
        ET.fromstring(data[name].decode().strip("\ufeff"))
        assert DIGITAL_SOURCE_TYPE.encode() in data[name]
    first = photographs.tree(tmp_path / "bag")
    assert package(made, tmp_path / "bag") == 0
    assert photographs.tree(tmp_path / "bag") == first


def test_a_signed_job_is_packed_as_it_is_signed(signed, tmp_path):
    """Signed outputs, detached manifests and records, with the right sums; the bag's data is a job that verifies."""
    assert package(signed, tmp_path / "bag", "--premis") == 0
    bagit.Bag(str(tmp_path / "bag")).validate()
    check_by_rfc(tmp_path / "bag")
    data, there = photographs.tree(tmp_path / "bag" / "data"), photographs.tree(signed)
    assert {"pages.tif.c2pa", "box/a.bmp.c2pa"} < data.keys()
    assert data.keys() - there.keys() == SIDECARS
    assert {name: data[name] for name in there} == there
    assert cli.run(["verify", str(tmp_path / "bag" / "data")]) == 0
    first = photographs.tree(tmp_path / "bag")
    assert package(signed, tmp_path / "bag", "--premis") == 0
    assert photographs.tree(tmp_path / "bag") == first


def test_premis_tells_of_signatures(signed, tmp_path):
    """One more event for each output; sums are those of the bag, and the original has one, too."""
    package(signed, tmp_path / "bag", "--premis")
    found, signatures, originals = {}, 0, 0
    for part in (tmp_path / "bag" / "metadata" / "premis").iterdir():
        root = ET.parse(part).getroot()
        check_order(root)
        events = [value for _, value in identifiers(root, "event/eventIdentifier", "event")]
        signatures += sum(value.startswith("signature of ") for value in events)
        assert len(set(events)) == len(events)
        space = "{http://www.loc.gov/premis/v3}"
        for one in root.iterfind(f"{space}object"):
            (kind, value), digest = (text.text for text in one[0]), one.findtext(f".//{space}messageDigest")
            if kind == "bag path":
                found[value] = digest
            else:
                originals += digest is not None
    assert signatures == originals == len(found) == 6
    sums = read_back(tmp_path / "bag")
    assert found == {path: sums[path] for path in found}


def test_a_job_that_is_signed_in_part_is_refused(signed, tmp_path, who, capsys):
    """An output that was made again since is unsigned: one line, and no bag."""
    dest = shutil.copytree(signed, tmp_path / "out")
    part = min((dest / "_raycolor" / "signatures").glob("part-*"))
    part.unlink()
    assert package(dest, tmp_path / "bag") == 1
    assert "is not signed, and others are: run `raycolor sign` again" in capsys.readouterr().err
    assert not (tmp_path / "bag").exists()


def test_a_signed_output_that_changed_is_named(signed, tmp_path, capsys):
    """As for unsigned ones; so is a detached manifest."""
    for name in ("a.jpg", "pages.tif.c2pa"):
        dest = shutil.copytree(signed, tmp_path / name)
        data = bytearray((dest / name).read_bytes())
        data[-5] ^= 1
        (dest / name).write_bytes(data)
        assert package(dest, tmp_path / f"bag {name}") == 1
        assert f"{name}: has changed: run `raycolor verify`" in capsys.readouterr().err
