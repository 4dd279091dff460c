"""What Ray Tune calls during a sweep: the scheduler, the source of trials, and the watcher that writes their ends."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Final

import ray
from ray import ActorID, PlacementGroupID, tune
from ray.tune.schedulers import AsyncHyperBandScheduler, FIFOScheduler, TrialScheduler
from ray.tune.search import Searcher
from ray.util.placement_group import PlacementGroup, remove_placement_group

from raycolor.cluster.errors import last_line
from raycolor.errors import ConfigError
from raycolor.tune.placement import Placement
from raycolor.tune.plan import Plan
from raycolor.tune.records import SweepRecords, Trial

TRIAL_RESTARTS: Final = 2  # of the process that watches over a trial, for example when its node is lost

ORPHANS_EVERY_S: Final = 2.0

OnEvent = Callable[[set[int], int, Mapping[str, Any]], None]


def scheduler_of(plan: Plan, known: Iterable[Trial]) -> FIFOScheduler:
    """Return what stops trials early."""
    if plan.config.scheduler.name == "none":
        return FIFOScheduler()  # type: ignore[no-untyped-call]
    return RecordedAsha(plan, known)


class RecordedAsha(AsyncHyperBandScheduler):
    """ASHA that starts with the recorded curves, and gives a reason for each trial that it stops.

    Trials go by their number here, which lasts longer than Tune's name for them.
    """

    def __init__(self, plan: Plan, known: Iterable[Trial]) -> None:
        settings = plan.config.scheduler
        self.objective = settings.metric or next(iter(plan.config.objectives))
        super().__init__(
            time_attr="epoch",
            metric=f"val/{self.objective}",
            mode=plan.config.objectives[self.objective],
            max_t=plan.epochs,
            grace_period=settings.grace_epochs,
            reduction_factor=settings.reduction_factor,
            stop_last_trials=False,
        )
        self.reasons: dict[int, str] = {}
        nobody: Any = None  # a replay has no controller, and ASHA asks for none
        for trial in known:
            if trial.curve and trial.status != "failed":
                stub = _stub(trial.number)
                super().on_trial_add(nobody, stub)
                for row in trial.curve:
                    result = {"epoch": row["epoch"], f"val/{self.objective}": row.get(f"val_{self.objective}")}
                    super().on_trial_result(nobody, stub, result)

    def on_trial_add(self, tune_controller: Any, trial: Any) -> None:
        super().on_trial_add(tune_controller, _stub(trial.config["number"]))

    def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:
        number = trial.config["number"]
        decision: str = super().on_trial_result(tune_controller, _stub(number), result)
        if decision == TrialScheduler.STOP:
            value = result[f"val/{self.objective}"]
            self.reasons[number] = f"asha: {self.objective} {value:.5g} after epoch {result['epoch']:.0f}"
        return decision

    def on_trial_complete(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> None:
        super().on_trial_complete(tune_controller, _stub(trial.config["number"]), result)

    def on_trial_remove(self, tune_controller: Any, trial: Any) -> None:
        super().on_trial_remove(tune_controller, _stub(trial.config["number"]))


def _stub(number: int) -> Any:
    return SimpleNamespace(trial_id=str(number))


class Points(Searcher):
    """Hands out trials: first those begun, then those planned; with TPE each is drawn when it is needed."""

    def __init__(self, plan: Plan, records: SweepRecords, placement: Placement, pending: list[int]) -> None:
        super().__init__()
        self._plan, self._records, self._placement, self._pending = plan, records, placement, pending

    def suggest(self, trial_id: str) -> dict[str, Any] | str:  # type: ignore[override]  # Searcher says so in words
        """Return what `run_trial` takes, for the next trial."""
        if self._pending:
            wanted = self._pending.pop(0)
            trial = next(trial for trial in self._records.trials() if trial.number == wanted)
            return self._assignment(trial)
        while (drawn := self._draw()) is not None:
            if drawn.status == "waiting":
                return self._assignment(drawn)
        return self.FINISHED

    def _draw(self) -> Trial | None:
        known = self._records.trials()
        taken = {trial.number for trial in known}
        number = next((number for number in range(self._plan.trials) if number not in taken), None)
        if number is None or self._plan.sampler is None:
            return None
        values = self._plan.sampler.ask(number, known)
        try:
            trial = self._plan.trial(number, values)
        except ConfigError as exc:  # its corners were valid, this combination is not
            trial = Trial(number, values, {}, "failed")
            self._records.plan(trial)
            self._records.end(number, "failed", reason=str(exc))
            return trial
        self._records.plan(trial)
        return trial

    def _assignment(self, trial: Trial) -> dict[str, Any]:
        return {
            "number": trial.number,
            "settings": self._plan.train_config(trial).model_dump(mode="json"),
            "sweep": self._plan.out,
            "resources": self._placement.per_worker,
            "workers_per_node": self._placement.workers_per_node,
            "max_failures": self._plan.config.max_failures,
        }

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """Learn nothing here: the sampler reads the records."""

    def save(self, checkpoint_path: str) -> None:
        """Write the file that Tune asks for; nothing is ever read from it."""
        Path(checkpoint_path).write_bytes(b"")

    def restore(self, checkpoint_path: str) -> None:
        """Do nothing: a sweep is continued from its records."""


class Watcher(tune.Callback):
    """Records the end of trials that could not do so themselves, and reports events."""

    def __init__(self, plan: Plan, records: SweepRecords, scheduler: FIFOScheduler, on_event: OnEvent) -> None:
        self._plan, self._records, self._scheduler, self._on_event = plan, records, scheduler, on_event
        self._running: set[int] = set()
        self._freed = time.monotonic()

    def on_trial_start(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """Count the trial as running."""
        self._running.add(trial.config["number"])

    def on_trial_result(
        self, iteration: int, trials: list[Any], trial: Any, result: dict[str, Any], **info: Any
    ) -> None:
        """Pass a row of the curve on."""
        if "epoch" in result:
            self._on_event(set(self._running), trial.config["number"], result)

    def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """Record a trial that the scheduler stopped; one that finished has a record of its own."""
        number = trial.config["number"]
        reasons: dict[int, str] = getattr(self._scheduler, "reasons", {})
        last = trial.last_result or {}
        if number in reasons:
            done = last.get("epoch", 0) >= self._plan.epochs
            self._records.end(
                number,
                "finished" if done else "stopped",
                reason="" if done else reasons[number],
                seconds=last.get("time_total_s"),
            )
        self._ended(number)

    def on_step_end(self, iteration: int, trials: list[Any], **info: Any) -> None:
        """Free what trials held that were stopped, or died."""
        if time.monotonic() - self._freed >= ORPHANS_EVERY_S:
            free_orphans()
            self._freed = time.monotonic()

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """Record a trial whose process died, or that met what it does not expect, too often."""
        number = trial.config["number"]
        reason = last_line(trial.get_error())[:500]
        self._records.end(number, "failed", reason=f"the trial's process failed {TRIAL_RESTARTS + 1} times: {reason}")
        self._ended(number)

    def _ended(self, number: int) -> None:
        self._running.discard(number)
        self._on_event(set(self._running), number, {})


def free_orphans() -> int:
    """Remove the placement groups of this job whose creator, an actor, is dead; returns how many.

    Ray keeps them until the job ends, and with them the CPUs of a trial that was stopped. Ray Train's own cleaner needs
    a dashboard, and gives up where a machine runs more than one Ray. To free the group when the trial is stopped would
    be too early: the training, which dies a little later, would take the loss of its workers for a failure and make
    a new group.
    """
    groups = _orphaned_groups(ray.get_runtime_context().get_job_id())
    for group in groups:
        remove_placement_group(group)
    return len(groups)


def _orphaned_groups(job_id: str) -> list[PlacementGroup]:
    """Return the placement groups of a job whose creating actor is dead.

    No public function of Ray tells that, so this one alone uses private ones; tests/tune/test_orphans.py runs it.
    """
    from ray._private import state
    from ray.core.generated import gcs_pb2

    table: Any = vars(gcs_pb2)["PlacementGroupTableData"]  # made when it is imported: no type checker sees it
    records = state.state._connect_and_get_accessor().get_placement_group_table()
    return [
        PlacementGroup(PlacementGroupID(group.placement_group_id))
        for group in map(table.FromString, records)
        if group.creator_job_id.hex() == job_id
        and group.state != table.REMOVED
        and not ActorID(group.creator_actor_id).is_nil()
        and group.creator_actor_dead
    ]
