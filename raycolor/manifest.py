"""What a bulk job writes down under DEST/_raycolor: its inputs, its settings, and one outcome per input."""

from __future__ import annotations

import bisect
import itertools
import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Final, Literal

import pyarrow as pa
import pyarrow.parquet as pq

from raycolor.errors import ManifestError, StorageError
from raycolor.storage import Located, ObjectInfo, ObjectStore

FOLDER: Final = "_raycolor/"
JOB_KEY: Final = FOLDER + "job.json"
ATTEMPTS: Final = FOLDER + "attempts/"
FORMAT_VERSION: Final = 1

Status = Literal["colorized", "skipped", "failed"]

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


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one input; the fields are the columns of `outcomes/part-*.parquet`."""

    key: str
    status: Status
    reason: str | None = None
    detail: str | None = None
    source_kind: str | None = None
    width: int | None = None
    height: int | None = None
    input_bytes: int = 0
    input_etag: str = ""
    output_key: str | None = None
    output_bytes: int | None = None
    output_sha256: str | None = None
    seconds: float = 0.0
    confidence: float | None = None
    flags: str | None = None


_ARROW_TYPES = {"int": pa.int64(), "float": pa.float64()}
OUTCOME_SCHEMA = pa.schema(
    [(f.name, _ARROW_TYPES.get(str(f.type).split(" |")[0], pa.string())) for f in fields(Outcome)]
)


@dataclass(frozen=True)
class ManifestTotals:
    """How many inputs a manifest holds and where its shards begin."""

    images: int
    bytes: int
    shards: int
    part_starts: tuple[int, ...]
    """First shard of each manifest part: finds the part of a shard without reading the others."""


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
    on_progress: Callable[[int], None] = lambda images: None,
) -> ManifestTotals:
    """Stream a listing into `manifest/part-*.parquet` and cut it into shards.

    Memory does not grow with the number of inputs: one part (16,384 keys) is held at a time.

    Args:
        dest: the job's destination.
        inputs: the objects to colorize, in the order that fixes the shards.
        images_per_shard: largest number of images in one shard.
        on_progress: called with the number of keys listed so far after each part.

    Raises:
        StorageError: the destination cannot be written.
    """
    rows: list[tuple[str, int, str, int, str | None]] = []
    part_starts: list[int] = []
    images = total_bytes = shard = in_shard = shard_bytes = part_first = 0
    limits = shard_limits(images_per_shard)
    limit = next(limits)

    def flush() -> None:
        nonlocal part_first
        if not rows:
            return
        columns = list(zip(*rows, strict=True))
        arrays = [pa.array(column, field.type) for column, field in zip(columns, _MANIFEST_SCHEMA, strict=True)]
        table = pa.table(arrays, schema=_MANIFEST_SCHEMA)
        _put_table(dest, f"{FOLDER}manifest/part-{len(part_starts):05d}.parquet", table)
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
    shards = shard + 1 if images else 0
    flush()
    return ManifestTotals(images=images, bytes=total_bytes, shards=shards, part_starts=tuple(part_starts))


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

    def _load(self, part: int) -> pa.Table:
        held = self._part  # another thread may put another part there
        if held is None or held[0] != part:
            held = self._part = part, _get_table(self._dest, f"{FOLDER}manifest/part-{part:05d}.parquet")
        return held[1]


def _inputs(table: pa.Table) -> list[ObjectInfo | Located]:
    return [
        Located(row["key"], row["size"], row["etag"], row["location"])
        if row.get("location")
        else ObjectInfo(row["key"], row["size"], row["etag"])
        for row in table.to_pylist()
    ]


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
        return JobRecord(**loaded)
    except StorageError as exc:
        if exc.reason == "not_found":
            return None
        raise
    except (ValueError, KeyError, TypeError) as exc:
        raise ManifestError(f"{dest.uri}: {JOB_KEY} is damaged ({exc}): give a new DEST") from exc


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


def write_outcomes(dest: ObjectStore, shard: int, outcomes: Sequence[Outcome]) -> None:
    """Write the completion record of a shard, last of all: whole or not at all."""
    columns = {name: [getattr(outcome, name) for outcome in outcomes] for name in OUTCOME_SCHEMA.names}
    _put_table(dest, _outcomes_key(shard), pa.table(columns, schema=OUTCOME_SCHEMA))


def done_shards(dest: ObjectStore) -> set[int]:
    """Return the shards that have a completion record."""
    prefix = f"{FOLDER}outcomes/part-"
    return {int(info.key[len(prefix) :].split(".")[0]) for info in dest.list(prefix)}


def read_outcomes(dest: ObjectStore, shards: Iterable[int] | None = None) -> Iterator[Outcome]:
    """Yield outcomes, shard by shard in order, without holding more than one shard.

    Raises:
        ManifestError: a completion record is damaged.
    """
    for shard in sorted(done_shards(dest) if shards is None else shards):
        for row in _get_table(dest, _outcomes_key(shard)).to_pylist():
            yield Outcome(**row)


def _outcomes_key(shard: int) -> str:
    return f"{FOLDER}outcomes/part-{shard:06d}.parquet"


@dataclass
class Tally:
    """Counts and sums of outcomes; tallies of two workers add up to the tally of both."""

    counts: Counter[str] = field(default_factory=Counter)
    reasons: Counter[str] = field(default_factory=Counter)
    kinds: Counter[str] = field(default_factory=Counter)
    pixels: int = 0
    input_bytes: int = 0
    output_bytes: int = 0

    def add(self, outcome: Outcome) -> None:
        """Count one outcome."""
        self.counts[outcome.status] += 1
        if outcome.reason:
            self.reasons[outcome.reason] += 1
        if outcome.source_kind:
            self.kinds[outcome.source_kind] += 1
        if outcome.status == "colorized":
            self.pixels += (outcome.width or 0) * (outcome.height or 0)
        self.input_bytes += outcome.input_bytes
        self.output_bytes += outcome.output_bytes or 0

    def counting(self, outcomes: Iterable[Outcome]) -> Iterator[Outcome]:
        """Pass outcomes on and count each."""
        for outcome in outcomes:
            self.add(outcome)
            yield outcome

    def merge(self, other: Tally) -> None:
        """Add another tally to this one."""
        for mine, theirs in ((self.counts, other.counts), (self.reasons, other.reasons), (self.kinds, other.kinds)):
            mine.update(theirs)
        self.pixels += other.pixels
        self.input_bytes += other.input_bytes
        self.output_bytes += other.output_bytes

    @property
    def total(self) -> int:
        """Number of outcomes counted."""
        return sum(self.counts.values())


def _put_table(dest: ObjectStore, key: str, table: pa.Table) -> None:
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, compression="zstd")
    dest.put(key, sink.getvalue().to_pybytes())


def _get_table(dest: ObjectStore, key: str) -> pa.Table:
    try:
        return pq.read_table(pa.BufferReader(dest.get(key)))
    except pa.ArrowException as exc:
        raise ManifestError(f"{dest.uri}: {key} is damaged ({exc}): remove it and run the same command again") from exc
    except StorageError as exc:
        if exc.reason == "not_found":
            raise ManifestError(f"{dest.uri}: {key} is missing: give a new DEST") from exc
        raise
