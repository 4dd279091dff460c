"""What `raycolor sign` did to outputs: one row for each signed output in DEST/_raycolor/signatures, by shard."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from raycolor.colorize.job_folder import FOLDER, get_table, put_table, schema_of, table_of_rows
from raycolor.colorize.outcomes import Outcome
from raycolor.errors import ManifestError
from raycolor.storage import ObjectStore

SIGNATURES: Final = FOLDER + "signatures/"
SIGNED_SUMMARY: Final = SIGNATURES + "summary.json"
"""Written last: what a pass of `raycolor sign` did, by which certificate."""
_PART: Final = SIGNATURES + "part-"


@dataclass(frozen=True, slots=True)
class Signature:
    """The signature of one output; the fields are the columns of `signatures/part-*.parquet`.

    It is written before the output changes: until then the output has its unsigned bytes. So no kill leaves an output
    that neither its outcome nor its signature knows.
    """

    output_key: str
    output_sha256: str
    """Of the unsigned output, as its outcome says. A signature is that of an outcome only where both agree."""
    signed_bytes: int
    signed_sha256: str
    """Of the output as it is signed; where the manifest is detached, the same as before."""
    manifest_key: str | None
    """Where a detached manifest lies; None where it is embedded."""
    manifest_bytes: int | None
    manifest_sha256: str | None
    original_sha256: str
    certificate_sha256: str
    signed: str
    """When, in UTC."""


def write_signatures(dest: ObjectStore, shard: int, rows: Sequence[Signature]) -> None:
    """Write the signatures of a shard, whole or not at all."""
    put_table(dest, f"{_PART}{shard:06d}.parquet", table_of_rows(rows, schema_of(Signature)))


def read_signatures(dest: ObjectStore, shard: int) -> dict[str, Signature]:
    """Return the signatures of a shard by output key; none where nothing was signed.

    Raises:
        ManifestError: the record is damaged.
    """
    key = f"{_PART}{shard:06d}.parquet"
    if dest.stat(key) is None:
        return {}
    try:
        rows = [Signature(**row) for row in get_table(dest, key).to_pylist()]
    except TypeError as exc:
        raise ManifestError(f"{dest.uri}: {key} is damaged ({exc}): remove it and run `raycolor sign` again") from exc
    return {row.output_key: row for row in rows}


def is_signed(dest: ObjectStore) -> bool:
    """Whether anything in a destination was signed."""
    return any(True for _ in dest.list(_PART))


def signature_of(outcome: Outcome, signatures: Mapping[str, Signature]) -> Signature | None:
    """Return the signature of the output as its outcome says it was made, None if it has none."""
    found = signatures.get(str(outcome.output_key))
    return found if found is not None and found.output_sha256 == outcome.output_sha256 else None


def states_of(outcome: Outcome, signature: Signature | None) -> dict[str, int]:
    """Return SHA-256 and size of what an output may be: as it was made, or as it was signed."""
    states = {str(outcome.output_sha256): outcome.output_bytes or 0}
    if signature is not None:
        states[signature.signed_sha256] = signature.signed_bytes
    return states
