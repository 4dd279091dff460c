"""A finished job, for those who look at its outputs: its record, and what its outcomes say of each output."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Any, Final

from raycolor.colorize.job_record import JobRecord, read_job
from raycolor.colorize.outcomes import ShardOutcomes, done_shards, read_shards
from raycolor.errors import ConfigError, ManifestError
from raycolor.sources import Reader
from raycolor.storage import ObjectStore, open_store

PIECE_BYTES: Final = 16 * 2**20
"""What is read of an output at a time."""


def finished_job(dest: ObjectStore) -> JobRecord:
    """Return the job of a destination, once every input has an outcome.

    Raises:
        ManifestError: there is none, it runs or was stopped, or its records are damaged.
    """
    record = read_job(dest)
    if record is None:
        raise ManifestError(f"{dest.uri}: holds no job of raycolor colorize: check the path")
    check_finished(dest, record)
    return record


def check_finished(dest: ObjectStore, record: JobRecord, *, in_round: bool = False) -> None:
    """Refuse a job of which some inputs have no outcome.

    Args:
        dest: its destination.
        record: the job.
        in_round: whether it may stand in a later run that was stopped, for whoever goes on with that.

    Raises:
        ManifestError: it runs or was stopped.
    """
    missing = record.manifest.shards - len(done_shards(dest) & set(range(record.manifest.shards)))
    if missing or (record.round is not None and not in_round):
        what = (
            f"{missing:,} of {record.manifest.shards:,} shards have no outcomes" if missing else "a later run has begun"
        )
        raise ManifestError(f"{dest.uri}: its job has not ended ({what}): wait for it, or run its command again")


def finished_shards(dest: ObjectStore, record: JobRecord) -> Iterator[ShardOutcomes]:
    """Yield the completion records of a finished job in order, without holding more than a few.

    Raises:
        ManifestError: a record is damaged, or an input has no outcome.
        StorageError: the destination cannot be read.
    """
    seen = 0
    for shard in read_shards(dest, range(record.manifest.shards)):
        yield shard
        seen += len(shard.outcomes)
    if seen != record.manifest.images:
        raise ManifestError(
            f"{dest.uri}: {record.manifest.images:,} inputs and {seen:,} outcomes: its records are damaged"
        )


def originals_of(record: JobRecord, endpoint_url: str | None, why: str) -> Reader:
    """Return what reads the inputs of a job.

    Args:
        record: the job.
        endpoint_url: S3 server other than AWS.
        why: what they are read for, for the message.

    Raises:
        ConfigError: their place is not there.
        StorageError: it cannot be asked.
    """
    root, options = record.root or record.source, _source_options(record, endpoint_url)
    if root == record.source:  # else it need not be there: what a list names may lie elsewhere
        try:
            open_store(root, must_exist=True, **options)
        except ConfigError as exc:
            raise ConfigError(f"SOURCE {root}: is not there, and {why}: bring it back") from exc
    return Reader(root, options)


def reader_of(record: JobRecord, endpoint_url: str | None) -> Reader:
    """Return what reads the inputs of a job that are still there; as `originals_of`, without a look at their place."""
    return Reader(record.root or record.source, _source_options(record, endpoint_url))


def _source_options(record: JobRecord, endpoint_url: str | None) -> dict[str, Any]:
    return {"endpoint_url": endpoint_url, "requester_pays": bool(record.config.get("requester_pays"))}


def pieces(store: ObjectStore, key: str, size: int) -> Iterator[bytes]:
    """Yield the first `size` bytes of an object, at most `PIECE_BYTES` at a time."""
    for start in range(0, size, PIECE_BYTES):
        yield store.get_range(key, start, min(PIECE_BYTES, size - start))


def sha256_of(store: ObjectStore, key: str, size: int) -> str:
    """Return the SHA-256 of the first `size` bytes of an object, without holding them."""
    found = hashlib.sha256()
    for piece in pieces(store, key, size):
        found.update(piece)
    return found.hexdigest()
