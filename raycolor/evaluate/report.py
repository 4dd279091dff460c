"""The report of an evaluation: table.csv, table.md, index.html and summary.json, and the table on a terminal."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from raycolor import __version__
from raycolor.evaluate.comparison import Comparison
from raycolor.evaluate.page import evaluation_page
from raycolor.evaluate.subjects import DatasetPlan
from raycolor.evaluate.table import (
    Row,
    best_rows,
    input_text,
    interval_text,
    measured_on,
    parameters_text,
    rate_text,
    table_csv,
    table_markdown,
    used_columns,
)
from raycolor.pages.plots import Named, axis_of, named_points, word_color
from raycolor.pages.render import Figure
from raycolor.pages.tables import TableCell, TableHead
from raycolor.storage import ObjectStore


@dataclass(frozen=True)
class EvaluateResult:
    """The result of an evaluation, and where its files are.

    Attributes:
        rows: of the table: per dataset the floors, then the checkpoints.
        notes: what a reader has to know of the table.
        page: where index.html lies.
        table: where table.csv lies; table.md and summary.json lie beside it.
    """

    rows: list[Row]
    notes: list[str]
    page: str
    table: str


def write_report(out: ObjectStore, result: Comparison, *, settings: dict[str, Any], seconds: float) -> EvaluateResult:
    """Write table.csv, table.md and index.html, and last summary.json; return what they hold.

    Raises:
        StorageError: the place cannot be written.
    """
    notes = notes_of(result)
    out.put("table.csv", table_csv(result.rows))
    out.put("table.md", table_markdown(result.rows, notes))
    out.put("index.html", page_of(result, notes, settings).encode())
    summary = {
        "raycolor_version": __version__,
        "seconds": round(seconds, 3),
        "settings": settings,
        "datasets": {
            label: {"uri": plan.uri, "fingerprint": info.fingerprint, "split": plan.split, "images": plan.images}
            for label, (plan, info) in result.datasets.items()
        },
        "checkpoints": {
            name: {
                "source": one.source,
                "method": one.method,
                "weights_sha256": one.weights_sha256,
                **({"license": one.license} if one.license else {}),
            }
            for name, one in result.subjects.items()
        },
    }
    out.put("summary.json", json.dumps(summary, indent=2).encode() + b"\n")
    where = out.uri.rstrip("/")
    return EvaluateResult(result.rows, notes, page=f"{where}/index.html", table=f"{where}/table.csv")


def notes_of(result: Comparison) -> list[str]:
    """Return the notes below the table."""
    notes = [
        "± is half of the 95% bootstrap interval over photographs; bold is the best checkpoint of a column. gray and "
        "mean color are floors: no color at all, and the mean color of the photographs to train on, everywhere.",
        *result.notes,
    ]
    for label, (plan, info) in result.datasets.items():
        own = next(row.colorfulness_truth for row in result.rows if row.dataset == label)
        notes += _smallest(label, plan, list(result.subjects))
        notes.append(
            f"{label}: {plan.images:,} photographs of split {plan.split}, measured on their central "
            f"{plan.measured_px} px (stored: {info.image_size}); their own colorfulness is {own:.1f}."
        )
    for row in result.rows:
        if row.confidence_rank is not None:
            notes.append(
                f"{row.method} on {row.dataset}: its confidence and its mse have a rank correlation of "
                f"{interval_text(row.confidence_rank)} over photographs (-1: it ranks them perfectly)."
            )
    timed = next(row for row in result.rows if row.checkpoint)
    notes.append(
        f"images/s: the network alone, in one worker: {timed.device}, batches as in this evaluation; bf16 or "
        "fp32 is the precision of ours."
    )
    return notes


def _smallest(label: str, plan: DatasetPlan, names: Sequence[str]) -> list[str]:
    """Say which checkpoint makes the measured square smaller for the others, if one does."""
    others = [size for size in plan.sizes_px if size > plan.measured_px]
    if not others:
        return []
    small = [name for name, size in zip(names, plan.sizes_px, strict=True) if size == plan.measured_px]
    return [
        f"{label}: every row is measured on {plan.measured_px} px because of {', '.join(small)}; without that, the "
        f"others would be measured on {min(others)} px and have other numbers."
    ]


def page_of(result: Comparison, notes: Sequence[str], settings: dict[str, Any]) -> str:
    """Return index.html."""
    columns = used_columns(result.rows)
    many = len(result.datasets) > 1
    heads = [TableHead("method", number=False)]
    heads += [TableHead("dataset", number=False)] if many else []
    heads += [TableHead(column.title, column.better) for column in columns]
    heads += [TableHead("n"), TableHead("parameters"), TableHead("input px"), TableHead("images/s", "higher")]
    best = best_rows(result.rows)
    rows = []
    for at, row in enumerate(result.rows):
        cells = [TableCell(row.method, row.method, hint=row.checkpoint, below=row.license)]
        cells += [TableCell(row.dataset, row.dataset)] if many else []
        for column in columns:
            cell = row.metrics[column.key]
            hint = f"{cell['low']:.6g} to {cell['high']:.6g}"
            value, sign, half = interval_text(cell).partition(" ± ")
            cells.append(TableCell(value, cell["value"], (at, column.key) in best, hint, sign.strip() + " " + half))
        cells.append(TableCell(f"{row.n:,}", row.n))
        cells.append(TableCell(parameters_text(row), "" if row.parameters is None else row.parameters))
        cells.append(TableCell(input_text(row), "" if row.input_px is None else row.input_px))
        rate, _, precision = rate_text(row).partition(" ")
        cells.append(TableCell(rate, row.images_per_second or "", below=precision.strip("()")))
        rows.append(cells)
    return evaluation_page(
        headings=measured_on(result.rows),
        heads=heads,
        rows=rows,
        methods=list(result.subjects),
        photographs=result.shown,
        metrics=[(column.key, column.title, column.meaning) for column in columns],
        notes=notes,
        figures={label: figures_of(result.rows, label) for label in result.datasets},
        facts={
            "Checkpoints": {name: one.described for name, one in result.subjects.items()},
            "Datasets": {
                label: f"{plan.uri} · fingerprint {info.fingerprint[:12]} · made from {info.source}"
                for label, (plan, info) in result.datasets.items()
            },
            "Settings": {
                name: ", ".join(value) if isinstance(value, list) else value
                for name, value in settings.items()
                if value is not None
            },
        },
    )


def figures_of(rows: Sequence[Row], dataset: str) -> list[Figure]:
    """Draw pairs of metrics: no single one suffices, as dull colors have the lowest errors."""
    mine = [row for row in rows if row.dataset == dataset]
    titles = {column.key: column.title for column in used_columns(rows)}
    truth = mine[0].colorfulness_truth

    def span(row: Row, metric: str) -> tuple[float, float, float]:
        cell = row.metrics[metric]
        return cell["value"], cell["low"], cell["high"]

    def chart(across: str, along: str, mark: tuple[float, str] | None) -> Markup:
        points = [
            Named(
                row.method,
                span(row, across),
                span(row, along),
                word_color(place),
                f"{row.method}: {titles[across]} {interval_text(row.metrics[across])}, "
                f"{titles[along]} {interval_text(row.metrics[along])}",
            )
            for place, row in enumerate(mine)
        ]
        ends = [value for row in mine for value in span(row, across)] + ([mark[0]] if mark else [])
        x = axis_of(titles[across], ends)
        return named_points(points, x, axis_of(titles[along], [v for row in mine for v in span(row, along)]), mark)

    return [
        Figure(
            "Lower is nearer, the dashed line as colorful as the photographs: dull networks come near without color.",
            chart("colorfulness", "mse", (truth, "photographs")),
        ),
        Figure(
            "Right and up is better: how often a color is met, and how well where rare colors weigh alike.",
            chart("accuracy_10", "auc_rebalanced", None),
        ),
    ]


def print_table(result: EvaluateResult) -> None:
    """Show the table on standard output, a metric per line: that many columns fit no terminal."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console(highlight=False)
    if not console.is_terminal:
        console = Console(highlight=False, width=200)  # a log has no edge to fold at
    rows, best = result.rows, best_rows(result.rows)
    for dataset in dict.fromkeys(row.dataset for row in rows):
        mine = [(at, row) for at, row in enumerate(rows) if row.dataset == dataset]
        table = Table(title=Text(*measured_on([row for _, row in mine])), title_justify="left", box=None)
        table.add_column("")
        for _, row in mine:
            table.add_column(Text(row.method), justify="right")
        for column in used_columns(rows):
            texts = [
                Text(interval_text(row.metrics[column.key]), style="bold" if (at, column.key) in best else "")
                for at, row in mine
            ]
            table.add_row(column.title, *texts)
        table.add_row("parameters", *(parameters_text(row) for _, row in mine))
        table.add_row("input px", *(input_text(row) for _, row in mine))
        table.add_row("images/s", *(rate_text(row) for _, row in mine))
        if any(row.license for _, row in mine):
            table.add_row("license", *(Text(row.license or "–") for _, row in mine))
        console.print(table)
    console.print(f"page   {result.page}", soft_wrap=True, markup=False)
    console.print(f"table  {result.table}", soft_wrap=True, markup=False)
