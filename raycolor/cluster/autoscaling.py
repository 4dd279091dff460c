"""Ask an autoscaling cluster for nodes, and wait for them: jobs size themselves by the CPUs and GPUs that are there."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from typing import Final

from ray.autoscaler.sdk import request_resources

from raycolor.cluster.placement import SPARE_CPUS, cluster_resources
from raycolor.errors import ConfigError
from raycolor.progress import Progress

logger = logging.getLogger(__name__)

# A spot node that is set up from nothing comes within minutes; after this a job begins with what there is.
PATIENCE_S: Final = 600.0


def scale(
    workers: int,
    *,
    gpu: bool,
    gpus: int = 0,
    patience_s: float = PATIENCE_S,
    interval_s: float = 2.0,
    have: Callable[[], Mapping[str, float]] | None = None,
    ask: Callable[..., None] = request_resources,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> None:
    """Wait until a connected cluster can hold this many workers, of a GPU or a CPU each, or until patience ends.

    The request is withdrawn at the end whatever happens: from then on the job's own workers keep the nodes busy, and
    the cluster shrinks when they are done. On a cluster that does not scale nobody answers, and the wait is in vain.

    Args:
        workers: how many.
        gpu: whether each needs a GPU.
        gpus: GPUs beside workers on CPUs.
        patience_s: longest wait.
        interval_s: seconds between looks.
        have: the cluster's resources, replaced in tests; likewise `ask`, `clock`, `sleep`.

    Raises:
        ConfigError: not even one worker fits after the wait.
    """
    look = have or cluster_resources
    kind = "GPU" if gpu else "CPU"
    # With GPUs the spare CPU comes along: every GPU node has several.
    bundles = [{"CPU": 1, "GPU": 1}] * workers if gpu else [{"CPU": 1}] * (workers + SPARE_CPUS)
    # A network on a GPU needs a CPU to answer its callers.
    bundles += [{"CPU": 1, "GPU": 1}] * gpus
    wanted = len(bundles)
    deadline = clock() + patience_s

    def missing() -> bool:
        found = look()
        return found.get(kind, 0) < wanted or found.get("GPU", 0) < gpus

    if not missing():
        return
    try:
        ask(bundles=bundles)
        with Progress(f"waiting for {kind}s", wanted, kind + "s") as progress:
            while missing() and clock() < deadline:
                there = int(look().get(kind, 0))
                progress.update(there - progress.done)
                sleep(interval_s)
            there = int(look().get(kind, 0))
            progress.update(there - progress.done)
    finally:
        ask(bundles=[])
    if there < 1:
        raise ConfigError(
            f"--scale-to {workers}: no {kind} came within {patience_s:.0f} s: does the cluster scale, and is there a "
            "quota? see `ray status`"
        )
    if there < wanted:
        logger.warning("%d of %d %ss came within %.0f s: continuing with these", there, wanted, kind, patience_s)
