"""What the page of a sweep shows: trials as rows, curves, dots and lines."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from raycolor.pages.plots import (
    Axis,
    Dot,
    Line,
    ParallelLine,
    axis_of,
    color_of,
    line_chart,
    number_text,
    parallel,
    scatter,
)
from raycolor.pages.render import Figure
from raycolor.pages.tables import COLUMNS, TableCell, TableHead
from raycolor.progress import duration_text
from raycolor.tune.choose import best, pareto, usable
from raycolor.tune.effects import FEWEST, ROUNDS, effect
from raycolor.tune.plan import Plan
from raycolor.tune.records import Trial
from raycolor.tune.space import Dimension

_BETTER: Final = {column.key: column.better for column in COLUMNS}
_RARE: Final = 0.05  # share of shuffled sweeps below which an effect is printed bold


@dataclass(frozen=True)
class Section:
    """Charts under one heading, a sentence on how to read them, and colors with their meaning."""

    title: str
    note: str
    figures: Sequence[Figure]
    legend: Sequence[tuple[str, str]] = ()
    wide: bool = False


class Results:
    """The trials of a sweep, and what follows from them.

    Attributes:
        trials: all, by number.
        good: those that have ended without failing and have a checkpoint; while there is none, those that run.
        front: numbers of the Pareto front, among `good`.
        best: the chosen trial, or None.
    """

    def __init__(self, plan: Plan, trials: Sequence[Trial]) -> None:
        self.plan, self.trials, self.objectives = plan, list(trials), plan.config.objectives
        ended = [trial for trial in trials if trial.status in ("finished", "stopped")]
        begun = [trial for trial in trials if trial.status in ("running", "unfinished")]
        self.good = [trial for trial in (ended or begun) if usable(trial.metrics, self.objectives)]
        measured = {trial.number: trial.metrics for trial in self.good}
        self.front = pareto(measured, self.objectives)
        chosen = best(measured, self.objectives, **plan.config.best.model_dump())
        self.best = next((trial for trial in self.good if trial.number == chosen), None)
        self.axes = {
            one.key: axis_of(
                one.key,
                [*one.values, *(trial.values[one.key] for trial in trials)],
                log=one.logarithmic,
            )
            for one in plan.space
        }  # fmt: skip

    def color(self, trial: Trial) -> str:
        """Return a trial's color: that of its value of the leading dimension."""
        key = self.plan.lead.key
        return color_of(self.axes[key], trial.values[key])

    def hint(self, trial: Trial) -> str:
        """Describe a trial in one line."""
        point = ", ".join(f"{key} = {value_text(value)}" for key, value in trial.values.items())
        found = ", ".join(f"{name} {number_text(trial.metrics[name])}" for name in self.objectives if trial.kept)
        return f"trial {trial.number} ({trial.status}, {len(trial.curve)} epochs): {point}: {found or 'no metrics yet'}"


def value_text(value: Any) -> str:
    """Write a hyperparameter's value short."""
    if isinstance(value, float):
        return number_text(value)
    return "null" if value is None else str(value).lower() if isinstance(value, bool) else str(value)


def sections(results: Results) -> list[Section]:
    """Return all charts."""
    if not any(trial.curve for trial in results.trials):
        return []
    made = [_curves(results)]
    if results.good:
        made += [_front(results)] if len(results.objectives) > 1 else []
        order = sorted(results.plan.space, key=lambda one: one is not results.plan.lead)
        made += [_against(results, one) for one in order]
        made.append(_parallel(results))
    return made


