"""The page of a sweep: its trials, what they tell of each hyperparameter, and how to make the best one again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from raycolor.codecs.thumbnail import data_uri, thumbnail
from raycolor.pages.render import Figure, render
from raycolor.pages.tables import TableCell, TableHead

_SIDE_PX = 192


@dataclass(frozen=True)
class Section:
    """Charts under one heading, a sentence on how to read them, and colors with their meaning."""

    title: str
    note: str
    figures: Sequence[Figure]
    legend: Sequence[tuple[str, str]] = ()
    wide: bool = False


@dataclass(frozen=True)
class Best:
    """The chosen trial: what a reader needs to use it and to make it again."""

    number: int
    rule: str
    values: Mapping[str, str]
    metrics: Mapping[str, str]
    checkpoint: str
    use: str
    command: str
    configuration: str
    notes: Sequence[str] = ()


@dataclass(frozen=True)
class Photograph:
    """One photograph of val: input, one picture per shown trial, and as it was; (H, W, 3) uint8."""

    id: str
    pictures: Sequence[NDArray[np.uint8]]


@dataclass(frozen=True)
class SweepView:
    """All that the page shows.

    Attributes:
        title: heading.
        state: one sentence: how far the sweep has come.
        totals: (number, what) in large print.
        best: the chosen trial, if there is one.
        heads: of the table of trials.
        rows: of the table of trials.
        sections: charts.
        effect_heads: of the table of hyperparameters against metrics.
        effect_rows: of that table.
        effect_notes: how to read that table.
        captions: of the pictures between input and truth.
        photographs: the same few for every trial shown.
        photograph_note: which trials are shown, and why.
        notes: sentences below the table of trials.
        facts: heading -> name -> value, for the end of the page.
    """

    title: str
    state: str
    totals: Sequence[tuple[str, str]]
    best: Best | None
    heads: Sequence[TableHead]
    rows: Sequence[Sequence[TableCell]]
    sections: Sequence[Section] = ()
    effect_heads: Sequence[str] = ()
    effect_rows: Sequence[Sequence[TableCell]] = ()
    effect_notes: Sequence[str] = ()
    captions: Sequence[str] = ()
    photographs: Sequence[Photograph] = ()
    photograph_note: str = ""
    notes: Sequence[str] = ()
    facts: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)


def sweep_page(view: SweepView) -> str:
    """Make the page.

    Returns:
        HTML that needs nothing else: charts are SVG, pictures embedded JPEGs of at most 192 px.
    """
    captions = ["input", *view.captions, "photograph"]
    shown = [
        {
            "id": photo.id,
            "pictures": [
                (caption, data_uri(thumbnail(pixels, _SIDE_PX)))
                for caption, pixels in zip(captions, photo.pictures, strict=True)
            ],
        }
        for photo in view.photographs
    ]
    return render("tune/page.html", title=view.title, view=view, shown=shown)
