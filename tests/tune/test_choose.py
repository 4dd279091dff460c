"""Laws of choosing: the Pareto front, the rules, and how strongly a hyperparameter goes with a metric."""

import itertools
import math
import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import spearmanr

from raycolor.tune.choose import best, describe, pareto
from raycolor.tune.effects import effect

BOTH = {"mse": "min", "accuracy_10": "max"}


def points(*pairs):
    """Return trials of (mse, accuracy_10)."""
    return {number: {"mse": mse, "accuracy_10": accuracy} for number, (mse, accuracy) in enumerate(pairs)}


def test_pareto_front_of_a_known_case():
    """Worse in both is beaten; equal points stay together; a missing or infinite metric leaves the comparison."""
    trials = points((1, 1), (2, 2), (2, 1), (3, 3), (3, 3), (0, math.nan), (math.inf, 9))
    trials[7] = {"mse": 0.0}
    assert pareto(trials, BOTH) == {0, 1, 3, 4}


@given(st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6)), min_size=1, max_size=12))
def test_pareto_front_is_what_nothing_beats(pairs):
    """A trial is on the front exactly if no other is at least as good in all and better in one."""

    def beats(a, b):
        return a[0] <= b[0] and a[1] >= b[1] and a != b

    expected = {n for n, mine in enumerate(pairs) if not any(beats(other, mine) for other in pairs)}
    assert pareto(points(*pairs), BOTH) == expected
    assert expected


def test_rules_choose_what_they_say():
    """`first` takes the lowest mse, `within` gives 5% of it away for the second objective."""
    trials = points((1.00, 0.10), (1.04, 0.30), (1.06, 0.90), (2.00, 1.00))
    assert best(trials, BOTH, "first") == 0
    assert best(trials, BOTH, "within", 0.05) == 1
    assert best(trials, BOTH, "within", 0.10) == 2
    assert best(trials, {"accuracy_10": "max"}, "first") == 3
    assert best(trials, {"accuracy_10": "max", "mse": "min"}, "within", 0.15) == 2
    assert best({}, BOTH) is None
    assert best({4: {"mse": math.nan}}, {"mse": "min"}) is None
    assert best(points((1, 1), (1, 1)), BOTH, "within") == 0


def test_rules_as_sentences_name_objectives_and_numbers():
    """The page states the rule: every objective that it uses, and the tolerance."""
    assert describe("first", 0.05, BOTH) == "the lowest mse"
    assert describe("within", 0.05, BOTH) == (
        "the highest accuracy_10 among the trials whose mse is within 5% of the lowest mse"
    )


def test_effect_of_numbers_is_spearmans():
    """Of numbers, strength and sign are Spearman's rank correlation, ties included (reference: scipy)."""
    generator = np.random.default_rng(0)
    for _ in range(20):
        x, y = generator.integers(0, 8, 15), generator.integers(0, 8, 15)
        found = effect(x.tolist(), y.tolist(), numeric=True)
        assert found.sign * found.strength == pytest.approx(spearmanr(x, y).statistic, abs=1e-12)


def test_effect_of_words_is_the_correlation_ratio_of_ranks():
    """Words that split the ranks cleanly are strong; words that say nothing are 0."""
    clean = effect(["a"] * 5 + ["b"] * 5, range(10), numeric=False)
    between, total = 2 * 5 * 2.5**2, sum((rank - 5.5) ** 2 for rank in range(1, 11))
    assert clean.strength == pytest.approx(math.sqrt(between / total))
    assert clean.sign == 0
    assert effect(["a", "b", "b", "a"], [1, 2, 3, 4], numeric=False).strength == pytest.approx(0, abs=1e-9)


def test_chance_is_the_permutation_p_value():
    """For five trials all 120 orders can be counted: the sampled share agrees within four standard deviations."""
    x, y = [1, 2, 3, 4, 5], [2.0, 1.0, 3.0, 4.0, 5.0]
    strength = abs(spearmanr(x, y).statistic)
    hits = [abs(spearmanr(x, order).statistic) >= strength - 1e-9 for order in itertools.permutations(y)]
    exact = sum(hits) / len(hits)
    assert effect(x, y, numeric=True).chance == pytest.approx(exact, abs=4 * math.sqrt(exact * (1 - exact) / 2000))
    noise = random.Random(1)
    chances = [
        effect([noise.random() for _ in range(8)], [noise.random() for _ in range(8)], numeric=True).chance
        for _ in range(40)
    ]
    assert 0.25 < sum(chances) / 40 < 0.75


def test_nothing_is_said_of_too_little():
    """Fewer than four trials, one value only or one metric only give no number."""
    assert effect([1, 2, 3], [1, 2, 3], numeric=True) is None
    assert effect([1, 1, 1, 1], [1, 2, 3, 4], numeric=True) is None
    assert effect([1, 2, 3, 4], [1, 1, 1, 1], numeric=True) is None
