"""Laws of signed jobs: what later runs, reviews and `verify` make of them, what is left unsigned, and S3."""

import shutil
import sys

import certificates
import photographs
import pytest
from finished_jobs import colorize, fabricate
from signing import DETACHED, EMBEDDED, manifest_of, outputs, scans

from raycolor import cli
from raycolor.colorize.job_record import read_job
from raycolor.colorize.review import withdraw
from raycolor.colorize.review_list import Decision
from raycolor.sign import credentials
from raycolor.storage import open_store


@pytest.mark.slow
def test_later_runs_of_the_job_know_signed_outputs(really_signed, real, who, untrained, tmp_path, capsys):
    """Nothing is made again but what was deleted; that comes back unsigned, is told, and is signed by the next run."""
    dest = shutil.copytree(really_signed, tmp_path / "out")
    before = outputs(dest)
    for flags in ({}, {"verify": True}):
        assert colorize(real / "in", dest, untrained, max_failed="0", **flags) == 0
        assert outputs(dest) == before
    (dest / "scan.jpg").unlink()
    assert colorize(real / "in", dest, untrained, max_failed="0") == 0
    assert (dest / "scan.jpg").read_bytes() == (real / "out/scan.jpg").read_bytes()
    capsys.readouterr()
    assert cli.run(["verify", str(dest)]) == 1
    assert "scan.jpg: missing (its signature" in capsys.readouterr().err
    assert cli.run(["sign", str(dest), *who]) == 0
    assert cli.run(["verify", str(dest)]) == 0
    assert {name for name, data in outputs(dest).items() if data != before[name]} == {"scan.jpg"}


@pytest.mark.slow
def test_a_redo_takes_its_signatures_back_alone(really_signed, real, who, untrained, tmp_path):
    """What is made otherwise loses its signature, a detached one too, until it is signed; all else keeps its bytes."""
    dest = shutil.copytree(really_signed, tmp_path / "out")
    before, redone = outputs(dest), {"scan.jpg", "scan.bmp"}
    assert colorize(real / "in", dest, untrained, max_failed="0", redo=tuple(redone), saturation=0.5) == 0
    after = outputs(dest)
    assert before.keys() - after.keys() == {"scan.bmp.c2pa"}
    assert {name for name in after if after[name] != before[name]} == redone
    assert cli.run(["verify", str(dest)]) == 0  # nothing is damaged
    assert cli.run(["sign", str(dest), *who]) == 0
    final = outputs(dest)
    assert final.keys() == before.keys()
    assert {name for name in final if final[name] != before[name]} == redone | {"scan.bmp.c2pa"}
    for name in ("scan.jpg", "scan.bmp"):
        manifest_of(final[name], name, final.get(f"{name}.c2pa"))


def test_what_a_review_rejects_goes_with_its_signature(signed, tmp_path):
    """An embedded and a detached one; what somebody else has put in their place stays, and all else keeps its bytes."""
    dest = shutil.copytree(signed, tmp_path / "out")
    before, store = outputs(dest), open_store(dest)
    (dest / "scan.jp2").write_bytes(b"mine")
    decisions = {name: Decision(name, "reject") for name in ("scan.jpg", "scan.bmp", "scan.jp2")}
    withdraw(decisions, read_job(store), store)
    after = outputs(dest)
    assert before.keys() - after.keys() == {"scan.jpg", "scan.bmp", "scan.bmp.c2pa", "scan.jp2.c2pa"}
    assert {name for name in after if after[name] != before[name]} == {"scan.jp2"}


def test_verify_tells_what_is_wrong_with_signatures(signed, tmp_path, who, capsys):
    """Edited, signed by somebody else, a manifest that is gone, another, or nobody's: each by name."""
    dest = shutil.copytree(signed, tmp_path / "out")
    (other,) = [certificates.make(tmp_path, name="other")]
    (dest / "box/scan.png").write_bytes(_signed_by(other, (dest / "box/scan.png").read_bytes()))
    data = bytearray((dest / "scan.jpg").read_bytes())
    data[-30] ^= 1
    (dest / "scan.jpg").write_bytes(data)
    (dest / "scan.jp2.c2pa").unlink()
    shutil.copyfile(dest / "pages.tif.c2pa", dest / "scan.bmp.c2pa")
    (dest / "mine.c2pa").write_bytes(b"mine")
    capsys.readouterr()
    assert cli.run(["verify", str(dest)]) == 1
    error = capsys.readouterr().err
    for line in (
        "box/scan.png: changed",
        "signed by Example Archive, not as the records say",
        "scan.jpg: changed (other bytes of the same number)",
        "scan.jp2.c2pa: missing (signature of scan.jp2)",
        "scan.bmp.c2pa: changed (another signature of scan.bmp than was made)",
        "mine.c2pa: foreign",
        "8 outputs, 4 as recorded, 1 missing, 3 changed; 1 other files",
    ):
        assert line in error


def _signed_by(certificate, data):
    """Return a file with a signature of somebody else."""
    from raycolor.sign.certificate import load_identity

    made = credentials.Made("x.png", "", "x.png", "", b"", {}, "0.1.0", "")
    return credentials.Signer(load_identity(*certificate)).sign(data, made).data


