"""What a bulk job fixes under DEST/_raycolor before it works: its inputs and its settings."""

from __future__ import annotations

import bisect
import itertools
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Final, Literal

import pyarrow as pa
import pyarrow.parquet as pq

from raycolor.errors import ManifestError, StorageError
from raycolor.storage import Located, ObjectInfo, ObjectStore

FOLDER: Final = "_raycolor/"
JOB_KEY: Final = FOLDER + "job.json"
ATTEMPTS: Final = FOLDER + "attempts/"
FORMAT_VERSION: Final = 1

# `location` is null but for members of archives, pinned versions and inputs of several buckets.
_MANIFEST_SCHEMA = pa.schema(
    [
        ("key", pa.string()),
        ("size", pa.int64()),
        ("etag", pa.string()),
        ("shard", pa.int32()),
        ("location", pa.string()),
    ]
)
_KEYS_PER_PART = 16_384
# A shard is done again as a whole after a kill, so that it must stay short also where photographs are large.
_BYTES_PER_SHARD = 512 * 2**20


@dataclass(frozen=True)
class ManifestTotals:
    """How many inputs a manifest holds and where its shards begin."""

    images: int
    bytes: int
    shards: int
    part_starts: tuple[int, ...]
    """First shard of each manifest part: finds the part of a shard without reading the others."""


EMPTY: Final = ManifestTotals(0, 0, 0, ())


def shard_limits(images_per_shard: int) -> Iterator[int]:
    """Yield the number of images of each shard: small ones first.

    Then a handful of photographs still occupies every worker, and the first results of a large job come at once.
    """
    limit = min(4, images_per_shard)
    while True:
        for _ in range(8):
            yield limit
        limit = min(limit * 2, images_per_shard)


def order_of_work(shards: Iterable[int], images_per_shard: int, workers: int) -> list[int]:
    """Put shards into the order in which they are best begun.

    A few small ones first, for the first results; then the larger before the smaller, so that at the end no worker
    waits long for another.
    """
    waiting = sorted(shards)
    limits = list(itertools.islice(shard_limits(images_per_shard), waiting[-1] + 1 if waiting else 0))
    return waiting[:workers] + sorted(waiting[workers:], key=lambda shard: -limits[shard])


def write_manifest(
    dest: ObjectStore,
    inputs: Iterable[ObjectInfo | Located],
    *,
    images_per_shard: int,
    after: ManifestTotals = EMPTY,
    on_progress: Callable[[int], None] = lambda images: None,
) -> ManifestTotals:
    """Stream a listing into `manifest/part-*.parquet` and cut it into shards.

    Memory does not grow with the number of inputs: one part (16,384 keys) is held at a time.

    Args:
        dest: the job's destination.
        inputs: the objects to colorize, in the order that fixes the shards.
        images_per_shard: largest number of images in one shard.
        after: a manifest that stands there, whose parts and shards stay as they are: new ones follow them.
        on_progress: called with the number of keys listed so far after each part.

    Raises:
        StorageError: the destination cannot be written.
    """
    rows: list[tuple[str, int, str, int, str | None]] = []
    part_starts = list(after.part_starts)
    images, total_bytes, shard, part_first = after.images, after.bytes, after.shards, after.shards
    in_shard = shard_bytes = 0
    limits = shard_limits(images_per_shard)
    limit = next(limits)

    def flush() -> None:
        nonlocal part_first
        if not rows:
            return
        _put_rows(dest, len(part_starts), rows)
        part_starts.append(part_first)
        rows.clear()
        part_first = shard
        on_progress(images)

    for info in inputs:
        if in_shard == limit or (in_shard and shard_bytes + info.size > _BYTES_PER_SHARD):
            shard, in_shard, shard_bytes, limit = shard + 1, 0, 0, next(limits)
            if len(rows) >= _KEYS_PER_PART:
                flush()
        location = info.location if isinstance(info, Located) else None
        rows.append((info.key, info.size, info.etag, shard, location))
        images, total_bytes = images + 1, total_bytes + info.size
        in_shard, shard_bytes = in_shard + 1, shard_bytes + info.size
    shards = shard + 1 if in_shard else shard
    flush()
    return ManifestTotals(images=images, bytes=total_bytes, shards=shards, part_starts=tuple(part_starts))


def _put_rows(dest: ObjectStore, part: int, rows: Iterable[Sequence[Any]]) -> None:
    columns = list(zip(*rows, strict=True))
    arrays = [pa.array(column, field.type) for column, field in zip(columns, _MANIFEST_SCHEMA, strict=True)]
    put_table(dest, _part_key(part), pa.table(arrays, schema=_MANIFEST_SCHEMA))


def _part_key(part: int) -> str:
    return f"{FOLDER}manifest/part-{part:05d}.parquet"


class Manifest:
    """Reads the shards of a written manifest, one part in memory at a time."""

    def __init__(self, dest: ObjectStore, totals: ManifestTotals) -> None:
        self._dest, self._totals = dest, totals
        self._part: tuple[int, pa.Table] | None = None

    def shard(self, number: int) -> list[ObjectInfo | Located]:
        """Return the inputs of one shard, in listing order.

        Raises:
            ManifestError: the part that should hold it is missing or damaged.
        """
        table = self._load(bisect.bisect_right(self._totals.part_starts, number) - 1)
        return _inputs(table.filter(pa.compute.equal(table["shard"], number)))

    def find(self, key: str) -> ObjectInfo | Located | None:
        """Return the input of one key, or None. Keys asked for in listing order cost one pass together."""
        parts = len(self._totals.part_starts)
        first = self._part[0] if self._part is not None else 0
        for step in range(parts):
            table = self._load((first + step) % parts)
            found = _inputs(table.filter(pa.compute.equal(table["key"], key)))
            if found:
                return found[0]
        return None

    def parts(self) -> Iterator[tuple[int, list[ObjectInfo | Located]]]:
        """Yield the inputs of each part behind its number."""
        for part in range(len(self._totals.part_starts)):
            yield part, _inputs(self._load(part))

    def replace(self, part: int, inputs: Sequence[ObjectInfo | Located]) -> None:
        """Write one part anew: the same keys in the same shards, at another place or of another size and etag."""
        shards = self._load(part)["shard"].to_pylist()
        rows = [
            (info.key, info.size, info.etag, shard, info.location if isinstance(info, Located) else None)
            for info, shard in zip(inputs, shards, strict=True)
        ]
        _put_rows(self._dest, part, rows)
        self._part = None

    def _load(self, part: int) -> pa.Table:
        held = self._part  # another thread may put another part there
        if held is None or held[0] != part:
            held = self._part = part, get_table(self._dest, _part_key(part))
        return held[1]


