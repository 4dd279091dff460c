"""What a bag holds of one outcome: the output as it was made or signed, its detached manifest, its XMP sidecar."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
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


class Items(NamedTuple):
    """The outputs of a shard, and what lies beside them."""

    shard: int
    items: list[Item]


class Payload:
    """The outputs of a job with all that lies beside them, shard by shard."""

    def __init__(self, dest: ObjectStore, record: JobRecord) -> None:
        self._dest, self._record = dest, record
        self._signed = is_signed(dest)

    def shards(self) -> Iterator[Items]:
        """Yield the outputs of the job in order.

        Raises:
            ManifestError: a record is damaged, or some outputs are signed and others not yet.
            StorageError: the destination cannot be read.
        """
        for shard in finished_shards(self._dest, self._record):
            signatures = read_signatures(self._dest, shard.shard) if self._signed else {}
            made = (outcome for outcome in shard.outcomes if outcome.output_key is not None)
            yield Items(shard.shard, [self._item(outcome, signatures) for outcome in made])

    def _item(self, outcome: Outcome, signatures: Mapping[str, Signature]) -> Item:
        key, signature = str(outcome.output_key), signature_of(outcome, signatures)
        if signature is None:
            if self._signed and outcome.status == "colorized":
                raise ManifestError(
                    f"{self._dest.uri}/{key}: is not signed, and others are: run `raycolor sign` again to its end"
                )
            files = [File(key, outcome.output_bytes or 0, str(outcome.output_sha256))]
        else:
            files = [File(key, signature.signed_bytes, signature.signed_sha256)]
            if signature.manifest_key is not None:
                files.append(
                    File(signature.manifest_key, signature.manifest_bytes or 0, str(signature.manifest_sha256))
                )
        if outcome.status == "colorized" and self._needs_sidecar(key):
            data = _sidecar(self._record, outcome)
            files.append(File(f"{key}.xmp", len(data), hashlib.sha256(data).hexdigest(), data))
        return Item(outcome, signature, tuple(files))

    def _needs_sidecar(self, key: str) -> bool:
        """Whether a file can hold no XMP: BMP, and JPEG 2000 without a container."""
        if PurePosixPath(key).suffix.lower() in _HOLD_XMP:
            return False
        if self._dest.stat(key) is None:
            return False  # whoever copies it will say so
        head = self._dest.get_range(key, 0, _HEAD_BYTES)
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
