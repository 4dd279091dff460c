"""The comparison table: columns and what they mean, rows, and the files table.csv and table.md."""

from __future__ import annotations

import csv
import html
import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from raycolor.pages.tables import COLUMNS, Column

_ROUNDING: Final = 1e-4  # the colorfulness of grays is of the order 1e-5: what float32 leaves of 0


@dataclass(frozen=True)
class Row:
    """One row: a floor or a checkpoint on one dataset.

    Attributes:
        dataset: what the table calls the dataset.
        method: what the table calls the checkpoint or floor.
        n: photographs.
        metrics: name -> {"value", "low", "high"}; low and high end the 95% bootstrap interval.
        colorfulness_truth: mean of the photographs themselves.
        measured_px: side of the center square that was measured.
        checkpoint: where it was loaded from; empty for a floor, as is all that follows.
        weights_sha256: of its weights.
        parameters: number of weights; None where nobody can tell.
        license: of an imported or shipped network.
        input_px: side of what the network saw.
        images_per_second: of the network alone, in one worker.
        device: that this was measured on.
        precision: `fp32` or `bf16`; empty for a network of others, which computes as it is.
    """

    dataset: str
    method: str
    n: int
    metrics: Mapping[str, Mapping[str, float]]
    colorfulness_truth: float
    measured_px: int
    checkpoint: str = ""
    weights_sha256: str = ""
    parameters: int | None = None
    license: str = ""
    input_px: int | None = None
    images_per_second: float | None = None
    device: str = ""
    precision: str = ""
    confidence_rank: Mapping[str, float] | None = None
    """Rank correlation of the network's confidence with the mse, over photographs: {"value", "low", "high"}."""


def used_columns(rows: Sequence[Row]) -> list[Column]:
    """Return the columns that the rows have, in the order of the table."""
    return [column for column in COLUMNS if all(column.key in row.metrics for row in rows)]


def interval_text(cell: Mapping[str, float]) -> str:
    """Write `0.0180 ± 0.0009`: half the interval with two digits, the value with as many decimals."""
    half = (cell["high"] - cell["low"]) / 2
    if max(abs(cell["value"]), half) < _ROUNDING:
        return "0"
    if half <= 0 or not math.isfinite(half):
        return f"{cell['value']:.4g}"
    decimals = min(6, max(0, 1 - math.floor(math.log10(half))))
    return f"{cell['value']:.{decimals}f} ± {half:.{decimals}f}"


def best_rows(rows: Sequence[Row]) -> set[tuple[int, str]]:
    """Return (row, metric) of the best checkpoint by each metric and dataset, where there are several."""
    best: set[tuple[int, str]] = set()
    for dataset in {row.dataset for row in rows}:
        mine = [at for at, row in enumerate(rows) if row.dataset == dataset and row.checkpoint]
        if len(mine) < 2:
            continue
        for column in used_columns(rows):
            if column.better:
                pick = max if column.better == "higher" else min
                best.add((pick(mine, key=lambda at: rows[at].metrics[column.key]["value"]), column.key))
    return best


def table_csv(rows: Sequence[Row]) -> bytes:
    """Return table.csv: every metric with the ends of its interval, six digits; the same rows give the same bytes."""
    sink = io.StringIO()
    writer = csv.writer(sink, lineterminator="\n")
    metrics = [column.key for column in used_columns(rows)]
    writer.writerow(
        ["dataset", "method", "n"]
        + [name for metric in metrics for name in (metric, f"{metric}_low", f"{metric}_high")]
        + ["colorfulness_truth", "parameters", "images_per_second", "device", "precision"]
        + ["input_px", "measured_px", "checkpoint", "weights_sha256", "confidence_rank", "license"]
    )
    for row in rows:
        cells: list[object] = [row.dataset, row.method, row.n]
        cells += [f"{row.metrics[name][part]:.6g}" for name in metrics for part in ("value", "low", "high")]
        rate = "" if row.images_per_second is None else f"{row.images_per_second:.4g}"
        cells += [f"{row.colorfulness_truth:.6g}", row.parameters, rate, row.device, row.precision]
        cells += [row.input_px, row.measured_px, row.checkpoint, row.weights_sha256]
        cells += ["" if row.confidence_rank is None else f"{row.confidence_rank['value']:.6g}", row.license]
        writer.writerow(cells)
    return sink.getvalue().encode()


def table_markdown(rows: Sequence[Row], notes: Sequence[str] = ()) -> bytes:
    """Return table.md: a row per floor and checkpoint, the best checkpoint of each column in bold."""
    columns = used_columns(rows)
    arrows = {"higher": " ↑", "lower": " ↓", "": ""}
    heads = ["dataset", "method", "n", *(column.title + arrows[column.better] for column in columns)]
    lines = [f"{_markdown(text)}\n" for text in measured_on(rows)]
    lines += [
        "| " + " | ".join([*heads, "parameters", "input px", "images/s", "license"]) + " |",
        "|" + " --- |" * 2 + " ---: |" * (len(heads) + 1) + " --- |",
    ]
    best = best_rows(rows)
    for at, row in enumerate(rows):
        cells = [_markdown(row.dataset), _markdown(row.method), f"{row.n:,}"]
        for column in columns:
            text = interval_text(row.metrics[column.key])
            cells.append(f"**{text}**" if (at, column.key) in best else text)
        cells += [parameters_text(row), input_text(row), rate_text(row), _markdown(row.license) or "–"]
        lines.append("| " + " | ".join(cells) + " |")
    return ("\n".join(lines + [""] + [f"- {_markdown(note)}" for note in notes]) + "\n").encode()


def measured_on(rows: Sequence[Row]) -> list[str]:
    """Say what the rows of each dataset were measured on: the heading of a table."""
    firsts = {row.dataset: row for row in reversed(rows)}
    return [
        f"{name}: measured on the central {row.measured_px} px of {row.n:,} photographs"
        for name, row in reversed(firsts.items())
    ]


def parameters_text(row: Row) -> str:
    """Write `954,434`, or a dash for a floor and where nobody can tell."""
    return "–" if row.parameters is None else f"{row.parameters:,}"


def input_text(row: Row) -> str:
    """Write the side of what the network saw, in pixels, or a dash for a floor."""
    return "–" if row.input_px is None else str(row.input_px)


def rate_text(row: Row) -> str:
    """Write images per second with three digits and the precision where it is ours, or a dash for a floor."""
    if row.images_per_second is None:
        return "–"
    rate = row.images_per_second
    decimals = 0 if rate >= 100 else 1 if rate >= 10 else 2
    return f"{rate:,.{decimals}f}" + (f" ({row.precision})" if row.precision else "")


def _markdown(text: str) -> str:
    """Escape what Markdown or HTML would read as something else than text."""
    plain = html.escape(" ".join(text.split()), quote=False)
    return "".join("\\" + letter if letter in "|*_`[]\\" else letter for letter in plain)
