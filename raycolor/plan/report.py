"""The plan as one dictionary: what the JSON file holds and the terminal shows."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from raycolor import __version__
from raycolor.colorize.messages import RAY_START_S, worthwhile_workers
from raycolor.colorize.runner import is_small
from raycolor.machine import cpu_count, gpu_model
from raycolor.plan.config import PlanConfig
from raycolor.plan.counts import FORMATS, PIXEL_CLASSES, SIZE_CLASSES, Count, Counts, class_of, named_format
from raycolor.plan.estimate import Estimate, Stratum, count, total
from raycolor.plan.probe import CheckpointName, Probed
from raycolor.sources import Source

FORMAT_VERSION: Final = 1
NOT_MODELLED: Final = (
    "start-up of a cluster's nodes; on one that runs already, Ray's own is not needed",
    "transfer from and to S3 or disk",
    "CPUs faster or slower than the one measured here, and CPUs that share a core or their memory's bandwidth",
    "photographs that fail and are tried again, and the end of a job, when not all CPUs have work",
    "the page and the lists that a job ends with",
)
_BUSY: Final = 1.25  # wall time over CPU time


@dataclass(frozen=True)
class Looked:
    """One photograph of the sample."""

    stratum: int
    key: str
    size: int
    storage_class: str | None
    read_s: float | None
    probed: Probed


@dataclass(frozen=True)
class Start:
    """Where a job runs, and how it begins."""

    cpus: int
    """Of the cluster, or of this machine."""
    seconds: float = 0.0
    """From the command to the first photograph."""
    alone_s: float = 0.0
    """Seconds of them on that one worker is alone, while Ray starts for the others; infinite without Ray."""


def begins(config: PlanConfig, counts: Count, *, list_s: float, worker_s: float) -> Start:
    """Say how `raycolor colorize` would begin a job.

    Args:
        config: the command's settings.
        counts: what was listed.
        list_s: seconds that the listing took.
        worker_s: seconds that a worker took to start here.
    """
    cpus = config.cpus or cpu_count()
    local = config.cpus is None and not config.source.startswith("s3://") and gpu_model() is None
    if not local:
        # The job lists as well, then starts Ray, and then its workers, all of them at once.
        return Start(cpus, list_s + RAY_START_S + worker_s)
    return Start(cpus, list_s + worker_s, math.inf if is_small(counts.inputs, counts.bytes) else RAY_START_S)


def make_report(
    config: PlanConfig,
    source: Source,
    counts: Counts,
    population: Sequence[int],
    looked: Sequence[Looked],
    checkpoint: CheckpointName | None,
    *,
    start: Start,
) -> dict[str, Any]:
    """Return the plan, ready for JSON.

    Args:
        config: the command's settings.
        source: what was listed.
        counts: what the listing told.
        population: inputs in each stratum.
        looked: the sample; empty for a plan without one.
        checkpoint: what colorized the sample.
        start: where the job runs and how it begins.
    """
    report: dict[str, Any] = {
        "raycolor_plan": FORMAT_VERSION,
        "raycolor_version": __version__,
        "source": source.uri,
        "inputs": counts.total.inputs,
        "bytes": counts.total.bytes,
        "left_out": dict(source.notes),
        "formats_by_name": _plain(counts.sorted(counts.formats, FORMATS)),
        "sizes": _plain(counts.sorted(counts.sizes, [name for _, name in SIZE_CLASSES])),
        "storage_classes": _plain(counts.sorted(counts.storage_classes)),
        "settings": config.model_dump(mode="json"),
        "sample": None,
        "estimates": None,
        "cluster": None,
        "not_modelled": list(NOT_MODELLED),
    }
    if looked:
        groups = _Groups(population, looked)
        report["sample"] = _sample(config, population, looked, checkpoint)
        report["estimates"] = _estimates(groups)
        report["cluster"] = _cluster(groups, counts.total, start, config.price_per_hour)
    return report


class _Groups:
    """The sample by stratum."""

    def __init__(self, population: Sequence[int], looked: Sequence[Looked]) -> None:
        self.looked = looked
        self._members = [(inputs, [one for one in looked if one.stratum == i]) for i, inputs in enumerate(population)]

    def total(self, value: Callable[[Looked], float]) -> Estimate:
        return total([Stratum(inputs, [value(one) for one in members]) for inputs, members in self._members])

    def count(self, has: Callable[[Looked], bool]) -> dict[str, Any]:
        estimate = count([Stratum(inputs, [float(has(one)) for one in members]) for inputs, members in self._members])
        return {"sampled": sum(map(has, self.looked)), **_rounded(estimate, 1)}

    def shares(self, of: Callable[[Looked], str | None], order: Sequence[str]) -> dict[str, Any]:
        """Estimate how many inputs have each value that the sample has; in the given order, others behind."""
        found = {name for one in self.looked if (name := of(one)) is not None}
        names = [name for name in order if name in found] + sorted(found - set(order))
        return {name: self.count(lambda one, name=name: of(one) == name) for name in names}  # type: ignore[misc]


def _sample(
    config: PlanConfig, population: Sequence[int], looked: Sequence[Looked], checkpoint: CheckpointName | None
) -> dict[str, Any]:
    wall, cpu = sum(one.probed.wall_s for one in looked), sum(one.probed.cpu_s for one in looked)
    sizes = [[one.size for one in looked if one.stratum == i] for i in range(len(population))]
    return {
        "photographs": len(looked),
        "seed": config.seed,
        "strata": [{"inputs": inputs, "sampled": len(of)} for inputs, of in zip(population, sizes, strict=True)],
        "checkpoint": None if checkpoint is None else vars(checkpoint),
        "cpu_seconds": round(cpu, 4),
        "wall_seconds": round(wall, 4),
        "machine_was_busy": wall > _BUSY * cpu + 0.05,
        "read_seconds": round(sum(one.read_s or 0.0 for one in looked), 4),
        "read_bytes": sum(one.size for one in looked if one.read_s is not None),
        "each": [
            {
                "key": one.key,
                "bytes": one.size,
                "stratum": one.stratum,
                "storage_class": one.storage_class,
                **{name: value for name, value in vars(one.probed).items() if name not in ("cpu_s", "wall_s")},
                "cpu_seconds": round(one.probed.cpu_s, 5),
            }
            for one in looked
        ],
    }


def _estimates(groups: _Groups) -> dict[str, Any]:
    """Return what the sample says about all inputs."""

    def pixel_class(one: Looked) -> str | None:
        return None if one.probed.format is None else class_of(one.probed.pixels, PIXEL_CLASSES)

    unreadable = groups.shares(lambda one: one.probed.reason if one.probed.status == "failed" else None, [])
    for reason, share in unreadable.items():
        first = next(one for one in groups.looked if one.probed.reason == reason and one.probed.status == "failed")
        share["example"] = {"key": first.key, "detail": first.probed.detail}
    return {
        "megapixels": _rounded(groups.total(lambda one: _megapixels(one, "colorized", "skipped")), 3),
        "megapixels_to_colorize": _rounded(groups.total(lambda one: _megapixels(one, "colorized")), 3),
        "megapixel_classes": groups.shares(pixel_class, [name for _, name in PIXEL_CLASSES]),
        "formats_by_header": groups.shares(lambda one: one.probed.format, FORMATS),
        "named_otherwise": groups.count(lambda one: one.probed.format not in (None, named_format(one.key))),
        "kinds": groups.shares(lambda one: one.probed.kind, ["gray", "toned", "color"]),
        "storage_classes": groups.shares(lambda one: one.storage_class, []),
        "outcomes": groups.shares(lambda one: one.probed.status, ["colorized", "skipped", "failed"]),
        "unreadable": unreadable,
        "cpu_seconds": _rounded(groups.total(lambda one: one.probed.cpu_s), 3),
    }


def _megapixels(one: Looked, *statuses: str) -> float:
    return one.probed.pixels / 1e6 if one.probed.status in statuses else 0.0


def _cluster(groups: _Groups, inputs: Count, start: Start, price_per_hour: float | None) -> dict[str, Any] | None:
    """Return rates per CPU, and time and cost on the cluster; None where the sample had nothing to colorize."""
    cpu = groups.total(lambda one: one.probed.cpu_s)
    if cpu.value <= 0:
        return None
    megapixels = groups.total(lambda one: _megapixels(one, "colorized"))
    workers = 1 if start.alone_s == math.inf else min(start.cpus, worthwhile_workers(inputs.inputs, inputs.bytes))
    # One works alone until Ray is there, then all of them do.
    colorizing = cpu.scaled(1 / workers).shifted(min(start.alone_s, cpu.value) * (1 - 1 / workers))
    seconds = colorizing.shifted(start.seconds)
    return {
        # As in summary.json: images are all inputs, megapixels those that are colorized.
        "images_per_second_per_cpu": _figures(inputs.inputs / cpu.value),
        "megapixels_per_second_per_cpu": _figures(megapixels.value / cpu.value),
        "cpus": start.cpus,
        "workers": workers,
        "start_seconds": round(start.seconds, 3),
        "alone_seconds": None if start.alone_s == math.inf else start.alone_s,
        "colorizing_seconds": _rounded(colorizing, 6),
        "seconds": _rounded(seconds, 6),
        "price_per_hour": price_per_hour,
        "cost": None if price_per_hour is None else _rounded(seconds.scaled(price_per_hour / 3600), 4),
    }


def _plain(counts: dict[str, Count]) -> dict[str, Any]:
    return {name: vars(one) for name, one in counts.items()}


def _rounded(estimate: Estimate, digits: int) -> dict[str, float | None]:
    return {name: None if value is None else round(value, digits) for name, value in estimate._asdict().items()}


def _figures(value: float) -> float:
    """Round to four figures."""
    return float(f"{value:.4g}")
