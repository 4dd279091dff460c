"""The page of a bulk job: totals, failures by reason, and photographs before and after."""

from __future__ import annotations

import random
from collections import defaultdict
from typing import Any, Protocol

from raycolor.errors import ImageError
from raycolor.manifest import Outcome, read_outcomes
from raycolor.pages.render import data_uri, photo_thumbnail, render
from raycolor.storage import ObjectStore

_GALLERY = 24
_FIRST = 6
_EXAMPLES = 5
_SIDE_PX = 420


class Originals(Protocol):
    """Where the page finds a photograph as it was."""

    def get(self, key: str) -> bytes:
        """Return the bytes of one input, or raise `StorageError`."""
        ...


def write_report(summary: dict[str, Any], *, dest: ObjectStore, source: Originals) -> str:
    """Make the page of a finished or stopped job.

    Args:
        summary: what `summary.json` says.
        dest: the destination; its outcomes choose the examples, its photographs are the "after".
        source: the source; its photographs are the "before".

    Returns:
        HTML that needs nothing else: pictures are embedded as small JPEGs, at most 24 pairs.
    """
    sample, failures = _choose(dest)
    pairs = [pair for outcome in sample if (pair := _pair(outcome, source, dest)) is not None]
    return render("colorize.html", summary=summary, pairs=pairs, failures=failures, title="Colorized photographs")


def _choose(dest: ObjectStore) -> tuple[list[Outcome], dict[str, list[Outcome]]]:
    """Pick the first few and a random sample of the colorized, and some of each kind of failure, in one pass."""
    generator = random.Random(0)
    first: list[Outcome] = []
    reservoir: list[Outcome] = []
    failures: dict[str, list[Outcome]] = defaultdict(list)
    seen = 0
    for outcome in read_outcomes(dest):
        if outcome.status == "failed":
            examples = failures[outcome.reason or ""]
            if len(examples) < _EXAMPLES:
                examples.append(outcome)
        if outcome.status != "colorized":
            continue
        if len(first) < _FIRST:
            first.append(outcome)
            continue
        seen += 1
        if len(reservoir) < _GALLERY - _FIRST:
            reservoir.append(outcome)
        elif (place := generator.randrange(seen)) < len(reservoir):
            reservoir[place] = outcome
    return first + sorted(reservoir, key=lambda outcome: outcome.key), dict(sorted(failures.items()))


def _pair(outcome: Outcome, source: Originals, dest: ObjectStore) -> dict[str, Any] | None:
    if outcome.output_key is None:
        return None
    try:
        before = photo_thumbnail(source.get(outcome.key), _SIDE_PX)
        after = photo_thumbnail(dest.get(outcome.output_key), _SIDE_PX)
    except ImageError:
        # The page is a view of the job, not its record: a photograph that has since gone is left out of it.
        return None
    return {"outcome": outcome, "before": data_uri(before), "after": data_uri(after)}
