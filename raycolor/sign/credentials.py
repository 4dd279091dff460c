"""Content Credentials of one output: made, embedded or detached, and read again, all by c2pa-python."""

from __future__ import annotations

import io
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cache
from pathlib import PurePosixPath
from typing import Any, Final, NamedTuple

from PIL import Image

from raycolor import __version__
from raycolor.codecs.header import read_header, sniff
from raycolor.codecs.photograph import Format, Header
from raycolor.codecs.xmp import DIGITAL_SOURCE_TYPE
from raycolor.errors import ConfigError, DecodeError, RaycolorError
from raycolor.sign.certificate import MISSING_PACKAGE, Identity

MANIFEST_SUFFIX: Final = ".c2pa"
_MIME: Final[dict[Format, str]] = {
    "jpeg": "image/jpeg", "png": "image/png", "tiff": "image/tiff", "webp": "image/webp", "jp2": "image/jp2",
    "bmp": "image/bmp", "gif": "image/gif",
}  # fmt: skip
_ORIGINAL: Final = "original"
_EMBEDS: Final[tuple[Format, ...]] = ("jpeg", "png", "tiff", "webp")
# Nothing is asked of the network, and no list of trusted certificates is gone by: what counts as trusted is the
# business of whoever reads a signature.
_SETTINGS: Final[dict[str, Any]] = {
    "verify": {"verify_trust": False, "remote_manifest_fetch": False, "ocsp_fetch": False},
    "builder": {"thumbnail": {"enabled": False}},
}


class SigningError(RaycolorError):
    """An output that c2pa refuses to sign."""


class Signed(NamedTuple):
    """An output with its manifest."""

    data: bytes
    manifest: bytes | None
    """To lie beside the output; None where it is in `data`, which is as before otherwise."""


@dataclass(frozen=True)
class Made:
    """How an output was made: what its manifest tells."""

    output_key: str
    output_sha256: str
    original_key: str
    original_sha256: str
    original: bytes
    checkpoint: Mapping[str, Any]
    """As `job.json` has it: `name`, `weights_sha256`, perhaps `license`."""
    version: str
    """Of the raycolor that made the color."""
    created: str
    """When the job or the revision began, ISO 8601."""


class Signer:
    """Signs outputs, from several threads at a time.

    Raises:
        ConfigError: c2pa does not take the certificate: it was tried on a small picture.
    """

    def __init__(self, identity: Identity) -> None:
        c2pa, picture = _library(), io.BytesIO()
        Image.new("RGB", (8, 8)).save(picture, "png")
        info = c2pa.C2paSignerInfo(identity.algorithm, identity.chain_pem, identity.key_pem, None)
        try:
            self._signer = c2pa.Signer.from_info(info)
            trial = self.sign(picture.getvalue(), Made("trial.png", "", "trial.png", "", b"", {}, __version__, ""))
            problem = problem_of(trial.data, None)
        except (c2pa.C2paError, SigningError) as exc:
            problem = str(exc)
        if problem is not None:
            raise ConfigError(
                f"--certificate: C2PA does not take {identity.subject} ({' '.join(problem.split())}): it has to be "
                "issued by another certificate, for digitalSignature, with an extended key usage such as "
                "emailProtection: see docs/archives.md"
            )

    def sign(self, data: bytes, made: Made, *, detached: bool = False) -> Signed:
        """Sign one output.

        The manifest is embedded into JPEG, PNG, WebP and TIFF of one page, where the file is still read as the same
        photograph with it. Elsewhere, and if `detached`, the bytes stay as they are.

        Raises:
            SigningError: it cannot be signed.
        """
        try:
            header = read_header(data)
        except DecodeError as exc:
            raise SigningError(f"{exc.reason}: {exc.detail}") from exc
        if not detached and header.format in _EMBEDS and header.pages == 1:
            signed, _ = self._sign(data, header.format, made, embed=True)
            if _is_same(signed, header):
                return Signed(signed, None)
        same, manifest = self._sign(data, header.format, made, embed=False)
        if same != data:
            raise SigningError("c2pa changed the file beside which its manifest was to lie")
        return Signed(data, manifest)

    def _sign(self, data: bytes, kind: Format, made: Made, *, embed: bool) -> tuple[bytes, bytes]:
        c2pa, out = _library(), io.BytesIO()
        try:
            builder = _builder(made)
            if not embed:
                builder.set_no_embed()
            manifest = builder.sign(self._signer, _MIME[kind], io.BytesIO(data), out)
        except c2pa.C2paError as exc:
            raise SigningError(str(exc)) from exc
        return out.getvalue(), manifest


