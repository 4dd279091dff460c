"""Outcomes as CSV, for people and for a later job: outcomes.csv of all inputs, failed.csv of the failed ones."""

from __future__ import annotations

import csv
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from raycolor.colorize.manifest import FOLDER
from raycolor.colorize.outcomes import OUTCOME_SCHEMA, Outcome
from raycolor.sources.csv_cells import guard
from raycolor.storage import ObjectStore

FAILED: Final = ("key", "reason", "detail")


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
