"""Laws of `raycolor sign`: each colorized output is signed once, its picture stays, and records know both bytes."""

import hashlib
import io
import json
import shutil
import signal
import subprocess
import sys
import time

import certificates
import numpy as np
import photographs
import pytest
from c2pa import Reader
from finished_jobs import CHECKPOINT, colorize, fabricate
from PIL import Image

from raycolor import cli
from raycolor.codecs import decode
from raycolor.colorize.job_record import read_job
from raycolor.colorize.memory_budget import MemoryBudget
from raycolor.colorize.outcomes import find_shard
from raycolor.colorize.redo import Again, standing
from raycolor.colorize.review import withdraw
from raycolor.colorize.review_list import Decision
from raycolor.colorize.signatures import read_signatures
from raycolor.sign import credentials
from raycolor.sign.driver import _Pass
from raycolor.sources import Input
from raycolor.storage import open_store

EMBEDDED = ("scan.jpg", "box/scan.png", "box/scan.webp", "scan.tif", "scan16.tif")
DETACHED = ("pages.tif", "scan.jp2", "scan.bmp")
MIME = {"jpg": "image/jpeg", "png": "image/png", "webp": "image/webp", "tif": "image/tiff"}


def pages():
    """Return a TIFF of two pages."""
    sink, (first, second) = io.BytesIO(), (Image.fromarray(photographs.gray_pixels(seed=k)) for k in (7, 8))
    first.save(sink, "tiff", save_all=True, append_images=[second])
    return sink.getvalue()


def scans():
    """Return a photograph of each format, in gray."""
    gray = photographs.gray_pixels()
    return {
        "scan.jpg": photographs.encoded(gray),
        "box/scan.png": photographs.encoded(gray, "png"),
        "box/scan.webp": photographs.encoded(gray, "webp", quality=90),
        "scan.tif": photographs.encoded(gray, "tiff"),
        "scan16.tif": photographs.encoded(gray.astype(np.uint16) * 257, "tiff"),
        "pages.tif": pages(),
        "scan.jp2": photographs.encoded(gray, "jpeg2000"),
        "scan.bmp": photographs.encoded(gray, "bmp"),
    }


@pytest.fixture(scope="module")
def who(tmp_path_factory):
    """The flags that name a certificate and its key."""
    chain, key = certificates.make(tmp_path_factory.mktemp("certificate"))
    return "--certificate", chain, "--key", key


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A folder with `in`, photographs of all formats, and `out`, a finished job of them; no test may change either."""
    folder = tmp_path_factory.mktemp("job")
    fabricate(folder, scans())
    return folder


@pytest.fixture(scope="module")
def real(tmp_path_factory, untrained):
    """The same by a network."""
    folder = tmp_path_factory.mktemp("real")
    photographs.write_all(folder / "in", scans())
    assert colorize(folder / "in", folder / "out", untrained, max_failed="0") == 0
    return folder


@pytest.fixture(scope="module")
def really_signed(real, who, tmp_path_factory):
    """A copy of that job that was signed; no test may change it."""
    dest = shutil.copytree(real / "out", tmp_path_factory.mktemp("really") / "out")
    assert cli.run(["sign", str(dest), *who]) == 0
    return dest


@pytest.fixture
def done(made, tmp_path):
    """A copy of the finished job, whose originals stay where they were."""
    return shutil.copytree(made / "out", tmp_path / "out")


@pytest.fixture(scope="module")
def signed(made, who, tmp_path_factory):
    """A copy of the finished job that was signed; no test may change it."""
    dest = shutil.copytree(made / "out", tmp_path_factory.mktemp("signed") / "out")
    assert cli.run(["sign", str(dest), *who]) == 0
    return dest


def outputs(dest):
    """Return name -> bytes of all that lies in DEST but for the records."""
    return {name: data for name, data in photographs.tree(dest).items() if not name.startswith("_raycolor/")}


def told(data, name, manifest=None):
    """Return the active manifest of a file, which is valid."""
    more = {} if manifest is None else {"manifest_data": manifest}
    mime = MIME.get(name.rpartition(".")[2], f"image/{name.rpartition('.')[2]}")
    with Reader(mime, io.BytesIO(data), context=credentials._context(), **more) as reader:
        assert reader.get_validation_state() == "Valid"
        return reader.get_active_manifest()


def test_every_format_is_signed_in_the_way_that_is_safe(made, signed):
    """Embedded where it is read as the same photograph, beside the file elsewhere; every signature is valid."""
    before, after = outputs(made / "out"), outputs(signed)
    assert after.keys() == before.keys() | {f"{name}.c2pa" for name in DETACHED}
    for name in EMBEDDED:
        assert after[name] != before[name]
        told(after[name], name)
    for name in DETACHED:
        assert after[name] == before[name]
        told(after[name], name, after[f"{name}.c2pa"])


def test_a_signature_says_what_was_made_from_what_by_what(made, signed):
    """The original's SHA-256 as ingredient, the network's weights, IPTC's digital source type; no thumbnail."""
    weights = CHECKPOINT["weights_sha256"]
    for name in (*EMBEDDED, *DETACHED):
        beside = signed / f"{name}.c2pa"
        about = told((signed / name).read_bytes(), name, beside.read_bytes() if beside.exists() else None)
        original = hashlib.sha256((made / "in" / name).read_bytes()).hexdigest()
        (ingredient,) = about["ingredients"]
        assert ingredient["relationship"] == "parentOf"
        assert original in ingredient["description"]
        (actions, detail) = (one["data"] for one in about["assertions"])
        assert [action["action"] for action in actions["actions"]] == ["c2pa.opened", "c2pa.color_adjustments"]
        colored = actions["actions"][1]
        assert colored["digitalSourceType"].endswith("/compositeWithTrainedAlgorithmicMedia")
        assert colored["parameters"]["org.raycolor.weights_sha256"] == weights
        assert detail["original"] == {"key": name, "sha256": original}
        assert "thumbnail" not in json.dumps(about)


