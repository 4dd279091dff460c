"""The trials and curves of a sweep as tables: CSV for people, Parquet for programs."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from raycolor.tune.records import Trial, trial_folder

Table = dict[str, list[Any]]


def trials_table(trials: Sequence[Trial], *, front: set[int], best: int | None, sweep_uri: str) -> Table:
    """Return one row per trial: number, status, the point, epochs, metrics of its checkpoint, and where that is."""
    keys = list(dict.fromkeys(key for trial in trials for key in trial.values))
    metrics = list(dict.fromkeys(name for trial in trials for name in trial.metrics))
    table: Table = {"trial": [trial.number for trial in trials], "status": [trial.status for trial in trials]}
    table |= {key: [trial.values.get(key) for trial in trials] for key in keys}
    table["epochs"] = [len(trial.curve) for trial in trials]
    table["checkpoint_epoch"] = [int(trial.kept["epoch"]) if trial.kept else None for trial in trials]
    table |= {name: [trial.metrics.get(name) for trial in trials] for name in metrics}
    table["pareto"] = [trial.number in front for trial in trials]
    table["best"] = [trial.number == best for trial in trials]
    table["seconds"] = [trial.seconds for trial in trials]
    table["reason"] = [trial.reason for trial in trials]
    table["checkpoint"] = [f"{sweep_uri}/{trial_folder(trial.number)}" if trial.kept else None for trial in trials]
    return table


def curves_table(trials: Sequence[Trial]) -> Table:
    """Return one row per trial and epoch: all that curve.csv says."""
    names = list(dict.fromkeys(name for trial in trials for row in trial.curve for name in row))
    rows = [(trial.number, row) for trial in trials for row in trial.curve]
    return {"trial": [number for number, _ in rows], **{name: [row.get(name) for _, row in rows] for name in names}}


def to_csv(table: Mapping[str, Sequence[Any]]) -> bytes:
    """Write a table as CSV (RFC 4180, UTF-8, LF); a missing value is an empty cell."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(table)
    for row in zip(*table.values(), strict=True):
        writer.writerow(["" if value is None else _text(value) for value in row])
    return out.getvalue().encode()


def to_parquet(table: Mapping[str, Sequence[Any]]) -> bytes:
    """Write a table as Parquet; a column of words and numbers alike becomes one of words."""
    columns = {}
    for name, values in table.items():
        kinds = {type(value) for value in values if value is not None}
        mixed = len(kinds) > 1 and not kinds <= {int, float}
        plain = [None if value is None else _text(value) if mixed else value for value in values]
        columns[name] = pa.array(plain, type=pa.float64() if kinds == {int, float} else None)
    sink = io.BytesIO()
    pq.write_table(pa.table(columns), sink)
    return sink.getvalue()


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
