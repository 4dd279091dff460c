"""The rank correlation of each hyperparameter with each metric, and its permutation p-value."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

ROUNDS: Final = 2000
FEWEST: Final = 4  # trials below which no number is given


@dataclass(frozen=True)
class Effect:
    """The rank correlation of a hyperparameter with a metric.

    Attributes:
        strength: [0, 1]. Of numbers |Spearman's rank correlation|; of words the correlation ratio of ranks
            (square root of the share of rank variance between the words).
        sign: 1 if the metric rises with the hyperparameter, -1 if it falls, 0 for words.
        chance: share of shuffled sweeps with at least this strength: a permutation p-value.
    """

    strength: float
    sign: int
    chance: float


def effect(values: Sequence[Any], metric: Sequence[float], *, numeric: bool) -> Effect | None:
    """Measure the rank correlation of a hyperparameter with a metric over the trials of a sweep.

    Only a monotone effect of a number shows; one that is best in the middle can look like none.

    Args:
        values: of the hyperparameter, one per trial.
        metric: finite numbers, one per trial.
        numeric: whether values are numbers.

    Returns:
        None with fewer than 4 trials, or where either side is the same everywhere.
    """
    count = len(values)
    texts = [repr(value) for value in values]
    if count < FEWEST or len(set(texts)) < 2 or len(set(metric)) < 2:
        return None
    from scipy.stats import rankdata  # half a second to import

    target = _standard(rankdata(metric))
    if numeric:
        weights = _standard(rankdata([float(value) for value in values]))[None]
    else:
        # One row per word, scaled so that the sum of squares of (row @ ranks) is the variance between words.
        groups = np.array([[text == word for text in texts] for word in sorted(set(texts))], dtype=np.float64)
        weights = groups / np.sqrt(groups.sum(1, keepdims=True))
    generator = np.random.default_rng(0)
    shuffled = generator.permuted(np.broadcast_to(target, (ROUNDS, count)), axis=1)
    found = weights @ target
    strength = float(np.sqrt((found**2).sum()))
    by_chance = np.sqrt(((weights @ shuffled.T) ** 2).sum(0))
    chance = (1 + int((by_chance >= strength - 1e-12).sum())) / (1 + ROUNDS)
    return Effect(min(1.0, strength), int(np.sign(found[0])) if numeric else 0, chance)


def _standard(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Shift and scale to mean 0 and length 1."""
    centered = values - values.mean()
    scaled: NDArray[np.float64] = centered / np.linalg.norm(centered)
    return scaled
