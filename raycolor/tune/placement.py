"""How many trials run at once, and the resources of each worker."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from raycolor.errors import ConfigError

TRIAL_CPUS: Final = 0.01  # of the process that watches over a trial; Tune refuses 0


@dataclass(frozen=True)
class Placement:
    """Where trials go.

    Attributes:
        per_worker: resources of each worker.
        concurrent: trials at once.
        workers_per_node: workers that share a node's CPUs for their threads.
    """

    per_worker: dict[str, float]
    concurrent: int
    workers_per_node: int


def place(
    nodes: Sequence[Mapping[str, float]],
    *,
    resources: Mapping[str, float],
    workers: int,
    max_concurrent: int | None,
    gpu: bool,
    spare_cpus: int,
) -> Placement:
    """Choose what a trial's workers occupy, and how many trials run at once.

    Args:
        nodes: resources of each living node.
        resources: of one trial, shared by its workers; empty for one CPU (and one GPU with `gpu`) per worker.
        workers: of one trial.
        max_concurrent: at most so many trials at once; None for as many as fit.
        gpu: whether workers train on GPUs.
        spare_cpus: CPUs to leave to Ray where `max_concurrent` leaves the choice.

    Raises:
        ConfigError: no node holds one worker, or the cluster not all workers of one trial.
    """
    given = {name: float(amount) for name, amount in resources.items() if amount}
    per_worker = {name: amount / workers for name, amount in given.items()}
    per_worker.setdefault("CPU", 1.0)
    if gpu:
        per_worker.setdefault("GPU", 1.0)
    free = [{**node, "CPU": node.get("CPU", 0.0) - TRIAL_CPUS} for node in nodes]
    if not any(_fitting(node, per_worker) for node in free):
        have = "; ".join(dict.fromkeys(_text(node, per_worker) for node in nodes)) or "nothing"
        raise ConfigError(
            f"resources = {_text(given or per_worker)}: no node has {_text(per_worker)} for one worker "
            f"(nodes have {have}): ask for less"
        )
    fitting = sum(_fitting(node, per_worker) for node in free)
    if fitting < workers:
        raise ConfigError(
            f"workers = {workers} with {_text(per_worker)} each: the cluster holds {fitting} of them: ask for less"
        )
    fits = fitting // workers
    if max_concurrent is None:
        cpus = sum(node.get("CPU", 0.0) for node in nodes) - spare_cpus
        fits = max(1, min(fits, int(cpus / (workers * per_worker["CPU"]))))
    concurrent = min(fits, max_concurrent or fits)
    holding = sum(1 for node in free if _fitting(node, per_worker))
    return Placement(per_worker, concurrent, math.ceil(concurrent * workers / holding))


def _fitting(node: Mapping[str, float], per_worker: Mapping[str, float]) -> int:
    """Return how many workers a node holds."""
    return max(0, min(math.floor(node.get(name, 0.0) / amount + 1e-9) for name, amount in per_worker.items()))


def _text(resources: Mapping[str, float], names: Mapping[str, float] | None = None) -> str:
    return ", ".join(f"{name} {resources.get(name, 0.0):g}" for name in (names or resources))