def test_verify_without_the_package_compares_hashes(signed, monkeypatch, capsys):
    """It says that signatures were not read, and all else is as with it."""
    monkeypatch.setitem(sys.modules, "c2pa", None)
    assert cli.run(["verify", str(signed)]) == 0
    assert "signatures are compared with their records alone" in capsys.readouterr().err


def test_what_cannot_be_signed_is_told_and_the_rest_is_signed(tmp_path, who, capsys):
    """An original that has gone or grown, an output that was edited: exit code 1, each by name, until mended."""
    names = [f"{i}.jpg" for i in range(5)]
    dest = fabricate(
        tmp_path, {name: photographs.encoded(photographs.gray_pixels(seed=int(name[0]))) for name in names}
    )
    source = {name: (tmp_path / "in" / name).read_bytes() for name in names}
    (tmp_path / "in/0.jpg").unlink()
    (tmp_path / "in/1.jpg").write_bytes(source["1.jpg"] + b"more")
    edited = (dest / "2.jpg").read_bytes()
    (dest / "2.jpg").write_bytes(edited[:-1])
    assert cli.run(["sign", str(dest), *who]) == 1
    error = capsys.readouterr().err
    for text in (
        "0.jpg: not signed: not_found",
        "1.jpg: not signed: its original has",
        "2.jpg: not signed: the output",
    ):
        assert text in error
    assert "2 signed now (2 embedded, 0 detached)" in error
    photographs.write_all(tmp_path / "in", source)
    (dest / "2.jpg").write_bytes(edited)
    assert cli.run(["sign", str(dest), *who]) == 0
    assert cli.run(["verify", str(dest)]) == 0


def test_a_file_in_the_place_of_a_manifest_stays(done, who, capsys):
    """It is named, and not written over."""
    (done / "scan.bmp.c2pa").write_bytes(b"mine")
    assert cli.run(["sign", str(done), *who]) == 1
    assert "scan.bmp.c2pa exists already, and this job did not make it" in capsys.readouterr().err
    assert (done / "scan.bmp.c2pa").read_bytes() == b"mine"


def test_without_originals_nothing_is_signed(tmp_path, who, capsys):
    """The folder of the originals has gone: one line, before anything is written."""
    dest = fabricate(tmp_path, {"a.jpg": scans()["scan.jpg"]})
    (tmp_path / "in").rename(tmp_path / "elsewhere")
    before = photographs.tree(dest)
    assert cli.run(["sign", str(dest), *who]) == 2
    assert "is not there, and what is signed names the SHA-256 of every original" in capsys.readouterr().err
    assert photographs.tree(dest) == before


def test_credentials_of_an_original_come_along(tmp_path, who):
    """What a camera had signed stands behind the ingredient: both manifests are in the file, the active one is ours."""
    camera = _signed_by(certificates.make(tmp_path, name="camera"), scans()["box/scan.png"])
    dest = fabricate(tmp_path, {"a.png": camera})
    assert cli.run(["sign", str(dest), *who]) == 0
    assert manifest_of((dest / "a.png").read_bytes(), "a.png")["ingredients"][0]["active_manifest"]


def test_what_was_copied_is_not_signed(tmp_path, who):
    """A color photograph that was only copied has nothing of a network in it."""
    dest = fabricate(tmp_path, {"c.jpg": photographs.encoded(photographs.color_pixels())}, copied=["c.jpg"])
    before = outputs(dest)
    assert cli.run(["sign", str(dest), *who]) == 0
    assert outputs(dest) == before


def test_a_job_in_s3_is_signed_there(s3, made, who):
    """As in a folder: the same files, whole signatures; what was deleted there is told and cannot be signed."""
    dest, before = s3.uri("signed"), outputs(made / "out")
    store = open_store(dest)
    for key, data in photographs.tree(made / "out").items():
        store.put(key, data)
    for _ in range(2):
        assert cli.run(["sign", dest, *who]) == 0
        assert cli.run(["verify", dest]) == 0
    after = {info.key: store.get(info.key) for info in store.list() if not info.key.startswith("_raycolor/")}
    assert after.keys() == before.keys() | {f"{name}.c2pa" for name in DETACHED}
    for name in EMBEDDED:
        manifest_of(after[name], name)
    store.delete("scan.jpg")
    assert cli.run(["verify", dest]) == 1
    assert cli.run(["sign", dest, *who]) == 1


@pytest.mark.slow
def test_from_bucket_to_bucket(s3, real, who, untrained, tmp_path):
    """The same as in folders: signed, verified, signed once, and later runs make nothing again."""
    for key, data in photographs.tree(real / "in").items():
        open_store(s3.uri("scans")).put(key, data)
    source, dest = s3.uri("scans"), s3.uri("colored")
    assert colorize(source, dest, untrained, max_failed="0") == 0
    store = open_store(dest)
    before = {info.key: store.get(info.key) for info in store.list() if not info.key.startswith("_raycolor/")}
    assert before == outputs(real / "out")
    assert cli.run(["sign", dest, *who]) == 0
    after = {info.key: store.get(info.key) for info in store.list() if not info.key.startswith("_raycolor/")}
    assert after.keys() == before.keys() | {f"{name}.c2pa" for name in DETACHED}
    for _ in range(2):
        assert cli.run(["verify", dest]) == 0
        assert cli.run(["sign", dest, *who]) == 0
        assert colorize(source, dest, untrained, max_failed="0", verify=True) == 0
    assert {key: store.get(key) for key in after} == after
