"""What became of each input: one row each in DEST/_raycolor/outcomes, the counts of them, and both as CSV."""

from __future__ import annotations

import csv
import tempfile
from collections import Counter, deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Final, Literal, NamedTuple

import pyarrow as pa

from raycolor.colorize.job_folder import FOLDER, get_table, put_table, table_of
from raycolor.sources.csv_cells import guard
from raycolor.storage import ObjectStore

_READ_AHEAD: Final = 16
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


_ARROW_TYPES = {"int": pa.int64(), "float": pa.float64()}
OUTCOME_SCHEMA = pa.schema(
    [(f.name, _ARROW_TYPES.get(str(f.type).split(" |")[0], pa.string())) for f in fields(Outcome)]
)


def write_outcomes(dest: ObjectStore, shard: int, outcomes: Sequence[Outcome], round_number: int = 0) -> None:
    """Write the completion record of a shard, last of all: whole or not at all.

    Args:
        dest: the job's destination.
        shard: number of the shard; its record is replaced if there is one.
        outcomes: one for each input of the shard.
        round_number: the round it is done in, 0 for none.
    """
    columns = ([getattr(outcome, name) for outcome in outcomes] for name in OUTCOME_SCHEMA.names)
    schema = OUTCOME_SCHEMA.with_metadata({_ROUND: str(round_number)}) if round_number else OUTCOME_SCHEMA
    put_table(dest, _outcomes_key(shard), table_of(columns, schema))


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
    with ThreadPoolExecutor(_READ_AHEAD, "outcomes") as pool:
        pending: deque[Future[ShardOutcomes]] = deque()
        for shard in sorted(done_shards(dest) if shards is None else shards):
            pending.append(pool.submit(_read_shard, dest, shard))
            if len(pending) == _READ_AHEAD:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()


def find_shard(dest: ObjectStore, shard: int) -> ShardOutcomes | None:
    """Return the completion record of a shard, or None where there is none yet."""
    return _read_shard(dest, shard) if dest.stat(_outcomes_key(shard)) else None


def _read_shard(dest: ObjectStore, shard: int) -> ShardOutcomes:
    table = get_table(dest, _outcomes_key(shard))
    number = int((table.schema.metadata or {}).get(_ROUND, 0))
    return ShardOutcomes(shard, [Outcome(**row) for row in table.to_pylist()], number)


def _outcomes_key(shard: int) -> str:
    return f"{FOLDER}outcomes/part-{shard:06d}.parquet"


@dataclass
class Tally:
    """Counts and sums of outcomes; tallies of two workers add up to the tally of both."""

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

    def add(self, outcome: Outcome) -> None:
        """Count one outcome."""
        self.counts[outcome.status] += 1
        self.revisions[outcome.revision] += 1
        if outcome.reason:
            self.reasons[outcome.reason] += 1
        if outcome.source_kind:
            self.kinds[outcome.source_kind] += 1
        if outcome.status == "colorized":
            # Records of an earlier raycolor tell the first page only.
            self.pages += outcome.pages or 1
            self.pixels += outcome.pixels or (outcome.width or 0) * (outcome.height or 0)
        self.input_bytes += outcome.input_bytes
        self.output_bytes += outcome.output_bytes or 0

    def merge(self, other: Tally) -> None:
        """Add another tally to this one."""
        for mine, theirs in ((self.counts, other.counts), (self.reasons, other.reasons), (self.kinds, other.kinds)):
            mine.update(theirs)
        self.revisions.update(other.revisions)
        self.pages += other.pages
        self.pixels += other.pixels
        self.input_bytes += other.input_bytes
        self.output_bytes += other.output_bytes

    @property
    def total(self) -> int:
        """Number of outcomes counted."""
        return sum(self.counts.values())


def write_csvs(dest: ObjectStore, outcomes: Iterable[Outcome]) -> None:
    """Write `outcomes.csv`, every column of the Parquet, and `failed.csv`, each whole or not at all.

    Memory does not grow with the number of outcomes: both files are put together on disk.

    Raises:
        StorageError: the destination cannot be written.
    """
    with tempfile.TemporaryDirectory(prefix="raycolor-csv-") as folder:
        everything, failures = Path(folder) / "outcomes.csv", Path(folder) / "failed.csv"
        with _rows(everything, OUTCOME_SCHEMA.names) as whole, _rows(failures, FAILED) as failed:
            for outcome in outcomes:
                whole.writerow([_cell(getattr(outcome, name)) for name in OUTCOME_SCHEMA.names])
                if outcome.status == "failed":
                    failed.writerow([_cell(getattr(outcome, name)) for name in FAILED])
        dest.put_file(FOLDER + "outcomes.csv", everything)
        dest.put_file(FOLDER + "failed.csv", failures)


@contextmanager
def _rows(path: Path, header: Iterable[str]) -> Iterator[Any]:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)  # rows end in CR LF: with LF alone Python 3.11 leaves a CR in a key unquoted
        writer.writerow(header)
        yield writer


def _cell(value: object) -> object:
    return guard(value) if isinstance(value, str) else value
