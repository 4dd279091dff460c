"""Points from Optuna's tree-structured Parzen estimator, which learns from the trials that have ended."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from raycolor.tune.choose import Mode, usable
from raycolor.tune.records import Trial
from raycolor.tune.space import Dimension


class TpeSampler:
    """Asks Optuna for points. Its memory is the sweep's records alone, so that a killed sweep forgets nothing."""

    def __init__(self, space: Sequence[Dimension], objectives: Mapping[str, Mode], seed: int) -> None:
        import optuna  # slow to import: other searches need not wait for it

        self._optuna: Any = optuna
        self._optuna.logging.set_verbosity(logging.WARNING)
        self._space, self._objectives, self._seed = space, objectives, seed

    def ask(self, number: int, known: Iterable[Trial]) -> dict[str, Any]:
        """Return the point of trial `number`, given the trials so far.

        Trials without an end count as running: the estimator keeps away from where they are.

        Args:
            number: of the new trial; seeds the draw.
            known: every other trial of the sweep.
        """
        optuna = self._optuna
        directions = ["minimize" if mode == "min" else "maximize" for mode in self._objectives.values()]
        sampler = optuna.samplers.TPESampler(seed=self._seed + number, constant_liar=True)
        study = optuna.create_study(directions=directions, sampler=sampler)
        spread = {one.key: self._distribution(one) for one in self._space}
        states = optuna.trial.TrialState
        for trial in known:
            params = {one.key: self._stored(one, trial.values[one.key]) for one in self._space}
            ended = trial.status in ("finished", "stopped") and usable(trial.metrics, self._objectives)
            state = states.COMPLETE if ended else states.FAIL if trial.status == "failed" else states.RUNNING
            values = [trial.metrics[name] for name in self._objectives] if ended else None
            study.add_trial(optuna.trial.create_trial(params=params, distributions=spread, values=values, state=state))
        asked = study.ask(spread)
        found = {}
        for one in self._space:
            value = asked.params[one.key]
            if one.continuous:
                low, high = one.values
                found[one.key] = min(max(float(f"{value:.6g}"), low), high)
            else:
                found[one.key] = one.values[int(value)]
        return found

    def _distribution(self, one: Dimension) -> Any:
        distributions = self._optuna.distributions
        if one.continuous:
            return distributions.FloatDistribution(*one.values, log=one.kind == "loguniform")
        return distributions.CategoricalDistribution(list(range(len(one.values))))

    def _stored(self, one: Dimension, value: Any) -> Any:
        """Return a value as the study holds it: a word by its place among the words."""
        return value if one.continuous else [repr(known) for known in one.values].index(repr(value))
