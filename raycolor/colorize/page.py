"""The page of a bulk job: totals, failures by reason, and photographs before and after."""

from __future__ import annotations

import heapq
import threading
from collections import defaultdict
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import simplejpeg
from markupsafe import Markup
from numpy.typing import NDArray

from raycolor.codecs.thumbnail import data_uri, photo_thumbnail
from raycolor.colorize.job_folder import scalar
from raycolor.colorize.memory_budget import MemoryBudget
from raycolor.colorize.outcomes import Outcome
from raycolor.errors import ImageError
from raycolor.pages.plots import Line, axis_of, line_chart
from raycolor.pages.render import render
from raycolor.storage import ObjectStore

_GALLERY = 24
_FIRST = 6
_LEAST_CONFIDENT = 6
_EXAMPLES = 5
_ROWS = {"colorized": 150, "skipped": 100, "failed": 250}
_SIDE_PX = 420
_READERS = 8
_HELD_BYTES = 128_000_000  # of their files


def write_report(
    summary: dict[str, Any], selection: Selection, *, dest: ObjectStore, original: Callable[[str], bytes]
) -> str:
    """Make the page of a finished or stopped job.

    Args:
        summary: what `summary.json` says.
        selection: what it shows of the outcomes.
        dest: the destination; its photographs are the "after".
        original: returns the bytes of an input by its key, or raises `StorageError`; the "before".

    Returns:
        HTML that needs nothing else: pictures are embedded as small JPEGs, at most 24 pairs, those of the
        least confidence in front; the list of outcomes holds at most 500, of each status a random sample.
    """
    pairs = _pairs(selection.gallery(), original, dest)
    rows = sorted((row for sample in selection.rows.values() for row in sample.taken), key=lambda outcome: outcome.key)
    return render(
        "colorize/page.html",
        title="Colorized photographs",
        summary=summary,
        pairs=pairs,
        failures=dict(sorted(selection.failures.items())),
        rows=rows,
        listed=sum(sample.seen for sample in selection.rows.values()),
        unsure=len(selection.least_confident),
        flags=sorted({flag for row in rows if row.flags for flag in row.flags.split(",")}),
        kinds=sorted({row.source_kind for row in rows if row.source_kind}),
        reasons=sorted({row.reason for row in rows if row.reason}),
        throughput=_throughput(summary.get("timeline") or []),
    )


def warm() -> None:
    """Load what pages are made with, compiled code too, before there is one to make: it takes two seconds."""
    photo_thumbnail(simplejpeg.encode_jpeg(np.full((32, 32, 1), 128, np.uint8), 90, "GRAY"), _SIDE_PX)


def _throughput(timeline: Sequence[Sequence[float]]) -> Markup | None:
    """Draw images done against time; None where there are too few points to see anything."""
    if len(timeline) < 3:
        return None
    points = [(0.0, 0.0), *((float(seconds), float(images)) for seconds, images in timeline)]
    x = axis_of("seconds since the first photograph", [a for a, _ in points])
    y = axis_of("photographs done", [b for _, b in points])
    return line_chart([Line(points, "#c97a18", f"{points[-1][1]:.0f} photographs in {points[-1][0]:.0f} s")], x, y)


class _Sample:
    """A random sample of fixed size of what passes by: the rows with the smallest draws."""

    def __init__(self, size: int) -> None:
        self.seen = 0
        self._size = size
        self._taken: list[tuple[float, Outcome]] = []

    @property
    def taken(self) -> list[Outcome]:
        return [outcome for _, outcome in self._taken]

    def add(self, selection: Selection, outcomes: pa.Table, at: NDArray[np.intp], draws: NDArray[np.float64]) -> None:
        """Take in the rows `at` of a table, of which each row has a draw."""
        self.seen += len(at)
        if len(self._taken) == self._size:
            at = at[draws[at] < self._taken[-1][0]]
        at = at[np.argsort(draws[at])[: self._size]]
        found = zip(draws[at].tolist(), selection.rows_of(outcomes, at), strict=True)
        self._taken = sorted([*self._taken, *found], key=lambda pair: pair[0])[: self._size]