def _legend(results: Results) -> list[tuple[str, str]]:
    key = results.plan.lead.key
    axis = results.axes[key]
    if axis.kind == "words":
        return [(color_of(axis, word), f"{key} = {word}") for word in axis.words]
    values = sorted({trial.values[key] for trial in results.trials})
    ends = dict.fromkeys((values[0], values[len(values) // 2], values[-1]))
    return [(color_of(axis, value), f"{key} = {value_text(value)}") for value in ends]


def _curves(results: Results) -> Section:
    figures = []
    for name in results.objectives:
        key = f"val_{name}"
        lines = [
            Line(
                [(row["epoch"], row[key]) for row in trial.curve if key in row],
                results.color(trial),
                results.hint(trial),
                dashed=trial.status == "failed",
            )
            for trial in results.trials
            if any(key in row for row in trial.curve)
        ]
        points = [point for line in lines for point in line.points]
        if points:
            x = axis_of("epoch", [int(epoch) for epoch, _ in points])
            figures.append(Figure("", line_chart(lines, x, axis_of(name, [value for _, value in points]))))
    note = "On val, after each epoch; a curve that ends early was stopped, a dashed one failed. Hover for the trial."
    return Section("Learning curves", note, figures, _legend(results))


def _dot(results: Results, trial: Trial, x: Any, y: Any) -> Dot:
    return Dot(
        x, y, results.color(trial), results.hint(trial),
        hollow=trial.status != "finished", ringed=trial is results.best,
    )  # fmt: skip


def _front(results: Results) -> Section:
    names = list(results.objectives)
    figures = []
    for at, first in enumerate(names):
        for second in names[at + 1 :]:
            pairs = {trial.number: (trial.metrics[first], trial.metrics[second]) for trial in results.good}
            dots = [_dot(results, trial, *pairs[trial.number]) for trial in results.good]
            # A step line is the front of two objectives alone; of more, each pair shows its own.
            two = {name: results.objectives[name] for name in (first, second)}
            front = pareto({trial.number: trial.metrics for trial in results.good}, two)
            x, y = (axis_of(name, [pair[n] for pair in pairs.values()]) for n, name in enumerate((first, second)))
            figures.append(Figure("", scatter(dots, x, y, [pairs[number] for number in front])))
    note = (
        "Each dot is a trial's checkpoint; hollow ones were stopped early, the ring is the best by the rule above. No "
        "trial beats one of the dashed line in both objectives."
    )
    return Section("Pareto front", note, figures, _legend(results))


def _against(results: Results, one: Dimension) -> Section:
    figures = []
    for name in results.plan.metrics:
        dots = [
            _dot(results, trial, trial.values[one.key], trial.metrics[name])
            for trial in results.good
            if name in trial.metrics
        ]
        if dots:
            figures.append(Figure("", scatter(dots, results.axes[one.key], axis_of(name, [dot.y for dot in dots]))))
    note = "Metrics on val of each trial's checkpoint; hollow dots were stopped early and had fewer epochs."
    return Section(f"{one.key} against each metric", note, figures, _legend(results))


def _parallel(results: Results) -> Section:
    names = list(results.objectives)
    axes: list[Axis] = [results.axes[one.key] for one in results.plan.space]
    axes += [axis_of(name, [trial.metrics[name] for trial in results.good]) for name in names]
    lines = [
        ParallelLine(
            [*(trial.values[one.key] for one in results.plan.space), *(trial.metrics[name] for name in names)],
            results.color(trial),
            results.hint(trial),
            bold=trial is results.best,
        )
        for trial in results.good
    ]
    note = "One line per trial through its hyperparameters and its objectives; the thick one is the best."
    return Section("Parallel coordinates", note, [Figure("", parallel(axes, lines))], _legend(results), wide=True)


def effect_rows(results: Results) -> tuple[list[str], list[list[TableCell]], list[str]]:
    """Return the table of hyperparameters against metrics: heads, rows and notes; no rows with too few trials."""
    compared = [trial for trial in results.good if trial.status in ("finished", "stopped")]
    if len(compared) < FEWEST:
        return [], [], []
    # Trials that were stopped early had fewer epochs: compared at the last epoch that all of them reached.
    epoch = min(len(trial.curve) for trial in compared)
    rows = []
    for one in results.plan.space:
        cells = [TableCell(one.key, one.key)]
        for name in results.plan.metrics:
            found = effect(
                [trial.values[one.key] for trial in compared],
                [trial.curve[epoch - 1][f"val_{name}"] for trial in compared],
                numeric=one.numeric,
            )
            if found is None:
                cells.append(TableCell("–", ""))
                continue
            sign = {1: "+", -1: "−", 0: ""}[found.sign]
            text = f"{sign}{found.strength:.2f}"
            cells.append(TableCell(text, found.strength, found.chance < _RARE, below=f"chance {found.chance:.1%}"))
        rows.append(cells)
    notes = [
        f"Rank correlation over {len(compared)} trials, all compared after epoch {epoch}, the last one that each of "
        "them reached: of numbers Spearman's (+: the metric rises with the hyperparameter), of words the correlation "
        "ratio of ranks. 1 is a strict order, 0 none. It sees each hyperparameter alone, and an optimum in the middle "
        "can look like no effect: see the charts.",
        f"chance: share of {ROUNDS:,} sweeps with shuffled metrics in which it is as strong; bold below 5%. With "
        f"{sum(len(row) - 1 for row in rows)} numbers in the table, about one in twenty is bold by chance alone.",
    ]
    return ["hyperparameter", *results.plan.metrics], rows, notes


def trial_rows(results: Results) -> tuple[list[TableHead], list[list[TableCell]]]:
    """Return the table of trials; trials of the Pareto front have their objectives bold."""
    keys = [one.key for one in results.plan.space]
    metrics = results.plan.metrics
    heads = [TableHead("trial"), TableHead("status", number=False)]
    heads += [TableHead(one.key, number=one.numeric) for one in results.plan.space]
    heads += [TableHead("epochs"), TableHead("kept epoch")]
    heads += [TableHead(name, _BETTER.get(name, "")) for name in metrics]
    heads += [TableHead("time"), TableHead("reason", number=False)]
    rows = []
    for trial in results.trials:
        chosen = trial is results.best
        status = f"{trial.status} · best" if chosen else trial.status
        cells = [TableCell(str(trial.number), trial.number), TableCell(status, status, best=chosen)]
        cells += [TableCell(value_text(trial.values[key]), _sort(trial.values[key])) for key in keys]
        cells.append(TableCell(str(len(trial.curve)), len(trial.curve)))
        kept = trial.kept.get("epoch")
        cells.append(TableCell("", "") if kept is None else TableCell(f"{kept:.0f}", kept))
        for name in metrics:
            value = trial.metrics.get(name)
            bold = trial.number in results.front and name in results.objectives
            cells.append(TableCell("", "") if value is None else TableCell(number_text(value), value, bold))
        seconds = trial.seconds
        cells.append(TableCell("", "") if seconds is None else TableCell(duration_text(seconds), seconds))
        cells.append(TableCell(trial.reason, trial.reason))
        rows.append(cells)
    return heads, rows


def _sort(value: Any) -> str | float:
    return value if isinstance(value, float) else int(value) if isinstance(value, int) else str(value)
