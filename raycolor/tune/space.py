"""The space of a sweep: dotted keys with distributions, and the points drawn from it."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal, cast, get_args

import numpy as np

from raycolor.errors import ConfigError

Kind = Literal["uniform", "loguniform", "choice", "grid"]
Search = Literal["random", "grid", "tpe"]
KINDS: Final[tuple[str, ...]] = get_args(Kind)
MOST_POINTS: Final = 10_000


@dataclass(frozen=True)
class Dimension:
    """One hyperparameter.

    Attributes:
        key: dotted key of a train configuration, for example `loss.lambda_pixel`.
        kind: `uniform`, `loguniform` (both between two bounds), `choice` or `grid` (both among values).
        values: the two bounds, or the values.
    """

    key: str
    kind: Kind
    values: tuple[Any, ...]

    @property
    def continuous(self) -> bool:
        """Whether it lies between bounds."""
        return self.kind in ("uniform", "loguniform")

    @property
    def numeric(self) -> bool:
        """Whether its values have an order that means something."""
        return all(isinstance(value, int | float) and not isinstance(value, bool) for value in self.values)

    @property
    def logarithmic(self) -> bool:
        """Whether it is drawn, and to be shown, on a logarithmic scale."""
        if self.kind == "loguniform":
            return True
        return (
            not self.continuous and self.numeric and min(self.values) > 0 and max(self.values) >= 20 * min(self.values)
        )

    def at(self, share: float) -> Any:
        """Return the value at a share, [0, 1), of the way: bounds are kept, numbers have six digits."""
        if not self.continuous:
            return self.values[min(len(self.values) - 1, int(share * len(self.values)))]
        low, high = self.values
        if self.kind == "loguniform":
            value = math.exp(math.log(low) + share * (math.log(high) - math.log(low)))
        else:
            value = low + share * (high - low)
        # Six digits can be read, typed and compared; no training tells them from sixteen.
        return min(max(float(f"{value:.6g}"), low), high)


def parse_space(space: Mapping[str, Any]) -> tuple[Dimension, ...]:
    """Read a space: `{"optim.lr": {"loguniform": [1e-5, 1e-3]}}`, or groups nested as in a configuration.

    Raises:
        ConfigError: an empty space, an unknown distribution, or bounds and values that make none.
    """
    found = tuple(_dimensions(space, ""))
    if not found:
        raise ConfigError("space is empty: name at least one key, for example optim.lr: {loguniform: [1.0e-5, 1.0e-3]}")
    keys = [one.key for one in found]
    for key in keys:
        if keys.count(key) > 1:
            raise ConfigError(f"space.{key}: named twice: name it once")
        inner = next((other for other in keys if other.startswith(key + ".")), None)
        if inner is not None:
            raise ConfigError(f"space.{key}: is one value, and {inner} is inside it: name one of them")
    return found


def _dimensions(space: Mapping[str, Any], prefix: str) -> list[Dimension]:
    found: list[Dimension] = []
    for name, entry in space.items():
        key = f"{prefix}{name}"
        if not isinstance(entry, Mapping) or not entry:
            raise ConfigError(f"space.{key} = {entry!r}: must be {{KIND: values}} with KIND one of {', '.join(KINDS)}")
        if set(entry) & set(KINDS):
            found.append(_dimension(key, entry))
        elif all(isinstance(inner, Mapping) for inner in entry.values()):
            found += _dimensions(entry, f"{key}.")
        else:
            raise ConfigError(f"space.{key}: unknown distribution {next(iter(entry))!r}: known are {', '.join(KINDS)}")
    return found


def _dimension(key: str, entry: Mapping[str, Any]) -> Dimension:
    if len(entry) != 1:
        raise ConfigError(f"space.{key}: holds {', '.join(map(str, entry))}: give one of {', '.join(KINDS)} alone")
    (name, values), *_ = entry.items()
    kind = cast(Kind, name)
    if not isinstance(values, Sequence) or isinstance(values, str) or not values:
        raise ConfigError(f"space.{key}.{kind} = {values!r}: must be a list that is not empty")
    if kind in ("choice", "grid"):
        if any(isinstance(value, list | Mapping) for value in values):
            raise ConfigError(
                f"space.{key}.{kind} = {values!r}: each value must be a number, a word, true, false or null"
            )
        if len({repr(value) for value in values}) < len(values):
            raise ConfigError(f"space.{key}.{kind} = {values!r}: a value is repeated: name each once")
        return Dimension(key, kind, tuple(values))
    if len(values) != 2:
        raise ConfigError(f"space.{key}.{kind} = {values!r}: must be [lowest, highest]")
    low, high = (_number(key, kind, value) for value in values)
    if not low < high:
        raise ConfigError(f"space.{key}.{kind} = {values!r}: the first bound must be below the second")
    if kind == "loguniform" and low <= 0:
        raise ConfigError(f"space.{key}.{kind} = {values!r}: a logarithmic scale needs bounds above 0")
    return Dimension(key, kind, (low, high))


def _number(key: str, kind: str, value: Any) -> float:
    # YAML 1.1 reads 1e-5, without a point, as a word.
    try:
        number = math.nan if isinstance(value, bool) else float(value)
    except (TypeError, ValueError):
        number = math.nan
    if not math.isfinite(number):
        raise ConfigError(f"space.{key}.{kind}: {value!r} is not a number")
    return number


def count_points(space: Sequence[Dimension], search: Search, trials: int | None) -> int:
    """Return how many trials a sweep has.

    Raises:
        ConfigError: a grid of what is no list of values, fewer trials than it has points, or too many of them.
    """
    if search != "grid":
        return trials if trials is not None else 10
    for one in space:
        if one.continuous:
            raise ConfigError(
                f"search = grid: space.{one.key} is {one.kind}: give it as grid or choice, or take search: random"
            )
    points = math.prod(len(one.values) for one in space)
    if points > MOST_POINTS:
        raise ConfigError(
            f"search = grid: the space has {points:,} points: name fewer values ({MOST_POINTS:,} at most)"
        )
    if trials is not None and trials != points:
        raise ConfigError(f"trials = {trials}: the grid has {points} points: leave trials out, or take search: random")
    return points


def draw(space: Sequence[Dimension], search: Search, seed: int, number: int) -> dict[str, Any]:
    """Return the point of one trial of a random or grid search.

    It depends on the arguments alone, and not on the order of the dimensions, so that a sweep that is continued, or
    lengthened, draws the same points. In a random search `grid` dimensions are walked through in turn, the others are
    drawn.

    Args:
        space: the dimensions.
        search: `random` or `grid`.
        seed: of the sweep.
        number: of the trial, counted from 0.
    """
    space = sorted(space, key=lambda one: one.key)
    walked = [one for one in space if search == "grid" or one.kind == "grid"]
    cells = math.prod(len(one.values) for one in walked)
    cell = next(itertools.islice(itertools.product(*(one.values for one in walked)), number % cells, None))
    given = dict(zip([one.key for one in walked], cell, strict=True))
    shares = np.random.default_rng([seed, number]).random(len(space))
    return {
        one.key: given[one.key] if one.key in given else one.at(float(share))
        for one, share in zip(space, shares, strict=True)
    }


def corners(space: Sequence[Dimension]) -> list[dict[str, Any]]:
    """Return points that hold every value and every bound of every dimension at least once."""
    first = {one.key: one.values[0] for one in space}
    return [{**first, one.key: value} for one in space for value in one.values]


def put_dotted(settings: dict[str, Any], key: str, value: Any) -> None:
    """Set `a.b` in a nested dict, making groups as needed.

    Raises:
        ConfigError: `a` is one value.
    """
    *parents, last = key.split(".")
    for parent in parents:
        inner = settings.get(parent)
        if inner is None:
            inner = settings[parent] = {}
        if not isinstance(inner, dict):
            raise ConfigError(f"space.{key}: {parent} is one value in base, not a group of settings")
        settings = inner
    settings[last] = value
