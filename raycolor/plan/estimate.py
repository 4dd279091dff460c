"""Estimate totals, with intervals, from a stratified sample."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import variance
from typing import Final, NamedTuple

_Z: Final = 1.959964  # 97.5% of the normal distribution
# 97.5% of Student's distribution for 1 to 10 degrees of freedom.
_T: Final = (12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228)


class Estimate(NamedTuple):
    """A figure and its 95% interval; equal bounds where all was looked at, None where nothing can be said."""

    value: float
    low: float | None
    high: float | None

    def scaled(self, factor: float) -> Estimate:
        """Return it in another unit."""
        low, high = (None if bound is None else bound * factor for bound in (self.low, self.high))
        return Estimate(self.value * factor, low, high)

    def shifted(self, by: float) -> Estimate:
        """Return it with a known figure added."""
        low, high = (None if bound is None else bound + by for bound in (self.low, self.high))
        return Estimate(self.value + by, low, high)


class Stratum(NamedTuple):
    """One group of inputs and what was measured on its sample."""

    population: int
    values: Sequence[float]


def total(strata: Sequence[Stratum]) -> Estimate:
    """Estimate the sum of a quantity that is never negative over all inputs.

    Each stratum counts with its mean times its size; the interval is Student's with Satterthwaite's degrees of freedom
    and the finite population correction, and never below what was seen in the sample.

    Source: Cochran, Sampling Techniques (1977), 5.3 to 5.4.
    """
    value = spread = freedom = 0.0
    for population, values in strata:
        seen = len(values)
        value += population * sum(values) / seen
        if seen == population:
            continue
        if seen == 1:
            return Estimate(population * values[0], None, None)
        part = population**2 * (1 - seen / population) * variance(values) / seen
        spread += part
        freedom += part**2 / (seen - 1)
    half = _student(spread**2 / freedom) * math.sqrt(spread) if freedom else 0.0
    return Estimate(value, max(value - half, sum(sum(stratum.values) for stratum in strata)), value + half)


def count(strata: Sequence[Stratum]) -> Estimate:
    """Estimate how many of all inputs have a property; `values` are 1 or 0.

    The interval is Wilson's, so that a property that nobody in the sample has may still be there. The effective size
    of the sample counts uneven places and the finite population (Kish 1965); bounds agree with what was seen.
    """
    inputs = sum(stratum.population for stratum in strata)
    share = sum(population * sum(values) / len(values) for population, values in strata) / inputs
    uncertain = sum(
        (population / inputs) ** 2 * (1 - len(values) / population) / len(values) for population, values in strata
    )
    if uncertain <= 0:
        return Estimate(share * inputs, share * inputs, share * inputs)
    size = 1 / uncertain
    middle = (share + _Z**2 / (2 * size)) / (1 + _Z**2 / size)
    half = _Z * math.sqrt(share * (1 - share) / size + _Z**2 / (4 * size**2)) / (1 + _Z**2 / size)
    having = sum(sum(values) for _, values in strata)
    lacking = sum(len(values) for _, values in strata) - having
    low, high = max((middle - half) * inputs, having), min((middle + half) * inputs, inputs - lacking)
    return Estimate(share * inputs, low, high)


def _student(freedom: float) -> float:
    """Return the 97.5% quantile of Student's distribution, within 0.003."""
    if freedom < len(_T) + 1:
        return _T[max(1, int(freedom)) - 1]
    return _Z + (_Z**3 + _Z) / (4 * freedom) + (5 * _Z**5 + 16 * _Z**3 + 3 * _Z) / (96 * freedom**2)
