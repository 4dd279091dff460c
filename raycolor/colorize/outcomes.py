"""What became of each input: one row each in DEST/_raycolor/outcomes, the counts of them, and both as CSV."""

from __future__ import annotations

import itertools
import tempfile
from collections import Counter, deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Final, Literal, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from raycolor.colorize.csv_text import csv_text
from raycolor.colorize.job_folder import (
    FOLDER,
    get_table,
    integers,
    parse_table,
    scalar,
    schema_of,
    small_parquet,
    table_of,
    table_of_rows,
)
from raycolor.sources.csv_cells import csv_bytes
from raycolor.storage import ObjectStore, get_if_there

_READ_AHEAD: Final = 32  # a client of S3 is busy with so many that take 20 ms each
_TOGETHER: Final = 256  # records that are counted and written at a time: 16,384 outcomes, some 5 MB
_ROUND: Final = b"round"
FAILED: Final = ("key", "reason", "detail")

Status = Literal["colorized", "skipped", "failed"]


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
    pages: int | None = None
    pixels: int | None = None
    """Of all pages."""
    revision: int = 0
    """By what it was made: 0 for the job's own settings, else one of job.json's `revisions`."""


OUTCOME_SCHEMA = schema_of(Outcome)


def write_outcomes(dest: ObjectStore, shard: int, outcomes: Sequence[Outcome], round_number: int = 0) -> None:
    """Write the completion record of a shard, last of all: whole or not at all.

    Args:
        dest: the job's destination.
        shard: number of the shard; its record is replaced if there is one.
        outcomes: one for each input of the shard.
        round_number: the round it is done in, 0 for none.
    """
    metadata = {_ROUND: str(round_number)} if round_number else None
    table = table_of_outcomes(outcomes).replace_schema_metadata(metadata)
    dest.put(_outcomes_key(shard), small_parquet(table))


def table_of_outcomes(outcomes: Sequence[Outcome]) -> pa.Table:
    """Return outcomes as a table."""
    return table_of_rows(outcomes, OUTCOME_SCHEMA)


def done_shards(dest: ObjectStore) -> set[int]:
    """Return the shards that have a completion record."""
    prefix = f"{FOLDER}outcomes/part-"
    return {int(info.key[len(prefix) :].split(".")[0]) for info in dest.list(prefix)}


def read_outcomes(dest: ObjectStore) -> Iterator[Outcome]:
    """Yield outcomes, shard by shard in order, without holding more than one shard.

    Raises:
        ManifestError: a completion record is damaged.
    """
    for record in read_shards(dest):
        yield from record.outcomes


class ShardOutcomes(NamedTuple):
    """One completion record."""

    shard: int
    outcomes: list[Outcome]
    round: int
    """Number of the round it was written in, 0 for none."""


def read_shards(dest: ObjectStore, shards: Iterable[int] | None = None) -> Iterator[ShardOutcomes]:
    """Yield completion records in order, a few on their way at a time: a store may be far.

    Raises:
        ManifestError: a completion record is damaged.
    """
    for shard, table in _read_ahead(dest, shards):
        yield _record(shard, table)


def read_tables(dest: ObjectStore) -> Iterator[pa.Table]:
    """Yield outcomes as tables of some thousands, in order, with a last column `shard`: for what looks at millions.

    Raises:
        ManifestError: a completion record is damaged.
    """
    found = _read_ahead(dest, None)
    while some := list(itertools.islice(found, _TOGETHER)):
        together = pa.concat_tables([_of_today(table) for _, table in some]).combine_chunks()
        numbers = np.repeat([shard for shard, _ in some], [len(table) for _, table in some])
        yield together.append_column("shard", integers(numbers))


def _read_ahead(dest: ObjectStore, shards: Iterable[int] | None) -> Iterator[tuple[int, pa.Table]]:
    # Threads only fetch: parsed by one thread, small records take three quarters of the CPU time.
    def parsed(fetched: tuple[int, Future[bytes | None]]) -> tuple[int, pa.Table]:
        shard, data = fetched
        return shard, parse_table(dest, _outcomes_key(shard), data.result())

    with ThreadPoolExecutor(_READ_AHEAD, "outcomes") as pool:
        pending: deque[tuple[int, Future[bytes | None]]] = deque()
        for shard in sorted(done_shards(dest) if shards is None else shards):
            pending.append((shard, pool.submit(get_if_there, dest, _outcomes_key(shard))))
            if len(pending) == _READ_AHEAD:
                yield parsed(pending.popleft())
        while pending:
            yield parsed(pending.popleft())


