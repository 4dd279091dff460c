"""Choose the best trial by several objectives: the Pareto front, and two rules."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Literal

Mode = Literal["min", "max"]
Rule = Literal["first", "within"]


def usable(metrics: Mapping[str, float], objectives: Mapping[str, Mode]) -> bool:
    """Whether a trial has a finite number for every objective."""
    return all(math.isfinite(metrics.get(name, math.nan)) for name in objectives)


def _losses(metrics: Mapping[str, float], objectives: Mapping[str, Mode]) -> tuple[float, ...]:
    """Return the objectives as numbers of which lower is better."""
    return tuple(metrics[name] if mode == "min" else -metrics[name] for name, mode in objectives.items())


def pareto(trials: Mapping[int, Mapping[str, float]], objectives: Mapping[str, Mode]) -> set[int]:
    """Return the trials that no other beats: none is as good in every objective and better in one.

    Args:
        trials: number -> metrics; those without a finite number for every objective are left out.
        objectives: metric -> `min` or `max`.
    """
    points = {number: _losses(found, objectives) for number, found in trials.items() if usable(found, objectives)}
    return {
        number
        for number, mine in points.items()
        if not any(other != mine and all(o <= m for o, m in zip(other, mine, strict=True)) for other in points.values())
    }


def describe(rule: Rule, tolerance: float, objectives: Mapping[str, Mode]) -> str:
    """Return a rule as a sentence."""
    first, *rest = (f"{'lowest' if mode == 'min' else 'highest'} {name}" for name, mode in objectives.items())
    if rule == "within" and rest:
        name = next(iter(objectives))
        return f"the {rest[0]} among the trials whose {name} is within {100 * tolerance:.3g}% of the {first}"
    return f"the {first}"


def best(
    trials: Mapping[int, Mapping[str, float]],
    objectives: Mapping[str, Mode],
    rule: Rule = "first",
    tolerance: float = 0.05,
) -> int | None:
    """Choose a trial by a rule; ties go to the lower number. None where no trial has every objective.

    Args:
        trials: number -> metrics.
        objectives: metric -> `min` or `max`; their order counts.
        rule: `first`: the first objective alone. `within`: the second among those near the best first one.
        tolerance: of `within`, as a share of the best first objective.
    """
    points: dict[int, tuple[float, ...]] = {
        number: _losses(trials[number], objectives) for number in sorted(trials) if usable(trials[number], objectives)
    }
    if not points:
        return None
    top = min(point[0] for point in points.values())
    if rule == "first" or len(objectives) < 2:
        return min(points, key=lambda number: points[number][0])
    near = {number: point for number, point in points.items() if point[0] <= top + tolerance * abs(top)}
    return min(near, key=lambda number: (near[number][1], near[number][0]))
