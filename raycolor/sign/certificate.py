"""Who signs: a certificate chain and its key, checked before anything is signed."""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from raycolor.errors import ConfigError

MISSING_PACKAGE: Final = "raycolor sign: its package is not installed: `pip install 'raycolor[sign]'`"


@dataclass(frozen=True)
class Identity:
    """A certificate chain, leaf first, and the leaf's private key."""

    chain_pem: bytes
    key_pem: bytes
    algorithm: str
    """As C2PA names it: `es256`, `ps256`, `ed25519`, ..."""
    sha256: str
    """Of the leaf certificate."""
    subject: str
    ends: datetime.datetime


def load_identity(certificate: str, key: str) -> Identity:
    """Read a certificate chain and its private key.

    Args:
        certificate: PEM file, the signer's own certificate first.
        key: PEM file, without a passphrase.

    Raises:
        ConfigError: a file that is missing or holds something else, a certificate that has expired or is not valid yet,
            a key of another certificate or of a kind that C2PA does not know, or no package that could tell.
    """
    try:
        from cryptography import x509
    except ImportError as exc:
        raise ConfigError(MISSING_PACKAGE) from exc
    from cryptography.hazmat.primitives import hashes, serialization

    chain_pem, key_pem = _read("--certificate", certificate), _read("--key", key)
    try:
        chain = x509.load_pem_x509_certificates(chain_pem)
    except ValueError as exc:
        raise ConfigError(f"--certificate {certificate}: no PEM certificate in it: give the signer's, as PEM") from exc
    try:
        private = serialization.load_pem_private_key(key_pem, password=None)
    except TypeError as exc:
        raise ConfigError(
            f"--key {key}: is protected by a passphrase: give a copy without one (`openssl pkey -in {key}`)"
        ) from exc
    except ValueError as exc:
        raise ConfigError(f"--key {key}: no PEM private key in it: give the certificate's key") from exc
    leaf = chain[0]
    if _public(leaf) != _public(private):
        others = any(_public(one) == _public(private) for one in chain[1:])
        raise ConfigError(
            f"--certificate {certificate}: put the certificate of the key first, those above it behind it"
            if others
            else f"--key {key}: is not the key of the certificate {certificate}: give its own"
        )
    _check_dates(certificate, chain)
    return Identity(
        chain_pem,
        key_pem,
        _algorithm(key, private),
        leaf.fingerprint(hashes.SHA256()).hex(),
        leaf.subject.rfc4514_string(),
        leaf.not_valid_after_utc,
    )


def _read(flag: str, path: str) -> bytes:
    place = Path(path).expanduser()
    try:
        return place.read_bytes()
    except FileNotFoundError as exc:
        raise ConfigError(f"{flag} {path}: no such file: check the path") from exc
    except OSError as exc:
        raise ConfigError(f"{flag} {path}: cannot be read ({exc.strerror}): give a file") from exc


def _public(one: Any) -> bytes:
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    data: bytes = one.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return data


def _check_dates(path: str, chain: Sequence[Any]) -> None:
    now = datetime.datetime.now(datetime.UTC)
    for one in chain:
        what = f"--certificate {path}: {one.subject.rfc4514_string()}"
        if now > one.not_valid_after_utc:
            raise ConfigError(f"{what}: expired on {one.not_valid_after_utc:%Y-%m-%d}: give one that is valid")
        if now < one.not_valid_before_utc:
            raise ConfigError(f"{what}: not valid before {one.not_valid_before_utc:%Y-%m-%d}: wait, or mend the clock")


def _algorithm(path: str, private: Any) -> str:
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

    if isinstance(private, ed25519.Ed25519PrivateKey):
        return "ed25519"
    if isinstance(private, ec.EllipticCurvePrivateKey):
        curves = {"secp256r1": "es256", "secp384r1": "es384", "secp521r1": "es512"}
        if private.curve.name in curves:
            return curves[private.curve.name]
    if isinstance(private, rsa.RSAPrivateKey) and private.key_size >= 2048:
        return "ps256"
    raise ConfigError(f"--key {path}: C2PA takes Ed25519, EC P-256, P-384 and P-521, and RSA from 2048 bits: give such")