def test_the_picture_stays(made, signed):
    """Every page of every file decodes to the same pixels, and metadata stay."""
    for name in EMBEDDED:
        before, after = (decode((folder / name).read_bytes()) for folder in (made / "out", signed))
        assert all(np.array_equal(a, b) for a, b in zip(before.pages, after.pages, strict=True))
        assert after.metadata.xmp == before.metadata.xmp
        with Image.open(signed / name) as picture:
            picture.load()


@pytest.mark.skipif(shutil.which("jpegtran") is None, reason="jpegtran is not installed")
def test_a_signed_jpeg_gives_the_original_back(made, signed):
    """`jpegtran -grayscale` of the signed file is byte for byte that of the original: colorizing stays reversible."""
    gray = [
        subprocess.run(["jpegtran", "-copy", "none", "-grayscale", path], capture_output=True, check=True).stdout
        for path in (made / "in/scan.jpg", signed / "scan.jpg")
    ]
    assert gray[0] == gray[1]


def test_records_hold_both_hashes(made, signed):
    """Before and after, for every output; the summary names the certificate."""
    store = open_store(signed)
    rows = {key: row for shard in range(8) for key, row in read_signatures(store, shard).items()}
    assert rows.keys() == {*EMBEDDED, *DETACHED}
    for name, row in rows.items():
        assert row.output_sha256 == hashlib.sha256((made / "out" / name).read_bytes()).hexdigest()
        assert row.signed_sha256 == hashlib.sha256((signed / name).read_bytes()).hexdigest()
    summary = json.loads((signed / "_raycolor/signatures/summary.json").read_text())
    assert summary["complete"]
    assert "CN=signer" in summary["certificate"]["subject"]


def test_detached_leaves_every_output_as_it_is(made, done, who):
    """--detached: all bytes of colorize stand, each with a manifest beside it that is valid."""
    before = outputs(done)
    assert cli.run(["sign", str(done), *who, "--detached"]) == 0
    after = outputs(done)
    assert {name: after[name] for name in before} == before
    assert after.keys() - before.keys() == {f"{name}.c2pa" for name in before}
    assert cli.run(["verify", str(done)]) == 0


def test_nothing_is_signed_twice(signed, who, tmp_path, capsys):
    """The same command again, and one with --detached: not a byte of outputs and signatures changes."""
    dest = shutil.copytree(signed, tmp_path / "out")
    before = outputs(dest)
    assert cli.run(["sign", str(dest), *who]) == 0
    assert cli.run(["sign", str(dest), *who, "--detached"]) == 0
    assert outputs(dest) == before
    assert "0 signed now (0 embedded, 0 detached), 8 before" in capsys.readouterr().err


@pytest.mark.parametrize("writes", [0, 1, 3, 7])
def test_a_stopped_pass_goes_on(done, who, monkeypatch, writes):
    """Stopped after some writes: every output is one that records know, what is signed stays, the rest is signed."""
    before, put, left = outputs(done), _Pass._put, [writes]

    def stop(self, ready):
        if left[0] == 0:
            raise KeyboardInterrupt
        left[0] -= 1
        return put(self, ready)

    with monkeypatch.context() as patched:
        patched.setattr("raycolor.sign.driver._THREADS", 1)
        patched.setattr(_Pass, "_put", stop)
        assert cli.run(["sign", str(done), *who]) == 130
    halfway = outputs(done)
    changed = {name for name in halfway if halfway[name] != before.get(name)}
    assert len(changed) == writes
    again = Again(outputs="same")
    for shard in range(4):
        inputs = [Input(outcome.key, 0, "") for outcome in find_shard(open_store(done), shard).outcomes]
        assert not standing(open_store(done), shard, inputs, again, MemoryBudget(1)).replaced
    assert cli.run(["sign", str(done), *who]) == 0
    after = outputs(done)
    assert {name: after[name] for name in changed} == {name: halfway[name] for name in changed}
    assert cli.run(["verify", str(done)]) == 0


@pytest.mark.slow
def test_a_killed_pass_goes_on(done, who):
    """SIGKILL at the first signed output: the lease of the dead is taken over, and every signature ends valid."""
    before = outputs(done)
    process = subprocess.Popen([sys.executable, "-m", "raycolor", "sign", str(done), *who])
    deadline = time.monotonic() + 120
    sizes = {done / name: len(before[name]) for name in EMBEDDED}
    while all(path.stat().st_size == size for path, size in sizes.items()) and time.monotonic() < deadline:
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    process.wait()
    halfway = {name: data for name, data in outputs(done).items() if ".raycolor-" not in name}
    assert cli.run(["sign", str(done), *who]) == 0
    after = outputs(done)
    assert not any(".raycolor-" in name for name in after)
    assert all(after[name] == halfway[name] for name in halfway if halfway[name] != before.get(name))
    assert cli.run(["verify", str(done)]) == 0


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
        told(final[name], name, final.get(f"{name}.c2pa"))


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
    assert told((dest / "a.png").read_bytes(), "a.png")["ingredients"][0]["active_manifest"]


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
        told(after[name], name)
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
