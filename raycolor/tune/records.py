"""The files of a sweep folder: sweep.json, and a folder with a completion record for each trial."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final, Literal

from raycolor import __version__
from raycolor.errors import ConfigError, ManifestError
from raycolor.storage import ObjectStore, get_if_there
from raycolor.training.loop import parse_curve, val_metrics

FORMAT: Final = "raycolor-sweep"
FORMAT_VERSION: Final = 1
SWEEP_FILE: Final = "sweep.json"
TRIAL_FILE: Final = "trial.json"
OUTCOME_FILE: Final = "outcome.json"
CURVE_FILE: Final = "curve.csv"

Status = Literal["waiting", "running", "unfinished", "finished", "stopped", "failed"]
ENDED: Final[tuple[Status, ...]] = ("finished", "stopped", "failed")
MAY_GROW: Final = "trials"  # the one setting of a sweep that may be raised later


@dataclass(frozen=True)
class Trial:
    """One training of a sweep.

    Attributes:
        number: counted from 0.
        values: dotted key -> value, the point of the space.
        settings: the whole train configuration but for `data`, `out` and `address`.
        status: `waiting` (not started), `running`, `unfinished` (begun, then the sweep was stopped), `finished`,
            `stopped` (by the scheduler), `failed`.
        reason: why it failed or was stopped.
        seconds: of its last start, where it has ended.
        curve: one row per epoch, as in curve.csv.
    """

    number: int
    values: Mapping[str, Any]
    settings: Mapping[str, Any]
    status: Status = "waiting"
    reason: str = ""
    seconds: float | None = None
    curve: tuple[Mapping[str, float], ...] = field(default=(), repr=False)

    @property
    def kept(self) -> Mapping[str, float]:
        """The row of the curve whose weights are the trial's checkpoint: the lowest val mse; empty without one."""
        rows = [row for row in self.curve if math.isfinite(row.get("val_mse", math.nan))]
        return min(rows, key=lambda row: row["val_mse"]) if rows else {}

    @property
    def metrics(self) -> dict[str, float]:
        """Metrics on val of the trial's checkpoint."""
        found = val_metrics(self.kept)
        found.pop("n", None)
        return found


def trial_folder(number: int) -> str:
    """Return where a trial lies in its sweep; itself a run folder, and so a checkpoint."""
    return f"trials/{number:04d}"


