"""The page of an evaluation: the table, photographs as each network colors them, and what the numbers mean."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from raycolor.codecs.thumbnail import data_uri, thumbnail
from raycolor.pages.render import render

_SIDE_PX = 144


@dataclass(frozen=True)
class Photograph:
    """One photograph of the grid.

    Attributes:
        id: its key.
        roles: metric -> `best`, `median`, `worst` (or `most`, `least`).
        pictures: input, one per method, truth: (H, W, 3) uint8.
        values: metric -> text per method.
    """

    id: str
    roles: Mapping[str, str]
    pictures: Sequence[NDArray[np.uint8]]
    values: Mapping[str, Sequence[str]]


def evaluation_page(
    *,
    methods: Sequence[str],
    photographs: Mapping[str, Sequence[Photograph]],
    metrics: Sequence[tuple[str, str, str]],
    **others: Any,
) -> str:
    """Make the page.

    Args:
        methods: captions between input and truth.
        photographs: dataset -> the photographs to show.
        metrics: (key, title, meaning) in the order of the table.
        others: headings (what was measured), heads and rows of the table, notes below it, figures (dataset -> charts
            of its numbers), and facts (heading -> name -> value) for the end of the page.

    Returns:
        HTML that needs nothing else: pictures are embedded as JPEGs of at most 144 px, each once.
    """
    captions = ["input", *methods, "photograph"]
    shown = {
        dataset: [
            {
                "id": photo.id,
                "roles": dict(photo.roles),
                "values": {metric: ["", *texts, ""] for metric, texts in photo.values.items()},
                "pictures": [
                    (caption, data_uri(thumbnail(pixels, _SIDE_PX)))
                    for caption, pixels in zip(captions, photo.pictures, strict=True)
                ],
            }
            for photo in photos
        ]
        for dataset, photos in photographs.items()
    }
    titles = {key: title for key, title, _ in metrics}
    fixed = {"title": "Networks compared", "side_px": _SIDE_PX}
    return render("evaluate/page.html", shown=shown, metrics=metrics, titles=titles, **fixed, **others)