class Selection:
    """What the page shows of the outcomes, chosen while they pass by; the same each time, and of bounded size."""

    def __init__(self) -> None:
        self._generator = np.random.default_rng(0)
        self.least_confident: list[Outcome] = []
        self.failures: dict[str, list[Outcome]] = defaultdict(list)
        """Examples of each reason."""
        self.rows = {status: _Sample(size) for status, size in _ROWS.items()}
        """The list of outcomes, by status."""
        self.shards: dict[str, int] = {}
        """Where outcomes that were looked at stand, by key."""
        self._first: list[Outcome] = []
        self._others = _Sample(_GALLERY - _FIRST)

    def add(self, outcomes: pa.Table) -> None:
        """Take in some outcomes, with their `shard`; only the few that are chosen become objects."""
        draws, others = self._generator.random((2, len(outcomes)))
        rows_of = {status: _rows(pc.equal(outcomes["status"], scalar(status))) for status in _ROWS}
        for status, rows in rows_of.items():
            self.rows[status].add(self, outcomes, rows, draws)
        self._add_failures(outcomes, rows_of["failed"])
        colored = rows_of["colorized"]
        self._add_unsure(outcomes, colored)
        missing = _FIRST - len(self._first)
        self._first += self.rows_of(outcomes, colored[:missing])
        self._others.add(self, outcomes, colored[missing:], others)

    def _add_failures(self, outcomes: pa.Table, failed: NDArray[np.intp]) -> None:
        reasons = np.array(outcomes["reason"].take(_indices(failed)).to_pylist(), object)
        for reason in dict.fromkeys(reasons):
            examples = self.failures[reason or ""]
            missing = _EXAMPLES - len(examples)
            examples += self.rows_of(outcomes, failed[reasons == reason][:missing])

    def _add_unsure(self, outcomes: pa.Table, colored: NDArray[np.intp]) -> None:
        rated = outcomes.take(_indices(colored))
        rated = rated.filter(pc.is_valid(rated["confidence"]))
        order = pc.sort_indices(rated, [("confidence", "ascending"), ("key", "ascending")])[:_LEAST_CONFIDENT]
        some = [*self.least_confident, *self.rows_of(rated, np.from_dlpack(order))]
        self.least_confident = heapq.nsmallest(_LEAST_CONFIDENT, some, key=_confidence)

    def rows_of(self, outcomes: pa.Table, at: NDArray[Any]) -> list[Outcome]:
        """Return some rows of a table as outcomes, and remember their shards."""
        some = outcomes.take(_indices(at))
        self.shards.update(zip(some["key"].to_pylist(), some["shard"].to_pylist(), strict=True))
        return [Outcome(**row) for row in some.drop_columns("shard").to_pylist()]

    def gallery(self) -> list[Outcome]:
        """Return the photographs that are shown: those of the least confidence in front."""
        shown = {outcome.key for outcome in self.least_confident}
        rest = self._first + sorted(self._others.taken, key=lambda outcome: outcome.key)
        return (self.least_confident + [outcome for outcome in rest if outcome.key not in shown])[:_GALLERY]


def _rows(mask: pa.ChunkedArray) -> NDArray[np.intp]:
    """Return the numbers of the rows in which a mask is true."""
    return np.from_dlpack(pc.indices_nonzero(mask)).astype(np.intp)


def _indices(at: NDArray[Any]) -> pa.Array:
    """Return row numbers as Arrow takes them; `pa.array` would import pandas first."""
    return pa.Array.from_buffers(pa.int64(), len(at), [None, pa.py_buffer(np.ascontiguousarray(at, np.int64))])


def _confidence(outcome: Outcome) -> tuple[float, str]:
    return outcome.confidence or 0.0, outcome.key


def _pairs(shown: Sequence[Outcome], original: Callable[[str], bytes], dest: ObjectStore) -> list[dict[str, Any]]:
    """Return the pictures of photographs, of which several are read at a time."""
    files, computing = MemoryBudget(_HELD_BYTES), threading.Lock()

    def pair(outcome: Outcome) -> dict[str, Any] | None:
        if outcome.output_key is None:
            return None
        try:
            with files.hold(outcome.input_bytes + (outcome.output_bytes or 0)):
                before, after = original(outcome.key), dest.get(outcome.output_key)
                with computing:
                    before, after = photo_thumbnail(before, _SIDE_PX), photo_thumbnail(after, _SIDE_PX)
        except ImageError:
            # The page is a view of the job, not its record: a photograph that has since gone is left out of it.
            return None
        return {"outcome": outcome, "before": data_uri(before), "after": data_uri(after)}

    with ThreadPoolExecutor(_READERS, "page") as pool:
        return [made for made in pool.map(pair, shown) if made is not None]