def problem_of(data: bytes, manifest: bytes | None) -> str | None:
    """Return what is wrong with the signature of an output; None if it is whole and is that of these bytes.

    Args:
        data: the output, with an embedded manifest, or without.
        manifest: the detached manifest, or None.
    """
    c2pa = _library()
    more = {} if manifest is None else {"manifest_data": manifest}
    try:
        with c2pa.Reader(_MIME[sniff(data)], io.BytesIO(data), context=_context(), **more) as reader:
            if reader.get_validation_state() in ("Valid", "Trusted"):
                return None
            results = reader.get_validation_results() or {}
    except (c2pa.C2paError, DecodeError) as exc:
        return str(exc) or type(exc).__name__
    failures = results.get("activeManifest", {}).get("failure", [])
    return ", ".join(sorted({str(one.get("code")) for one in failures})) or "not valid"


def signer_of(data: bytes) -> str | None:
    """Return who signed a file by an embedded manifest; None where there is none."""
    c2pa = _library()
    try:
        with c2pa.Reader(_MIME[sniff(data)], io.BytesIO(data), context=_context()) as reader:
            info = (reader.get_active_manifest() or {}).get("signature_info", {})
    except (c2pa.C2paError, DecodeError):
        return None
    return str(info.get("issuer") or info.get("common_name") or "an unnamed certificate")


def can_read() -> bool:
    """Whether the package that reads signatures is installed."""
    with suppress(ConfigError):
        return _library() is not None
    return False


def _definition(made: Made) -> dict[str, Any]:
    """Return the manifest: the original, opened, and colorized by a network."""
    point = made.checkpoint
    network = {
        "org.raycolor.checkpoint": str(point.get("name", "")),
        "org.raycolor.weights_sha256": str(point.get("weights_sha256", "")),
    }
    if point.get("license"):
        network["org.raycolor.license"] = str(point["license"])
    software = {"name": "raycolor", "version": made.version}
    actions = [
        {"action": "c2pa.opened", "parameters": {"ingredientIds": [_ORIGINAL]}},
        {
            "action": "c2pa.color_adjustments",
            "description": "A trained network added color to a black-and-white photograph; its lightness is kept.",
            "digitalSourceType": DIGITAL_SOURCE_TYPE,
            "softwareAgent": software,
            "parameters": network,
            **({"when": made.created} if made.created else {}),
        },
    ]
    colorization = {
        "original": {"key": made.original_key, "sha256": made.original_sha256},
        "unsigned_sha256": made.output_sha256,
    }
    return {
        "claim_generator_info": [{"name": "raycolor", "version": __version__}],
        "title": PurePosixPath(made.output_key).name,
        "assertions": [
            {"label": "c2pa.actions.v2", "data": {"actions": actions}},
            {"label": "org.raycolor.colorization", "data": colorization},
        ],
    }


def _builder(made: Made) -> Any:
    """Return a manifest that is not signed yet, with the original as its ingredient."""
    c2pa, definition = _library(), _definition(made)
    original = {
        "title": PurePosixPath(made.original_key).name,
        "relationship": "parentOf",
        "label": _ORIGINAL,
        "instance_id": f"urn:sha256:{made.original_sha256}",
        "description": f"SHA-256 {made.original_sha256}",
    }
    try:
        kind = sniff(made.original)
    except DecodeError:
        kind = None
    if kind in _EMBEDS:
        builder = c2pa.Builder(definition, context=_context())
        try:
            # Content Credentials of its own, as some cameras give it, come along.
            builder.add_ingredient(original, _MIME[kind], io.BytesIO(made.original))
            return builder
        except c2pa.C2paError:
            builder.close()
    about = original if kind is None else {**original, "format": _MIME[kind]}
    return c2pa.Builder({**definition, "ingredients": [about]}, context=_context())


def _is_same(signed: bytes, header: Header) -> bool:
    """Whether a file with its manifest is read as the photograph that it was before."""
    try:
        found = read_header(signed)
    except DecodeError:
        return False
    return replace(found, jpeg=None) == replace(header, jpeg=None)


def _library() -> Any:
    """Import c2pa, which loads 23 MB of native code, when it is needed.

    Raises:
        ConfigError: it is not installed.
    """
    try:
        import c2pa
    except ImportError as exc:
        raise ConfigError(MISSING_PACKAGE) from exc
    return c2pa


@cache
def _context() -> Any:
    return _library().Context.from_dict(_SETTINGS)
