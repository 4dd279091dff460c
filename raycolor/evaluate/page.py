"""The page of an evaluation: the table, photographs as each network colors them, and what the numbers mean."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from raycolor.codecs.thumbnail import data_uri, thumbnail
from raycolor.evaluate.comparison import Shown
from raycolor.pages.render import render

_SIDE_PX = 144


def evaluation_page(
    *, methods: Sequence[str], photographs: Iterable[Shown], metrics: Sequence[tuple[str, str, str]], **others: Any
) -> str:
    """Make the page.

    Args:
        methods: captions between input and truth.
        photographs: to show, dataset by dataset.
        metrics: (key, title, meaning) in the order of the table.
        others: headings (what was measured), heads and rows of the table, notes below it, figures (dataset -> charts
            of its numbers), and facts (heading -> name -> value) for the end of the page.

    Returns:
        HTML that needs nothing else: pictures are embedded as JPEGs of at most 144 px, each once.
    """
    captions = ["input", *methods, "photograph"]
    shown: dict[str, list[dict[str, Any]]] = {}
    for photo in photographs:
        pick = photo.pick
        texts = {name: [f"{number:.3g}" for number in numbers] for name, numbers in pick.values.items()}
        pictures = [data_uri(thumbnail(pixels, _SIDE_PX)) for pixels in photo.pictures]
        shown.setdefault(photo.dataset, []).append(
            {
                "id": pick.id,
                "roles": pick.roles,
                "values": {metric: ["", *each, ""] for metric, each in texts.items()},
                "pictures": list(zip(captions, pictures, strict=True)),
            }
        )
    titles = {key: title for key, title, _ in metrics}
    fixed = {"title": "Networks compared", "side_px": _SIDE_PX}
    return render("evaluate/page.html", shown=shown, metrics=metrics, titles=titles, **fixed, **others)
