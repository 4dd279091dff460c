"""What a bag holds of one outcome: the output as it was made or signed, its detached manifest, its XMP sidecar."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import Final, NamedTuple

from raycolor.codecs import jp2
from raycolor.codecs.header import sniff
from raycolor.codecs.photograph import SUFFIXES, Provenance
from raycolor.codecs.xmp import add_provenance
from raycolor.colorize.finished import finished_shards
from raycolor.colorize.job_record import JobRecord
from raycolor.colorize.outcomes import Outcome
from raycolor.colorize.signatures import Signature, is_signed, read_signatures, signature_of
from raycolor.errors import DecodeError, ManifestError
from raycolor.storage import ObjectStore

_HEAD_BYTES: Final = 64
# By these names nothing has to be read to know that the file holds its own XMP.
_HOLD_XMP: Final = frozenset(
    end for kind, ends in SUFFIXES.items() if kind in ("jpeg", "png", "tiff", "webp") for end in ends
)


class File(NamedTuple):
    """One file of the payload."""

    key: str
    size: int
    sha256: str
    data: bytes | None = None
    """All bytes of a file that is made for the package; None: it lies in DEST at the same key."""


class Item(NamedTuple):
    """All files of one output, the output first."""

    outcome: Outcome
    signature: Signature | None
    files: tuple[File, ...]


def payload_of(dest: ObjectStore, record: JobRecord) -> Iterator[tuple[int, list[Item]]]:
    """Yield the outputs of a job in order, with all that lies beside them, behind the number of their shard.

    Raises:
        ManifestError: a record is damaged, or some outputs are signed and others not yet.
        StorageError: the destination cannot be read.
    """
    signed = is_signed(dest)
    for shard in finished_shards(dest, record):
        signatures = read_signatures(dest, shard.shard) if signed else {}
        made = [(one, signature_of(one, signatures)) for one in shard.outcomes if one.output_key is not None]
        for outcome, signature in made:
            if signed and signature is None and outcome.status == "colorized":
                raise ManifestError(
                    f"{dest.uri}/{outcome.output_key}: is not signed, and others are: run `raycolor sign` again to its "
                    "end"
                )
        yield shard.shard, [_item(dest, record, outcome, signature) for outcome, signature in made]


def _item(dest: ObjectStore, record: JobRecord, outcome: Outcome, signature: Signature | None) -> Item:
    key = str(outcome.output_key)
    files = [File(key, outcome.output_bytes or 0, str(outcome.output_sha256))]
    if signature is not None:
        files = [File(key, signature.signed_bytes, signature.signed_sha256)]
        if signature.manifest_key is not None:
            files.append(File(signature.manifest_key, signature.manifest_bytes or 0, str(signature.manifest_sha256)))
    if outcome.status == "colorized" and _needs_sidecar(dest, key):
        data = _sidecar(record, outcome)
        files.append(File(f"{key}.xmp", len(data), hashlib.sha256(data).hexdigest(), data))
    return Item(outcome, signature, tuple(files))


def _needs_sidecar(dest: ObjectStore, key: str) -> bool:
    """Whether a file can hold no XMP: BMP, and JPEG 2000 without a container."""
    if PurePosixPath(key).suffix.lower() in _HOLD_XMP:
        return False
    if dest.stat(key) is None:
        return False  # whoever copies it will say so
    head = dest.get_range(key, 0, _HEAD_BYTES)
    try:
        return sniff(head) == "bmp" or head.startswith(jp2.CODESTREAM)
    except DecodeError:
        return False


def _sidecar(record: JobRecord, outcome: Outcome) -> bytes:
    """Return what other formats say in their XMP: that a trained network made the color, and which."""
    point = record.made_by(outcome.revision).checkpoint
    return add_provenance(
        None, Provenance(point["name"], point["weights_sha256"], record.raycolor_version, license=point.get("license"))
    )
