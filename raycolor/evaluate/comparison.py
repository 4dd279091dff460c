"""The result of an evaluation: rows of the table, made of measured batches, and photographs to show."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from raycolor.dataset.info import DatasetInfo
from raycolor.evaluate.examples import Pick, rank_correlation
from raycolor.evaluate.measure import Measured
from raycolor.evaluate.subjects import FLOORS, DatasetPlan, Subject
from raycolor.evaluate.table import Row
from raycolor.models.metrics import bootstrap_interval


@dataclass(frozen=True)
class Shown:
    """A chosen photograph: why, and its pictures: input, one per checkpoint, truth; (H, W, 3) uint8 each."""

    dataset: str
    pick: Pick
    pictures: list[np.ndarray[Any, Any]]


@dataclass(frozen=True)
class Comparison:
    """The result of an evaluation.

    Attributes:
        rows: of the table: per dataset the floors, then the checkpoints.
        shown: the chosen photographs.
        subjects: the checkpoints, in the order asked for.
        datasets: what the table calls each dataset -> its plan and its dataset.json.
        notes: sentences that belong to the table.
    """

    rows: list[Row]
    shown: list[Shown]
    subjects: dict[str, Subject]
    datasets: dict[str, tuple[DatasetPlan, DatasetInfo]]
    notes: list[str]


def merge(batches: Sequence[Measured]) -> Measured:
    """Put the batches of one dataset together, in the order given; the first one takes in the others."""
    first = batches[0]
    count = sum(batch.images for batch in batches)
    whole = Measured(count, first.sums, first.st_lpips, [], first.device, first.precision)
    for batch in batches[1:]:
        for mine, theirs in zip(whole.sums, batch.sums, strict=True):
            mine.merge(theirs)
        for values, more in zip(whole.st_lpips, batch.st_lpips, strict=True):
            values.extend(more)
    return whole


def make_rows(
    label: str,
    plan: DatasetPlan,
    subjects: Mapping[str, Subject],
    batches: Sequence[Measured],
    merged: Measured,
    seed: int,
) -> list[Row]:
    """Make the rows of one dataset; `merged` is all of `batches`."""
    rows = []
    for number, (method, sums) in enumerate(zip([*FLOORS, *subjects], merged.sums, strict=True)):
        metrics = sums.result(seed=seed)
        if merged.st_lpips:
            values = merged.st_lpips[number]
            low, high = bootstrap_interval(values, seed)
            metrics["st_lpips"] = {"value": float(np.mean(values)), "low": low, "high": high}
        row = Row(
            dataset=label,
            method=method,
            n=len(sums.ids),
            metrics=metrics,
            colorfulness_truth=float(np.mean(sums.values["colorfulness_truth"])),
            measured_px=plan.measured_px,
        )
        if number >= len(FLOORS):
            at = number - len(FLOORS)
            about = subjects[method]
            row = replace(
                row,
                checkpoint=about.source,
                weights_sha256=about.weights_sha256,
                parameters=about.parameters,
                license=about.license or "",
                input_px=about.shown_px(plan.sizes_px[at]),
                images_per_second=_rate(batches, at),
                device=", ".join(sorted({batch.device for batch in batches})),
                # Networks of others compute as they are.
                precision=merged.precision if about.is_own else "",
                confidence_rank=rank_correlation(sums, seed) if "confidence" in sums.values else None,
            )
        rows.append(row)
    return rows


def _rate(batches: Sequence[Measured], checkpoint: int) -> float:
    """Return images per second of one worker: the median over full batches, which one hiccup does not move."""
    counted = [(batch.images, batch.seconds[checkpoint]) for batch in batches]
    full = max(count for count, _ in counted)
    return statistics.median(count / max(seconds, 1e-9) for count, seconds in counted if count == full)
