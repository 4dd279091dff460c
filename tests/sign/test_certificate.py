"""Laws of who may sign: every certificate or key that does not fit is one line, before anything is written."""

import json
import sys

import certificates
import photographs
import pytest
from cryptography.x509.oid import ExtendedKeyUsageOID
from finished_jobs import REFUSED, fabricate, unfinish

from raycolor import cli
from raycolor.colorize.job_record import JOB_KEY
from raycolor.sign.certificate import load_identity
from raycolor.sign.credentials import Made, Signer, problem_of
from raycolor.storage import open_store
from raycolor.storage.lease import Lease

PICTURE = photographs.encoded(photographs.color_pixels())


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A finished job, whose destination no test may change."""
    return fabricate(tmp_path_factory.mktemp("job"), {"a.jpg": photographs.encoded(photographs.gray_pixels())})


def spoiled(folder, kind):
    """Return certificate and key of which one cannot be used."""
    chain, key = certificates.make(folder)
    _other, other_key = certificates.make(folder, name="other")
    text = folder / "text.pem"
    text.write_text("Dear archive,\n")
    if kind == "reversed":
        blocks = (folder / "signer.pem").read_text().split("-----END CERTIFICATE-----\n")
        text.write_text("-----END CERTIFICATE-----\n".join([blocks[1], blocks[0], ""]))
    pairs = {
        "no certificate": (str(folder / "none.pem"), key),
        "no key": (chain, str(folder / "none.pem")),
        "a folder": (str(folder), key),
        "text": (str(text), key),
        "text for a key": (chain, str(text)),
        "key of another": (chain, other_key),
        "reversed": (str(text), key),
    }
    if kind in pairs:
        return pairs[kind]
    ways = {
        "expired": {"days": (-30, -1)},
        "not yet": {"days": (1, 30)},
        "passphrase": {"password": b"secret"},
        "curve": {"kind": "secp256k1"},
        "usage": {"usage": ExtendedKeyUsageOID.SERVER_AUTH},
        "no usage": {"usage": None},
    }
    return certificates.make(folder, name="bad", **ways[kind])


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("no certificate", "--certificate {folder}/none.pem: no such file"),
        ("no key", "--key {folder}/none.pem: no such file"),
        ("a folder", "--certificate {folder}: cannot be read"),
        ("text", "no PEM certificate in it"),
        ("text for a key", "no PEM private key in it"),
        ("key of another", "is not the key of the certificate"),
        ("reversed", "put the certificate of the key first"),
        ("expired", "O=Example Archive: expired on 20"),
        ("not yet", "O=Example Archive: not valid before 20"),
        ("passphrase", "is protected by a passphrase"),
        ("curve", "C2PA takes Ed25519, EC P-256"),
        ("usage", "C2PA does not take CN=bad"),
        ("no usage", "C2PA does not take CN=bad"),
    ],
)
def test_who_cannot_sign_is_one_line(made, tmp_path, kind, message, capsys):
    """Exit code 2, what is wrong with which file, and not a byte in DEST is other than before."""
    before = photographs.tree(made)
    chain, key = spoiled(tmp_path, kind)
    assert cli.run(["sign", str(made), "--certificate", chain, "--key", key]) == 2
    error = capsys.readouterr().err
    assert message.format(folder=tmp_path) in error
    assert error.count("\n") == 1
    assert photographs.tree(made) == before


@pytest.mark.parametrize("kind", ["es256", "es384", "es512", "ed25519", "ps256"])
def test_every_kind_of_key_signs(tmp_path, kind):
    """The signature is valid, and of no other bytes than those that were signed."""
    signer = Signer(load_identity(*certificates.make(tmp_path, kind)))
    made = Made("a.jpg", "12", "b.jpg", "34", PICTURE, {"name": "default", "weights_sha256": "56"}, "0.1.0", "")
    signed = signer.sign(PICTURE, made)
    assert problem_of(signed.data, None) is None
    edited = bytearray(signed.data)
    edited[-40] ^= 1
    assert "dataHash.mismatch" in problem_of(bytes(edited), None)


@pytest.mark.parametrize(
    ("kind", "message"),
    [*REFUSED, ("nowhere", "no such folder"), ("another raycolor's", "format version 99, this raycolor reads 1")],
)
def test_what_cannot_be_signed_is_one_line(tmp_path, kind, message, capsys):
    """No job, one that has not ended, no place at all: what it is, and nothing is written there."""
    dest = fabricate(tmp_path, {"a.jpg": photographs.encoded(photographs.gray_pixels())})
    if not unfinish(dest, kind) and kind != "nowhere":
        job = json.loads((dest / JOB_KEY).read_text())
        (dest / JOB_KEY).write_text(json.dumps({**job, "format_version": 99}))
    chain, key = certificates.make(tmp_path)
    before = photographs.tree(tmp_path)
    place = tmp_path / "nowhere" if kind == "nowhere" else dest
    assert cli.run(["sign", str(place), "--certificate", chain, "--key", key]) in (1, 2)
    error = capsys.readouterr().err.strip().splitlines()
    assert message in error[-1]
    assert error[-1].startswith("raycolor: ")
    assert photographs.tree(tmp_path) == before


def test_a_job_that_runs_is_left_alone(made, tmp_path, capsys):
    """Whoever holds the destination keeps it: one line, and no output changes."""
    chain, key = certificates.make(tmp_path)
    before = photographs.tree(made)
    with Lease(open_store(made)):
        assert cli.run(["sign", str(made), "--certificate", chain, "--key", key]) == 1
    assert "another raycolor job is writing there" in capsys.readouterr().err
    assert photographs.tree(made) == before


def test_without_its_package_it_says_how_to_get_it(made, tmp_path, monkeypatch, capsys):
    """One line, and nothing is written."""
    chain, key = certificates.make(tmp_path)
    before = photographs.tree(made)
    monkeypatch.setitem(sys.modules, "c2pa", None)
    assert cli.run(["sign", str(made), "--certificate", chain, "--key", key]) == 2
    assert "pip install 'raycolor[sign]'" in capsys.readouterr().err
    assert photographs.tree(made) == before