def _of_today(table: pa.Table) -> pa.Table:
    """Return a record with all columns of today, also where an earlier raycolor wrote it."""
    if table.schema.equals(OUTCOME_SCHEMA):
        return table.replace_schema_metadata(None)
    rows = len(table)
    named = {name: table[name].cast(OUTCOME_SCHEMA.field(name).type) for name in table.schema.names}
    for field_, of in zip(OUTCOME_SCHEMA, fields(Outcome), strict=True):
        if field_.name not in named:
            named[field_.name] = table_of([[of.default] * rows], pa.schema([field_]))[0]
    return pa.table(named).select(OUTCOME_SCHEMA.names)


def find_shard(dest: ObjectStore, shard: int) -> ShardOutcomes | None:
    """Return the completion record of a shard, or None where there is none yet."""
    key = _outcomes_key(shard)
    return _record(shard, get_table(dest, key)) if dest.stat(key) else None


def _record(shard: int, table: pa.Table) -> ShardOutcomes:
    number = int((table.schema.metadata or {}).get(_ROUND, 0))
    return ShardOutcomes(shard, [Outcome(**row) for row in table.to_pylist()], number)


def _outcomes_key(shard: int) -> str:
    return f"{FOLDER}outcomes/part-{shard:06d}.parquet"


@dataclass
class Tally:
    """Counts and sums of outcomes."""

    counts: Counter[str] = field(default_factory=Counter)
    reasons: Counter[str] = field(default_factory=Counter)
    kinds: Counter[str] = field(default_factory=Counter)
    revisions: Counter[int] = field(default_factory=Counter)
    """Outcomes by what they were made by."""
    pages: int = 0
    pixels: int = 0
    """Of colorized photographs, as `pages`: each page once, at its own size."""
    input_bytes: int = 0
    output_bytes: int = 0

    def add(self, *outcomes: Outcome) -> None:
        """Count outcomes."""
        self.add_table(table_of_outcomes(outcomes))

    def add_table(self, outcomes: pa.Table) -> None:
        """Count the outcomes of a table."""
        names: dict[str, Counter[Any]] = {"status": self.counts, "reason": self.reasons, "source_kind": self.kinds}
        for name, counter in (names | {"revision": self.revisions}).items():
            for found in pc.value_counts(outcomes[name].combine_chunks()).to_pylist():
                if found["values"] not in (None, ""):
                    counter[found["values"]] += found["counts"]
        colored = pc.equal(outcomes["status"], scalar("colorized"))
        sizes = outcomes.select(("pages", "pixels", "width", "height")).filter(colored).columns
        # Records of an earlier raycolor tell the first page only.
        pages, pixels, width, height = (pc.fill_null(column, scalar(0)) for column in sizes)
        self.pages += _sum(pc.max_element_wise(pages, scalar(1)))
        self.pixels += _sum(pc.if_else(pc.equal(pixels, scalar(0)), pc.multiply(width, height), pixels))
        self.input_bytes += _sum(outcomes["input_bytes"])
        self.output_bytes += _sum(outcomes["output_bytes"])

    @property
    def total(self) -> int:
        """Number of outcomes counted."""
        return sum(self.counts.values())


def _sum(column: pa.ChunkedArray) -> int:
    return int(pc.sum(column).as_py() or 0)


def write_csvs(dest: ObjectStore, tables: Iterable[pa.Table]) -> None:
    """Write `outcomes.csv`, every column of the Parquet, and `failed.csv`, each whole or not at all.

    Memory does not grow with the number of outcomes: both files are put together on disk.

    Raises:
        StorageError: the destination cannot be written.
    """
    with tempfile.TemporaryDirectory(prefix="raycolor-csv-") as folder:
        everything, failures = Path(folder) / "outcomes.csv", Path(folder) / "failed.csv"
        with everything.open("wb") as whole, failures.open("wb") as failed:
            whole.write(csv_bytes([OUTCOME_SCHEMA.names]))
            failed.write(csv_bytes([FAILED]))
            for table in tables:
                whole.write(csv_text(table, OUTCOME_SCHEMA.names))
                failed.write(csv_text(table.filter(pc.equal(table["status"], scalar("failed"))), FAILED))
        dest.put_file(FOLDER + "outcomes.csv", everything)
        dest.put_file(FOLDER + "failed.csv", failures)
