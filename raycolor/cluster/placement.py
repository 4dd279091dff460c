"""Where workers of a job run: resources of the cluster, number of workers, nodes to avoid."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import ray

from raycolor.errors import ConfigError

SPARE_CPUS: Final = 1
"""Ray's own helpers (the driver's stages, Tune's trials) need a little CPU beside the workers that hold one each."""
_NODE_ID: Final = "ray.io/node-id"


def cluster_resources() -> dict[str, float]:
    """Return the resources of the connected cluster, used or not."""
    found: dict[str, float] = ray.cluster_resources()  # type: ignore[no-untyped-call]
    return found


def free_gpus() -> float:
    """Return the GPUs of the connected cluster that nothing has been placed on."""
    found: dict[str, float] = ray.available_resources()  # type: ignore[no-untyped-call]
    return found.get("GPU", 0.0)


def gpus_to_use(wanted: bool | None) -> int:
    """Return how many GPUs a job has; 0 if it runs on CPUs.

    Args:
        wanted: None for GPUs if the cluster has any.

    Raises:
        ConfigError: GPUs are wanted and the cluster has none.
    """
    gpus = int(cluster_resources().get("GPU", 0))
    if wanted and not gpus:
        raise ConfigError("--use-gpu: the cluster has no GPU: leave it out to use CPUs")
    return 0 if wanted is False else gpus


def this_node() -> str:
    """Return the id of the node that this process works on."""
    found: str = ray.get_runtime_context().get_node_id()
    return found


def living_nodes() -> list[dict[str, Any]]:
    """Describe the nodes of the connected cluster that are alive, as Ray does."""
    listed: list[dict[str, Any]] = ray.nodes()  # type: ignore[no-untyped-call]
    return [node for node in listed if node["Alive"]]


def worker_count(wanted: int | None, *, taken: int = 0) -> int:
    """Return how many one-CPU workers to start.

    Args:
        wanted: None for as many as fit.
        taken: CPUs that something else of the job holds.

    Raises:
        ConfigError: more are wanted than the cluster has CPUs for.
    """
    total = int(cluster_resources().get("CPU", 1)) - taken
    fitting = max(1, total - SPARE_CPUS)
    if wanted is None:
        return fitting
    if wanted > total:
        left = f"{total} CPUs beside {taken} for the network" if taken else f"{total} CPUs"
        raise ConfigError(f"--workers {wanted}: the cluster has {left}: ask for at most {fitting}")
    return wanted


def elsewhere(left_out: Sequence[str]) -> dict[str, Any]:
    """Return the options that keep an actor of Ray from some nodes."""
    return {"label_selector": {_NODE_ID: f"!in({','.join(left_out)})"}} if left_out else {}
