"""The page of a run: its curves, the same photographs after each epoch, and its settings."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, Final

from raycolor.codecs.thumbnail import data_uri
from raycolor.pages.plots import Line, axis_of, line_chart, number_text, word_color
from raycolor.pages.render import Figure, render
from raycolor.storage import ObjectStore, get_if_there
from raycolor.train.run_folder import read_curve
from raycolor.training.samples import INPUT, PHOTOGRAPHS, SIDE_PX, TRUTH, sample_name

PAGE: Final = "index.html"
_ROWS: Final = 12  # epochs with pictures: a page of a hundred would be one nobody looks through
_LOSS: Final = "A loss on the training photographs; train_loss is what is minimized."
_SHOWN: Final = {
    "val_mse": "Mean squared error of ab on val, in network units: lower is better.",
    "val_accuracy_10": "Share of pixels within 10 Lab units of the truth: higher is better.",
    "val_colorfulness": "How colorful the network's pictures are (Hasler and Süsstrunk).",
    "val_psnr_db": "Peak signal-to-noise ratio in dB: higher is better.",
    "lr": "Learning rate after each epoch.",
}


def write_page(store: ObjectStore, settings: Mapping[str, Any]) -> None:
    """Write RUN/index.html from what the run folder holds; the same folder gives the same bytes.

    Args:
        store: run folder.
        settings: as in run.json.

    Raises:
        StorageError: the run folder cannot be reached.
    """
    curve = read_curve(store)
    if not curve:
        return
    measured = [row for row in curve if "val_mse" in row]
    best = min(measured, key=lambda row: row["val_mse"]) if measured else curve[-1]
    totals = [(f"{len(curve)}", f"of {settings['epochs']} epochs"), (f"{best['epoch']:.0f}", "the epoch that is kept")]
    totals += [
        (number_text(best[f"val_{name}"]), f"its {name} on val")
        for name in ("mse", "accuracy_10")
        if f"val_{name}" in best
    ]
    nested = {key: value for key, value in settings.items() if isinstance(value, Mapping)}
    plain = {key: value for key, value in settings.items() if key not in nested}
    groups: dict[str, Mapping[str, Any]] = {"Settings": plain}
    groups |= {f"Settings: {key}": value for key, value in nested.items() if value}
    page = render(
        "train/page.html",
        title=f"A {settings['method']} training",
        state=store.uri,
        totals=totals,
        rows=_pictures(store, curve, best),
        width_px=PHOTOGRAPHS * SIDE_PX,
        figures=_figures(curve),
        facts={name: {key: _text(value) for key, value in group.items()} for name, group in groups.items()},
    )
    store.put(PAGE, page.encode())


def _text(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _figures(curve: Sequence[Mapping[str, float]]) -> list[Figure]:
    x = axis_of("epoch", [int(row["epoch"]) for row in curve])
    captions = {name: _LOSS for name in curve[0] if name.startswith("train_")} | _SHOWN
    figures = []
    for name, caption in captions.items():
        if name in curve[0]:
            line = Line([(row["epoch"], row[name]) for row in curve], word_color(0), name)
            figures.append(Figure(caption, line_chart([line], x, axis_of(name, [row[name] for row in curve]))))
    return figures


def _pictures(
    store: ObjectStore, curve: Sequence[Mapping[str, float]], best: Mapping[str, float]
) -> list[tuple[str, str]]:
    """Return (caption, data: URI): what the network sees, some epochs evenly spaced, and the truth."""
    last = len(curve)
    some = {1 + round(place * (last - 1) / (_ROWS - 1)) for place in range(_ROWS)} | {int(best["epoch"])}
    kept = int(best["epoch"])
    wanted = [("what the network sees", INPUT)]
    wanted += [
        (f"after epoch {epoch}" + (", the one that is kept" if epoch == kept else ""), sample_name(epoch))
        for epoch in sorted(some)
    ]
    wanted.append(("the photographs", TRUTH))
    found = []
    for caption, name in wanted:
        jpeg = get_if_there(store, name)
        if jpeg is not None:  # a run of an earlier raycolor has none
            found.append((caption, data_uri(jpeg)))
    return found if len(found) > 2 else []
