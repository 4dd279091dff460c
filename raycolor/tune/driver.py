"""A sweep on Ray Tune: each trial a Ray Train run, each end a record in the sweep folder.

Ray Tune's own state is not what a sweep is continued from: it is written now and then, ours whenever a trial ends.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Mapping
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any, Final

from ray import tune

from raycolor.cluster import session
from raycolor.cluster.placement import SPARE_CPUS, gpus_to_use, living_nodes
from raycolor.errors import ConfigError, TrainingError
from raycolor.pages.plots import number_text
from raycolor.storage import open_store
from raycolor.storage.lease import Lease
from raycolor.tune.callbacks import TRIAL_RESTARTS, OnEvent, Points, Watcher, scheduler_of
from raycolor.tune.config import TuneConfig
from raycolor.tune.page_content import Results, value_text
from raycolor.tune.placement import TRIAL_CPUS, Placement, place
from raycolor.tune.plan import Plan, make_plan
from raycolor.tune.records import ENDED, SweepRecords
from raycolor.tune.report import REPORT, Reporter
from raycolor.tune.worker import run_trial

logger = logging.getLogger(__name__)

TUNE_FOLDER: Final = "tune"  # Ray Tune's own files; of no use once the sweep has ended
_REPORT_SHARE: Final = 20  # a report that took a second is not written again for so many
_LONGEST_REST_S: Final = 300.0


def run(config: TuneConfig) -> int:
    """Run a sweep, or go on with it.

    Raises:
        ConfigError: settings that cannot be used, another sweep in `out`, or more than the cluster has.
        ManifestError: another `raycolor tune` is at work there, or a record is damaged.
        DatasetError: no dataset, or a damaged one.
        StorageError: dataset or sweep folder cannot be reached.
        TrainingError: every trial failed, or Ray Tune did.
    """
    started = time.monotonic()
    plan = make_plan(config)
    records = SweepRecords(open_store(plan.out))
    if config.resume and not records.exists():
        raise ConfigError(f"{plan.out}: holds no sweep to resume: leave --resume out to start one")
    records.check(plan.identity())
    with Lease(records.store):
        if _has_work(plan, records):
            gpu = bool(config.use_gpu)
            with session.connect(config.address, scale_to=config.scale_to, gpu=gpu):
                placement = _placement(plan)
                _claim(plan, records)
                results = _sweep(plan, records, placement, started)
        else:
            results = Reporter(records, plan).write(seconds=time.monotonic() - started)
    _tell(plan, results)
    failed = [trial for trial in results.trials if trial.status == "failed"]
    if len(failed) == len(results.trials):
        raise TrainingError(f"{plan.out}: every trial failed; the first: {failed[0].reason}")
    return 0


def _has_work(plan: Plan, records: SweepRecords) -> bool:
    trials = records.trials()
    open_ones = [trial for trial in trials if trial.status not in ENDED]
    again = plan.config.retry_failed and any(trial.status == "failed" for trial in trials)
    return len(trials) < plan.trials or bool(open_ones) or again


def _placement(plan: Plan) -> Placement:
    nodes, config = [dict(node["Resources"]) for node in living_nodes()], plan.config
    wanted = config.use_gpu
    if wanted is None and "GPU" in config.resources:
        wanted = bool(config.resources["GPU"])
    return place(
        nodes,
        resources=config.resources,
        workers=config.workers,
        max_concurrent=config.max_concurrent,
        gpu=gpus_to_use(wanted) > 0,
        spare_cpus=SPARE_CPUS,
    )


def _claim(plan: Plan, records: SweepRecords) -> None:
    """Claim the folder, and write trial.json of every planned trial before the first one starts."""
    records.claim(plan.identity())
    if plan.sampler is None:
        taken = {trial.number for trial in records.trials()}
        for number in range(plan.trials):
            if number not in taken:
                records.plan(plan.trial(number, plan.point(number)))
    if plan.config.retry_failed:
        numbers = records.forget_failures()
        if numbers:
            logger.info("tune: trying failed trials again: %s", ", ".join(map(str, numbers)))


def _sweep(plan: Plan, records: SweepRecords, placement: Placement, started: float) -> Results:
    """Run the trials and keep the report up to date, also after an error."""
    reporter = Reporter(records, plan)
    done = sum(trial.status in ENDED for trial in records.trials())
    logger.info(
        "tune: %d trials, %d of them done | %d at once, %d worker(s) each | %s",
        plan.trials, done, placement.concurrent, plan.config.workers, ", ".join(one.key for one in plan.space),
    )  # fmt: skip
    not_before = 0.0

    def on_event(running: set[int], number: int, row: Mapping[str, Any]) -> None:
        nonlocal not_before
        if row:
            found = " | ".join(f"{name} {number_text(row[f'val/{name}'])}" for name in plan.config.objectives)
            logger.info("tune: trial %d: epoch %d/%d | %s", number, row["epoch"], plan.epochs, found)
        else:
            trials = records.trials()
            trial = next(trial for trial in trials if trial.number == number)
            ended = sum(trial.status in ENDED for trial in trials)
            reason = f" ({trial.reason})" if trial.reason else ""
            logger.info("tune: trial %d %s%s | trials %d/%d", number, trial.status, reason, ended, plan.trials)
        if time.monotonic() >= not_before:
            # The clock would count what else the machine does: a busy one would have no report for an hour.
            before = time.process_time()
            reporter.write(frozenset(running))
            rest_s = _REPORT_SHARE * (time.process_time() - before)
            not_before = time.monotonic() + min(rest_s, _LONGEST_REST_S)

    reporter.write()
    try:
        _run_sweep(plan, records, placement, on_event)
    finally:
        # After Ctrl-C and errors too; after SIGKILL the report is the last one that was written.
        results = reporter.write(seconds=time.monotonic() - started)
    return results


def _run_sweep(plan: Plan, records: SweepRecords, placement: Placement, on_event: OnEvent) -> None:
    """Run every trial that has not ended, on the connected cluster.

    Args:
        plan: the sweep.
        records: of its folder, claimed.
        placement: where trials go.
        on_event: called with the running trials, a trial's number and what is new of it: a row of its curve, or nothing
            when it has ended.

    Raises:
        TrainingError: Ray Tune itself failed.
        StorageError: the sweep folder cannot be reached.
    """
    known = records.trials()
    pending = [trial.number for trial in known if trial.status == "unfinished"]
    pending += [trial.number for trial in known if trial.status == "waiting"]
    missing = plan.trials - len(known)
    scheduler = scheduler_of(plan, known)
    watcher = Watcher(plan, records, scheduler, on_event)
    tuner = tune.Tuner(
        tune.with_resources(run_trial, {"CPU": TRIAL_CPUS}),
        tune_config=tune.TuneConfig(
            search_alg=Points(plan, records, placement, pending),
            scheduler=scheduler,
            num_samples=len(pending) + missing,
            max_concurrent_trials=placement.concurrent,
            trial_dirname_creator=lambda trial: f"trial-{trial.config['number']}-{trial.trial_id}",
        ),
        run_config=tune.RunConfig(
            name=TUNE_FOLDER,
            storage_path=open_store(plan.out).uri,
            verbose=0,
            callbacks=[watcher],
            failure_config=tune.FailureConfig(max_failures=TRIAL_RESTARTS),
        ),
    )
    try:
        # Tune prints a line per trial however silent it is told to be; what we say goes to standard error.
        with Path(os.devnull).open("w", encoding="utf-8") as nowhere, redirect_stdout(nowhere):
            tuner.fit()
    except tune.TuneError as exc:
        detail = " ".join(str(exc).split())[-300:]
        raise TrainingError(f"{plan.out}: Ray Tune failed ({detail}): run the same command to continue") from exc
    left = [trial.number for trial in records.trials() if trial.status not in ENDED]
    if left:
        raise TrainingError(f"{plan.out}: {len(left)} trials have not ended: run the same command to continue")
    for info in list(records.store.list(f"{TUNE_FOLDER}/")):
        records.store.delete(info.key)


def _tell(plan: Plan, results: Results) -> None:
    if results.best is not None:
        point = ", ".join(f"{key} = {value_text(value)}" for key, value in results.best.values.items())
        logger.info("tune: best is trial %d (%s)", results.best.number, point)
    logger.info("tune: report in %s/%s/index.html", plan.out, REPORT)
