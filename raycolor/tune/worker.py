"""One trial of a sweep, in a process of its own: a Ray Train run, and the record of its end."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from ray import tune

from raycolor.errors import RaycolorError, StorageError
from raycolor.storage import open_store
from raycolor.train.config import TrainConfig
from raycolor.train.driver import train_connected
from raycolor.train.run_folder import check
from raycolor.tune.records import SweepRecords


def report(row: Mapping[str, float]) -> None:
    """Tell Tune a row of the curve.

    Not by Ray's TuneReportCallback: a last report that Tune has not yet fetched when the trial returns locks it up for
    good, for the callback's queue and the trial's end wait for each other (Ray 2.60, `_get_result_from_queues`).
    """
    tune.report({key.replace("_", "/", 1): value for key, value in row.items()})


def run_trial(assignment: dict[str, Any]) -> None:
    """Train one trial to its end, from its newest checkpoint if it has one.

    Args:
        assignment: `number`, `settings` (a whole train configuration), `sweep` (folder), `resources` (of a worker),
            `workers_per_node`, `max_failures`.

    Raises:
        StorageError: the sweep folder or the dataset cannot be reached; Tune starts the trial again.
    """
    started = time.monotonic()
    config = TrainConfig.model_validate(assignment["settings"])
    records = SweepRecords(open_store(assignment["sweep"]))
    try:
        train_connected(
            check(config),
            max_failures=assignment["max_failures"],
            resources=assignment["resources"],
            workers_per_node=assignment["workers_per_node"],
            on_epoch=report,
        )
    except StorageError:
        raise
    except RaycolorError as exc:
        # The trial's own failure, a NaN loss among them: tried again it would fail again.
        seconds = time.monotonic() - started
        records.end(assignment["number"], "failed", reason=" ".join(str(exc).split()), seconds=seconds)
        return
    records.end(assignment["number"], "finished", seconds=time.monotonic() - started)
