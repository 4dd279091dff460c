"""The page of a bulk job: totals, failures by reason, and photographs before and after."""

from __future__ import annotations

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

from raycolor.codecs.thumbnail import data_uri, photo_thumbnail
from raycolor.colorize.job_folder import scalar, table_of
from raycolor.colorize.memory_budget import MemoryBudget
from raycolor.colorize.outcomes import OUTCOME_SCHEMA, Outcome
from raycolor.errors import ImageError
from raycolor.pages.plots import Line, axis_of, line_chart
from raycolor.pages.render import render
from raycolor.storage import ObjectStore

_GALLERY = 24
_FIRST = 6
_LEAST_CONFIDENT = 6
_EXAMPLES = 5
_ROWS = {"colorized": 150, "skipped": 100, "failed": 250}
_DRAWS = pa.schema([("draw", pa.float64()), ("other_draw", pa.float64())])
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
    rows = sorted((row for some in selection.rows.values() for row in some.outcomes()), key=lambda outcome: outcome.key)
    return render(
        "colorize/page.html",
        title="Colorized photographs",
        summary=summary,
        pairs=pairs,
        failures={reason: some.outcomes() for reason, some in sorted(selection.failures.items())},
        rows=rows,
        listed=sum(some.seen for some in selection.rows.values()),
        unsure=len(selection.least_confident.outcomes()),
        flags=sorted({flag for row in rows if row.flags for flag in row.flags.split(",")}),
        kinds=sorted({row.source_kind for row in rows if row.source_kind}),
        reasons=sorted({row.reason for row in rows if row.reason}),
        throughput=_throughput(summary.get("timeline") or []),
    )


def warm() -> None:
    """Load what pages are made with, compiled code too, before there is one to make: it takes two seconds."""
    _throughput([(1.0, 1), (2.0, 2), (3.0, 3)])
    photo_thumbnail(simplejpeg.encode_jpeg(np.full((32, 32, 1), 128, np.uint8), 90, "GRAY"), _SIDE_PX)


def _throughput(timeline: Sequence[Sequence[float]]) -> Markup | None:
    """Draw images done against time; None where there are too few points to see anything."""
    if len(timeline) < 3:
        return None
    points = [(0.0, 0.0), *((float(seconds), float(images)) for seconds, images in timeline)]
    x = axis_of("seconds since the first photograph", [a for a, _ in points])
    y = axis_of("photographs done", [b for _, b in points])
    return line_chart([Line(points, "#c97a18", f"{points[-1][1]:.0f} photographs in {points[-1][0]:.0f} s")], x, y)


class _Chosen:
    """Of the rows that pass by in tables those that come first: in the order of some columns, or as they pass."""

    def __init__(self, most: int, *columns: str) -> None:
        self._most, self._order = most, [(name, "ascending") for name in columns]
        self.rows: pa.Table | None = None
        self.seen = 0

    def add(self, some: pa.Table) -> None:
        self.seen += len(some)
        rows = some if self.rows is None else pa.concat_tables([self.rows, some])
        rows = rows.take(pc.sort_indices(rows, self._order)[: self._most]) if self._order else rows
        self.rows = rows.slice(0, self._most)

    def shards(self) -> dict[str, int]:
        """Return where the outcomes stand, by key."""
        rows = [] if self.rows is None else self.rows.select(["key", "shard"]).to_pylist()
        return {row["key"]: row["shard"] for row in rows}

    def outcomes(self) -> list[Outcome]:
        rows = [] if self.rows is None else self.rows.select(OUTCOME_SCHEMA.names).to_pylist()
        return [Outcome(**row) for row in rows]


class Selection:
    """What the page shows of the outcomes, chosen while they pass by; the same each time, and of bounded size."""

    def __init__(self) -> None:
        self._generator = np.random.default_rng(0)
        self.least_confident = _Chosen(_LEAST_CONFIDENT, "confidence", "key")
        self.failures: dict[str, _Chosen] = defaultdict(lambda: _Chosen(_EXAMPLES))
        """Examples of each reason."""
        self.rows = {status: _Chosen(size, "draw") for status, size in _ROWS.items()}
        """The list of outcomes, by status: a random sample, of the smallest draws."""
        self._first = _Chosen(_FIRST)
        self._others = _Chosen(_GALLERY - _FIRST, "other_draw")

    def add(self, outcomes: pa.Table) -> None:
        """Take in some outcomes, with their `shard`; only the few that are chosen become objects."""
        draws, outcomes = table_of(self._generator.random((2, len(outcomes))), _DRAWS), outcomes.combine_chunks()
        for name in _DRAWS.names:
            outcomes = outcomes.append_column(name, draws[name])
        of = {status: outcomes.filter(pc.equal(outcomes["status"], scalar(status))) for status in _ROWS}
        for status, some in of.items():
            self.rows[status].add(some)
        reasons = pc.fill_null(of["failed"]["reason"], scalar(""))
        for reason in pc.unique(reasons).to_pylist():
            self.failures[reason].add(of["failed"].filter(pc.equal(reasons, scalar(reason))))
        colored = of["colorized"]
        self.least_confident.add(colored.filter(pc.is_valid(colored["confidence"])))
        self._others.add(colored.slice(max(_FIRST - self._first.seen, 0)))
        self._first.add(colored)

    def gallery(self) -> list[Outcome]:
        """Return the photographs that are shown: those of the least confidence in front."""
        unsure = self.least_confident.outcomes()
        shown = {outcome.key for outcome in unsure}
        rest = self._first.outcomes() + sorted(self._others.outcomes(), key=lambda outcome: outcome.key)
        return (unsure + [outcome for outcome in rest if outcome.key not in shown])[:_GALLERY]

    def shards(self) -> dict[str, int]:
        """Return where the photographs that are shown stand, by key."""
        return self.least_confident.shards() | self._first.shards() | self._others.shards()


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