class SweepRecords:
    """Reads and writes the records of one sweep folder.

    Raises:
        StorageError: the folder cannot be read or written.
    """

    def __init__(self, store: ObjectStore) -> None:
        self.store = store

    def exists(self) -> bool:
        """Whether the folder holds a sweep."""
        return self.store.stat(SWEEP_FILE) is not None

    def claim(self, identity: Mapping[str, Any]) -> None:
        """Write sweep.json, after `check`."""
        record = {
            "format": FORMAT,
            "format_version": FORMAT_VERSION,
            "raycolor_version": __version__,
            "sweep": identity,
        }
        if json.loads(json.dumps(identity)) != self._read_identity():
            self.store.put(SWEEP_FILE, _json(record))

    def check(self, identity: Mapping[str, Any]) -> None:
        """Compare with what an earlier start wrote.

        Args:
            identity: all that decides what the trials are; JSON values. `trials` may be raised later.

        Raises:
            ConfigError: the folder holds another sweep, or a training.
        """
        new = json.loads(json.dumps(identity))
        old = self._read_identity()
        if old is None:
            if self.store.stat("run.json") is not None:
                raise ConfigError(f"{self.store.uri}: holds a training, not a sweep: give another --out")
        else:
            changed = sorted(key for key in {*old, *new} - {MAY_GROW} if old.get(key) != new.get(key))
            if changed:
                changes = "; ".join(difference(key, old.get(key), new.get(key)) for key in changed)
                raise ConfigError(f"{self.store.uri}: holds another sweep ({changes}): give another --out")
            if new[MAY_GROW] < old[MAY_GROW]:
                raise ConfigError(
                    f"trials = {new[MAY_GROW]}: {self.store.uri} has {old[MAY_GROW]} already: "
                    "a sweep may only grow; give another --out"
                )

    def _read_identity(self) -> dict[str, Any] | None:
        data = get_if_there(self.store, SWEEP_FILE)
        if data is None:
            return None
        try:
            record = json.loads(data)
        except ValueError as exc:
            raise ConfigError(f"{self.store.uri}/{SWEEP_FILE}: damaged: sweep into another folder") from exc
        if not isinstance(record, dict) or record.get("format") != FORMAT:
            raise ConfigError(f"{self.store.uri}/{SWEEP_FILE}: describes no sweep: give another --out")
        if record.get("format_version") != FORMAT_VERSION:
            raise ConfigError(
                f"{self.store.uri}: sweep format version {record.get('format_version')!r}: this raycolor reads "
                f"{FORMAT_VERSION}: give another --out"
            )
        return dict(record["sweep"])

    def plan(self, trial: Trial) -> None:
        """Write trial.json: what the trial is, before it starts."""
        record = {"number": trial.number, "values": dict(trial.values), "settings": dict(trial.settings)}
        self.store.put(f"{trial_folder(trial.number)}/{TRIAL_FILE}", _json(record))

    def end(self, number: int, status: Status, *, reason: str = "", seconds: float | None = None) -> None:
        """Write the completion record of a trial; the first one stays."""
        record = {"status": status, "reason": reason, "seconds": seconds}
        self.store.put(f"{trial_folder(number)}/{OUTCOME_FILE}", _json(record), only_if_absent=True)

    def forget_failures(self) -> list[int]:
        """Remove the completion records of failed trials, so that they are tried again; return their numbers."""
        failed = [trial.number for trial in self.trials() if trial.status == "failed"]
        for number in failed:
            self.store.delete(f"{trial_folder(number)}/{OUTCOME_FILE}")
        return failed

    def trials(self) -> list[Trial]:
        """Read every trial, by number.

        Raises:
            ManifestError: a record is damaged.
        """
        keys = {info.key for info in self.store.list("trials/")}
        plans = sorted(key for key in keys if key.endswith(f"/{TRIAL_FILE}") and key.count("/") == 2)
        return [self._trial(key.removesuffix(TRIAL_FILE), keys) for key in plans]

    def _trial(self, folder: str, keys: set[str]) -> Trial:
        try:
            plan = json.loads(self.store.get(folder + TRIAL_FILE))
            trial = Trial(int(plan["number"]), plan["values"], plan["settings"])
            if folder + CURVE_FILE in keys:
                trial = replace(trial, curve=tuple(parse_curve(self.store.get(folder + CURVE_FILE))))
            if folder + "run.json" in keys:
                trial = replace(trial, status="unfinished")
            if folder + OUTCOME_FILE in keys:
                outcome = json.loads(self.store.get(folder + OUTCOME_FILE))
                if outcome["status"] not in ENDED:
                    raise ValueError(outcome["status"])
                trial = replace(
                    trial, status=outcome["status"], reason=str(outcome["reason"]), seconds=outcome["seconds"]
                )
        except (ValueError, KeyError, TypeError) as exc:
            raise ManifestError(
                f"{self.store.uri}/{folder}: a record of this trial is damaged ({exc}): remove that folder, "
                "and the same command does the trial again"
            ) from exc
        return trial


def difference(key: str, old: Any, new: Any) -> str:
    """Describe the difference of two values of a setting, group by group."""
    if isinstance(old, dict) and isinstance(new, dict):
        inner = sorted(name for name in {*old, *new} if old.get(name) != new.get(name))
        return ", ".join(difference(f"{key}.{name}", old.get(name), new.get(name)) for name in inner)
    return f"{key}: {old!r}, now {new!r}"


def _json(record: Mapping[str, Any]) -> bytes:
    return (json.dumps(record, indent=1, ensure_ascii=False) + "\n").encode()