def _inputs(table: pa.Table) -> list[ObjectInfo | Located]:
    return [
        Located(row["key"], row["size"], row["etag"], row["location"])
        if row.get("location")
        else ObjectInfo(row["key"], row["size"], row["etag"])
        for row in table.to_pylist()
    ]


@dataclass(frozen=True)
class Round:
    """What a later run does again of a job; stands in `job.json` until it has ended, so that a kill loses nothing."""

    number: int
    """Completion records written in it carry this number: those shards are not done again in the same round."""
    retry: bool = False
    reasons: tuple[str, ...] = ()
    """Reasons of the failures to retry; all if empty."""
    add_new: bool = False
    verify: bool = False
    listed: bool = False
    """Whether the source was listed for it and the manifest says what was found."""


@dataclass(frozen=True)
class JobRecord:
    """`job.json`: what fixes a job's outputs, written once its manifest is whole."""

    identity: dict[str, Any]
    checkpoint: dict[str, Any]
    source: str
    config: dict[str, Any]
    raycolor_version: str
    manifest: ManifestTotals
    created: str
    format_version: int = FORMAT_VERSION
    device: str | None = None
    """Where the network runs, `cpu` or `cuda`; None until the first worker starts."""
    precision: Literal["fp32", "bf16"] | None = None
    """What `auto` meant on the nodes that the job began on; None until the first worker starts."""
    computed_with: str | None = None
    """Instruction set of their CPUs, or model of their GPU."""
    root: str | None = None
    """Store of the inputs that have no location: a list that has grown may have another one."""
    rounds: int = 0
    """Rounds that were begun."""
    round: Round | None = None

    def write(self, dest: ObjectStore) -> None:
        """Write `job.json`; from then on the destination belongs to this job."""
        dest.put(JOB_KEY, json.dumps(asdict(self), indent=2).encode() + b"\n")


def read_job(dest: ObjectStore) -> JobRecord | None:
    """Return the job that a destination belongs to, or None.

    Raises:
        ManifestError: `job.json` is damaged or of another format version.
    """
    try:
        loaded = json.loads(dest.get(JOB_KEY))
        if loaded["format_version"] != FORMAT_VERSION:
            raise ManifestError(
                f"{dest.uri}: {JOB_KEY} has format version {loaded['format_version']}, this raycolor reads "
                f"{FORMAT_VERSION}: finish the job with the raycolor that began it, or give a new DEST"
            )
        loaded["manifest"]["part_starts"] = tuple(loaded["manifest"]["part_starts"])
        loaded["manifest"] = ManifestTotals(**loaded["manifest"])
        if loaded.get("round"):
            loaded["round"] = Round(**{**loaded["round"], "reasons": tuple(loaded["round"]["reasons"])})
        return JobRecord(**loaded)
    except StorageError as exc:
        if exc.reason == "not_found":
            return None
        raise
    except (ValueError, KeyError, TypeError) as exc:
        raise ManifestError(f"{dest.uri}: {JOB_KEY} is damaged ({exc}): give a new DEST") from exc


def amend_job(dest: ObjectStore, **changes: Any) -> JobRecord:
    """Change some fields of `job.json` as it stands now, and return it."""
    record = read_job(dest)
    if record is None:
        raise ManifestError(f"{dest.uri}: {JOB_KEY} has gone while the job ran: give a new DEST")
    record = replace(record, **changes)
    record.write(dest)
    return record


def check_same_job(record: JobRecord, wanted: Mapping[str, Any], dest_uri: str) -> None:
    """Refuse to continue a job under settings that would change its outputs.

    Raises:
        ManifestError: names every setting that differs, with both values.
    """
    keys = sorted(record.identity.keys() | wanted.keys())
    differences = [
        f"{key} was {record.identity.get(key)!r}, now {wanted.get(key)!r}"
        for key in keys
        if record.identity.get(key) != wanted.get(key)
    ]
    if differences:
        raise ManifestError(
            f"{dest_uri} holds another job: {'; '.join(differences)}: run it with the old settings or give a new DEST"
        )


def put_table(dest: ObjectStore, key: str, table: pa.Table) -> None:
    """Write a table as one Parquet object, whole or not at all."""
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, compression="zstd")
    dest.put(key, sink.getvalue().to_pybytes())


def get_table(dest: ObjectStore, key: str) -> pa.Table:
    """Read one Parquet object.

    Raises:
        ManifestError: it is missing or damaged.
    """
    try:
        return pq.read_table(pa.BufferReader(dest.get(key)))
    except pa.ArrowException as exc:
        raise ManifestError(f"{dest.uri}: {key} is damaged ({exc}): remove it and run the same command again") from exc
    except StorageError as exc:
        if exc.reason == "not_found":
            raise ManifestError(f"{dest.uri}: {key} is missing: give a new DEST") from exc
        raise
