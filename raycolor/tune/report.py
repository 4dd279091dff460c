"""SWEEP/report: the page and the same data as CSV and Parquet, whether the sweep has ended or not."""

from __future__ import annotations

import datetime
import json
import logging
import shlex
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

import yaml

from raycolor import __version__
from raycolor.codecs.thumbnail import data_uri, thumbnail
from raycolor.config import flattened
from raycolor.errors import RaycolorError
from raycolor.models import checkpoints
from raycolor.pages.plots import number_text
from raycolor.pages.render import render
from raycolor.train.config import TrainConfig
from raycolor.tune.page_content import Results, effect_rows, sections, trial_rows, value_text
from raycolor.tune.pictures import Strip, strips
from raycolor.tune.plan import Plan
from raycolor.tune.records import ENDED, SweepRecords, Trial, trial_folder
from raycolor.tune.tables import curves_table, to_csv, to_parquet, trials_table

logger = logging.getLogger(__name__)

REPORT: Final = "report"
_SIDE_PX: Final = 192


class Reporter:
    """Writes the report repeatedly; makes pictures again only when other trials are to be shown."""

    def __init__(self, records: SweepRecords, plan: Plan) -> None:
        self._records, self._plan, self._uri = records, plan, records.store.uri
        self._pictured: tuple[tuple[int, ...], list[Strip]] = ((), [])

    def write(self, running: frozenset[int] = frozenset(), *, seconds: float | None = None) -> Results:
        """Write the report of what the records say now, index.html last.

        Args:
            running: trials that are being trained.
            seconds: how long this start of the sweep took, where it is over.

        Raises:
            StorageError: the folder cannot be read or written.
            ManifestError: a record is damaged.
        """
        trials = [
            replace(trial, status="running") if trial.number in running and trial.status not in ENDED else trial
            for trial in self._records.trials()
        ]
        results = Results(self._plan, trials)
        best = None if results.best is None else results.best.number
        table = trials_table(trials, front=results.front, best=best, sweep_uri=self._uri)
        curves = curves_table(trials)
        files = {
            "trials.csv": to_csv(table),
            "trials.parquet": to_parquet(table),
            "curves.csv": to_csv(curves),
            "curves.parquet": to_parquet(curves),
        }
        if results.best is not None:
            files["best.yaml"] = configuration_yaml(results.best).encode()
        files["summary.json"] = self._summary(results, seconds)
        files["index.html"] = self._page(results).encode()
        for name, data in files.items():
            self._records.store.put(f"{REPORT}/{name}", data)
        return results

    def _summary(self, results: Results, seconds: float | None) -> bytes:
        plan, best = self._plan, results.best
        record = {
            "raycolor_version": __version__,
            "counts": dict(Counter(trial.status for trial in results.trials)),
            "planned": plan.trials,
            "rule": plan.rule,
            "best": None if best is None else {
                "trial": best.number,
                "values": dict(best.values),
                "metrics": best.metrics,
                "checkpoint": f"{self._uri}/{trial_folder(best.number)}",
                "command": reproduce(best.settings, plan.data),
            },
            "pareto": sorted(results.front),
            "settings": _settings(plan),
            "seconds": seconds,
        }  # fmt: skip
        return json.dumps(record, indent=1, ensure_ascii=False).encode() + b"\n"

    def _page(self, results: Results) -> str:
        """Return HTML that needs nothing else: charts are SVG, pictures embedded JPEGs of at most 192 px."""
        plan = self._plan
        counts: Counter[str] = Counter(trial.status for trial in results.trials)
        heads, rows = trial_rows(results)
        effect_heads, effects, effect_notes = effect_rows(results)
        shown = pictured(results)
        return render(
            "tune/page.html",
            title=f"Sweep of {', '.join(one.key for one in plan.space)}",
            state=_state(counts, plan.trials),
            totals=[(str(count), status) for status, count in sorted(counts.items())]
            + [(str(len(results.front)), "on the Pareto front")],
            best=None if results.best is None else self._best(results.best),
            heads=heads,
            rows=rows,
            sections=sections(results),
            effect_heads=effect_heads,
            effect_rows=effects,
            effect_notes=effect_notes,
            captions=["input", *(self._caption(trial, roles) for trial, roles in shown), "photograph"],
            shown=[
                {"id": strip.id, "pictures": [data_uri(thumbnail(pixels, _SIDE_PX)) for pixels in strip.pictures]}
                for strip in self._photographs([trial for trial, _ in shown])
            ],
            photograph_note="The first photographs of val, whose order is that of a hash, by the best trial and by "
            f"those with the lowest, median and highest value of {plan.lead.key}.",
            notes=[
                "Metrics are those of a trial's checkpoint, measured on val: the epoch with its lowest val mse (kept "
                "epoch). Bold objectives: no other trial is better in one without being worse in another.",
            ],
            facts={
                "Sweep": {"folder": self._uri, "dataset": plan.data, **_settings(plan)},
                "Space": {one.key: f"{one.kind} {', '.join(map(value_text, one.values))}" for one in plan.space},
            },
        )

    def _best(self, trial: Trial) -> dict[str, Any]:
        """Return what a reader needs to use the chosen trial and to make it again."""
        where = f"{self._uri}/{trial_folder(trial.number)}"
        notes = []
        if trial.status != "finished":
            notes.append(
                f"This trial had {len(trial.curve)} of {trial.settings.get('epochs')} epochs. The command trains all "
                "of them: it passes through the same weights on the way, and goes on."
            )
        notes.append(
            "The same dataset, number of workers and of threads on the same kind of machine give the same curve."
        )
        return {
            "number": trial.number,
            "rule": self._plan.rule,
            "values": {key: value_text(value) for key, value in trial.values.items()},
            "metrics": {name: number_text(value) for name, value in trial.metrics.items()},
            "checkpoint": where,
            "use": f"raycolor colorize SOURCE DEST --checkpoint {shlex.quote(where)}",
            "command": reproduce(trial.settings, self._plan.data),
            "configuration": configuration_yaml(trial),
            "notes": notes,
        }

    def _caption(self, trial: Trial, roles: list[str]) -> str:
        key = self._plan.lead.key
        return f"{', '.join(roles)}: trial {trial.number}, {key} = {value_text(trial.values[key])}"

    def _photographs(self, trials: list[Trial]) -> list[Strip]:
        """Color the photographs by some trials; none where their checkpoints cannot be read."""
        numbers = tuple(trial.number for trial in trials)
        if numbers and numbers != self._pictured[0]:
            folders = [f"{self._uri}/{trial_folder(number)}" for number in numbers]
            crop_px = min(int(trial.settings["crop_px"]) for trial in trials)
            try:
                made = strips([checkpoints.load(folder) for folder in folders], self._plan.data, crop_px=crop_px)
            except RaycolorError as exc:
                # The page is a view of the sweep, not its record: it does without pictures.
                logger.warning("the report has no new pictures: %s", exc)
                return []
            self._pictured = numbers, made
        return self._pictured[1] if numbers else []


