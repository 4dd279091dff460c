"""Draw what lambda does in a sweep of the GAN: python docs/pictures/lambda.py SWEEP OUT.svg [--epoch 1]

SWEEP is a folder that `raycolor tune` wrote (its report/trials.csv and report/curves.csv are read). Trials are compared
after one epoch that all of them reached; hollow marks are the last epoch of those that went on. The same numbers are
printed as a table.
"""

import argparse
import csv
from pathlib import Path

import matplotlib as mpl

mpl.use("svg")
import matplotlib.pyplot as plt  # the backend comes first

LAMBDA, FORM = "loss.lambda_pixel", "loss.adversarial"
PANELS = [
    ("val_mse", "val mse (lower is better)"),
    ("val_delta_colorfulness", "val Δ colorfulness (lower is better)"),
]
COLORS = ("tab:blue", "tab:orange", "tab:green")


def read(path: Path) -> list[dict[str, str]]:
    """Return the rows of a CSV file."""
    with path.open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


def main() -> None:
    """Read the sweep, print the table and draw one panel per metric."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sweep", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--epoch", type=int, default=1)
    given = parser.parse_args()
    trials = sorted(read(given.sweep / "report" / "trials.csv"), key=lambda trial: float(trial[LAMBDA]))
    curves: dict[str, list[dict[str, str]]] = {}
    for row in read(given.sweep / "report" / "curves.csv"):
        curves.setdefault(row["trial"], []).append(row)
    trials = [trial for trial in trials if len(curves.get(trial["trial"], [])) >= given.epoch]

    at = f"epoch {given.epoch}"
    print(f"| λ | form | epochs | mse, {at} | Δ colorfulness, {at} | mse, last | Δ colorfulness, last |")
    print("|---:|---|---:|---:|---:|---:|---:|")
    for trial in trials:
        curve = curves[trial["trial"]]
        ends = [f"{float(row[key]):.3g}" for row in (curve[given.epoch - 1], curve[-1]) for key, _ in PANELS]
        print(f"| {float(trial[LAMBDA]):.3g} | {trial[FORM]} | {len(curve)} | {' | '.join(ends)} |")

    bare = {"axes.spines.top": False, "axes.spines.right": False}
    mpl.rcParams.update({"svg.hashsalt": "raycolor", "font.size": 9, **bare})
    figure, axes = plt.subplots(1, len(PANELS), figsize=(8, 3), layout="constrained")
    for color, form in zip(COLORS, sorted({trial[FORM] for trial in trials}), strict=False):
        those = [trial for trial in trials if trial[FORM] == form]
        for axis, (column, title) in zip(axes, PANELS, strict=True):
            for trial in those:
                place, curve = float(trial[LAMBDA]), curves[trial["trial"]]
                first, last = float(curve[given.epoch - 1][column]), float(curve[-1][column])
                axis.plot([place], [first], "o", color=color, markersize=5)
                if len(curve) > given.epoch:
                    axis.plot([place, place], [first, last], color=color, linewidth=0.8)
                    axis.plot([place], [last], "o", color=color, markersize=6, markerfacecolor="none")
            axis.plot([], [], "o", color=color, label=form)
            axis.set(title=title, xlabel="λ, weight of the L1 loss", xscale="log")
    axes[0].legend(frameon=False)
    figure.savefig(given.out, metadata={"Date": None})


if __name__ == "__main__":
    main()
