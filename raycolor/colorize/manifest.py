"""The manifest of a bulk job: its inputs, cut into shards before work starts."""

from __future__ import annotations

import bisect
import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import pyarrow as pa
import pyarrow.compute as pc

from raycolor.colorize.job_folder import FOLDER, get_table, put_table, scalar, table_of
from raycolor.errors import StorageError
from raycolor.sources import Input, Location, Reader
from raycolor.storage import ObjectStore

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
MOST_IN_ROW: Final = 16
"""Shards that a worker is handed at a time."""
_ROWS_PER_WORKER: Final = 32  # or more of what is left: then none has much to do when the others are done
_Row = tuple[str, int, str, int, str | None]
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


def rows_of_work(order: Sequence[int], workers: int) -> list[list[int]]:
    """Group shards, in their order, into what a worker is handed at a time: each row costs the driver a millisecond.

    One shard to a row first, for the first results, and last, where a worker that has several would be waited for.

    Args:
        order: the shards, as `order_of_work` puts them.
        workers: that begin.
    """
    rows: list[list[int]] = []
    at = 0
    while at < len(order):
        share = 1 if len(rows) < 2 * workers else (len(order) - at) // (_ROWS_PER_WORKER * workers)
        count = min(max(share, 1), MOST_IN_ROW)
        rows.append(list(order[at : at + count]))
        at += count
    return rows


def write_manifest(
    dest: ObjectStore,
    inputs: Iterable[Input],
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
    rows: list[_Row] = []
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
        rows.append(_row(info, shard))
        images, total_bytes = images + 1, total_bytes + info.size
        in_shard, shard_bytes = in_shard + 1, shard_bytes + info.size
    shards = shard + 1 if in_shard else shard
    flush()
    return ManifestTotals(images=images, bytes=total_bytes, shards=shards, part_starts=tuple(part_starts))


def _row(info: Input, shard: int) -> _Row:
    return info.key, info.size, info.etag, shard, info.location.to_text()


def _put_rows(dest: ObjectStore, part: int, rows: Iterable[_Row]) -> None:
    put_table(dest, _part_key(part), table_of(zip(*rows, strict=True), _MANIFEST_SCHEMA))


def _part_key(part: int) -> str:
    return f"{FOLDER}manifest/part-{part:05d}.parquet"


class Manifest:
    """Reads the shards of a written manifest, one part in memory at a time."""

    def __init__(self, dest: ObjectStore, totals: ManifestTotals) -> None:
        self._dest, self._totals = dest, totals
        self._part: tuple[int, pa.Table] | None = None

    def shard(self, number: int) -> list[Input]:
        """Return the inputs of one shard, in listing order.

        Raises:
            ManifestError: the part that should hold it is missing or damaged.
        """
        table = self._load(bisect.bisect_right(self._totals.part_starts, number) - 1)
        return _inputs(table.filter(pc.equal(table["shard"], scalar(number))))

    def find(self, key: str) -> Input | None:
        """Return the input of one key, or None. Keys asked for in listing order cost one pass together."""
        parts = len(self._totals.part_starts)
        first = self._part[0] if self._part is not None else 0
        for step in range(parts):
            table = self._load((first + step) % parts)
            found = _inputs(table.filter(pc.equal(table["key"], scalar(key))))
            if found:
                return found[0]
        return None

    def read(self, reader: Reader, key: str, shard: int | None = None) -> bytes:
        """Return all bytes of the input of one key; where its shard is known, one part is read to find it.

        Raises:
            ImageError: it is not in the manifest, or cannot be read.
        """
        info = self.find(key) if shard is None else next((i for i in self.shard(shard) if i.key == key), None)
        if info is None:
            raise StorageError("not_found", f"{key}: not in the manifest")
        return reader.get(reader.sized(info))

    def parts(self) -> Iterator[tuple[int, list[Input]]]:
        """Yield the inputs of each part behind its number."""
        for part in range(len(self._totals.part_starts)):
            yield part, _inputs(self._load(part))

    def replace(self, part: int, inputs: Sequence[Input]) -> None:
        """Write one part anew: the same keys in the same shards, at another place or of another size and etag."""
        shards = self._load(part)["shard"].to_pylist()
        _put_rows(self._dest, part, (_row(*pair) for pair in zip(inputs, shards, strict=True)))
        self._part = None

    def _load(self, part: int) -> pa.Table:
        held = self._part  # another thread may put another part there
        if held is None or held[0] != part:
            held = self._part = part, get_table(self._dest, _part_key(part))
        return held[1]


def _inputs(table: pa.Table) -> list[Input]:
    return [
        Input(row["key"], row["size"], row["etag"], Location.from_text(row.get("location")))
        for row in table.to_pylist()
    ]
