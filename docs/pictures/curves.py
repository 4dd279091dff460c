"""Draw the curves of training runs side by side: python docs/pictures/curves.py OUT.svg NAME=RUN...

RUN is a folder that `raycolor train` wrote (its curve.csv is read). Runs of the same data share floors: give
`--floor mean=0.0195` for a dashed line in the panel of val mse.
"""

import argparse
import csv
from pathlib import Path

import matplotlib as mpl

mpl.use("svg")
import matplotlib.pyplot as plt  # the backend comes first

PANELS = [("val_mse", "val mse (lower is better)"), ("val_colorfulness", "val colorfulness")]


def read(run: Path) -> dict[str, list[float]]:
    """Return the columns of a run's curve."""
    with (run / "curve.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    return {key: [float(row[key]) for row in rows] for key in rows[0]}


def main() -> None:
    """Read every curve and draw one panel per metric."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("runs", nargs="+", metavar="NAME=RUN")
    parser.add_argument("--floor", action="append", default=[], metavar="NAME=MSE")
    given = parser.parse_args()
    bare = {"axes.spines.top": False, "axes.spines.right": False}
    mpl.rcParams.update({"svg.hashsalt": "raycolor", "font.size": 9, **bare})
    figure, axes = plt.subplots(1, len(PANELS), figsize=(8, 3), layout="constrained")
    for named in given.runs:
        name, _, run = named.partition("=")
        curve = read(Path(run))
        for axis, (column, title) in zip(axes, PANELS, strict=True):
            axis.plot(curve["epoch"], curve[column], marker="o", markersize=3, label=name)
            axis.set(title=title, xlabel="epoch")
    for named in given.floor:
        name, _, value = named.partition("=")
        axes[0].axhline(float(value), linestyle="--", linewidth=1, color="gray", label=name)
    axes[0].legend(frameon=False)
    figure.savefig(given.out, metadata={"Date": None})


if __name__ == "__main__":
    main()
