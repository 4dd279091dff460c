"""The page of a bulk job: totals, failures by reason, and photographs before and after."""

from __future__ import annotations

import heapq
import random
from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import simplejpeg
from markupsafe import Markup

from raycolor.codecs.thumbnail import data_uri, photo_thumbnail
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
    pairs = [pair for outcome in selection.gallery() if (pair := _pair(outcome, original, dest)) is not None]
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
    """A random sample of fixed size of what passes by."""

    def __init__(self, size: int, generator: random.Random) -> None:
        self.taken: list[Outcome] = []
        self.seen = 0
        self._size, self._generator = size, generator

    def add(self, outcome: Outcome) -> None:
        self.seen += 1
        if len(self.taken) < self._size:
            self.taken.append(outcome)
        elif (place := self._generator.randrange(self.seen)) < self._size:
            self.taken[place] = outcome


class Selection:
    """What the page shows of the outcomes, chosen while they pass by; the same each time, and of bounded size."""

    def __init__(self) -> None:
        generator = random.Random(0)
        self.least_confident: list[Outcome] = []
        self.failures: dict[str, list[Outcome]] = defaultdict(list)
        """Examples of each reason."""
        self.rows = {status: _Sample(size, generator) for status, size in _ROWS.items()}
        """The list of outcomes, by status."""
        self._first: list[Outcome] = []
        self._others = _Sample(_GALLERY - _FIRST, generator)

    def add(self, outcome: Outcome) -> None:
        """Take in one outcome."""
        self.rows[outcome.status].add(outcome)
        if outcome.status == "failed":
            examples = self.failures[outcome.reason or ""]
            if len(examples) < _EXAMPLES:
                examples.append(outcome)
        elif outcome.status == "colorized":
            if outcome.confidence is not None:
                some = [*self.least_confident, outcome]
                self.least_confident = heapq.nsmallest(_LEAST_CONFIDENT, some, key=_confidence)
            if len(self._first) < _FIRST:
                self._first.append(outcome)
            else:
                self._others.add(outcome)

    def gallery(self) -> list[Outcome]:
        """Return the photographs that are shown: those of the least confidence in front."""
        shown = {outcome.key for outcome in self.least_confident}
        rest = self._first + sorted(self._others.taken, key=lambda outcome: outcome.key)
        return (self.least_confident + [outcome for outcome in rest if outcome.key not in shown])[:_GALLERY]


def _confidence(outcome: Outcome) -> tuple[float, str]:
    return outcome.confidence or 0.0, outcome.key


def _pair(outcome: Outcome, original: Callable[[str], bytes], dest: ObjectStore) -> dict[str, Any] | None:
    if outcome.output_key is None:
        return None
    try:
        before = photo_thumbnail(original(outcome.key), _SIDE_PX)
        after = photo_thumbnail(dest.get(outcome.output_key), _SIDE_PX)
    except ImageError:
        # The page is a view of the job, not its record: a photograph that has since gone is left out of it.
        return None
    return {"outcome": outcome, "before": data_uri(before), "after": data_uri(after)}