def pictured(results: Results) -> list[tuple[Trial, list[str]]]:
    """Return the trials whose pictures are shown, each once, with why: the best, and low, median, high of a number."""
    roles: dict[int, list[str]] = {}
    if results.best is not None:
        roles[results.best.number] = ["best"]
    lead = results.plan.lead
    ended = [trial for trial in results.good if trial.status in ENDED]
    if lead.numeric and ended:
        order = sorted(ended, key=lambda trial: (trial.values[lead.key], trial.number))
        for role, trial in (("lowest", order[0]), ("median", order[len(order) // 2]), ("highest", order[-1])):
            roles.setdefault(trial.number, []).append(role)
    by_number = {trial.number: trial for trial in ended}
    return [(by_number[number], found) for number, found in roles.items() if number in by_number]


def configuration_yaml(trial: Trial) -> str:
    """Return a trial's configuration as a file for `raycolor train --config`."""
    return yaml.safe_dump(dict(trial.settings), sort_keys=False, allow_unicode=True)


def reproduce(settings: Mapping[str, Any], data: str) -> str:
    """Return the command that trains with these settings again.

    Args:
        settings: a train configuration without `data`, `out` and `address`.
        data: dataset.
    """
    plain = TrainConfig(method="", data="", out="").model_dump(mode="json")
    defaults = flattened(plain)
    changed = [
        (key, value)
        for key, value in flattened(settings).items()
        if key != "method" and (key not in defaults or defaults[key] != value)
    ]
    sets = [shlex.quote(f"{key}={_yaml(value)}") for key, value in changed]
    words = ["raycolor", "train", str(settings["method"]), "--data", shlex.quote(data), "--out", "best-again"]
    return " ".join([*words, *(f"--set {text}" for text in sets)])


def _yaml(value: Any) -> str:
    text: str = yaml.safe_dump(value, default_flow_style=True, width=10_000, allow_unicode=True)
    return text.strip().removesuffix("...").strip()


def _settings(plan: Plan) -> dict[str, Any]:
    """Return what the end of the page says of a sweep beside its space."""
    config, scheduler = plan.config, plan.config.scheduler
    asha = f"asha, grace_epochs {scheduler.grace_epochs}, reduction_factor {scheduler.reduction_factor:g}"
    return {
        "objectives": ", ".join(f"{mode} {name}" for name, mode in config.objectives.items()),
        "best": plan.rule,
        "search": config.search,
        "seed": config.seed,
        "scheduler": asha if scheduler.name == "asha" else "none",
        "epochs": plan.epochs,
        "workers per trial": config.workers,
        "dataset fingerprint": plan.dataset.fingerprint[:12],
    }


def _state(counts: Mapping[str, int], planned: int) -> str:
    ended = sum(counts.get(status, 0) for status in ENDED)
    now = datetime.datetime.now(datetime.UTC)
    text = f"{ended} of {planned} trials have ended. Written {now:%Y-%m-%d %H:%M} UTC."
    if ended < planned and not counts.get("running"):
        text += " The sweep was stopped; the same command goes on with it."
    return text
