"""Ask an autoscaling cluster for nodes, and wait for them: jobs size themselves by the CPUs and GPUs that are there."""

from __future__ import annotations

import logging
import time
from typing import Final

from ray.autoscaler.sdk import request_resources

from raycolor.cluster.placement import SPARE_CPUS, cluster_resources
from raycolor.errors import ConfigError
from raycolor.progress import Progress

logger = logging.getLogger(__name__)

# A spot node that is set up from nothing comes within minutes; after this a job begins with what there is.
PATIENCE_S: Final = 600.0
_LOOK_EVERY_S: Final = 2.0


def scale(workers: int, *, gpu: bool, gpus: int = 0) -> None:
    """Wait until a connected cluster can hold this many workers, of a GPU or a CPU each, or until patience ends.

    The request is withdrawn at the end whatever happens: from then on the job's own workers keep the nodes busy, and
    the cluster shrinks when they are done. On a cluster that does not scale nobody answers, and the wait is in vain.

    Args:
        workers: how many.
        gpu: whether each needs a GPU.
        gpus: GPUs beside workers on CPUs.

    Raises:
        ConfigError: not even one worker fits after the wait.
    """
    kind = "GPU" if gpu else "CPU"
    # With GPUs the spare CPU comes along: every GPU node has several.
    bundles = [{"CPU": 1, "GPU": 1}] * workers if gpu else [{"CPU": 1}] * (workers + SPARE_CPUS)
    # A network on a GPU needs a CPU to answer its callers.
    bundles += [{"CPU": 1, "GPU": 1}] * gpus
    wanted = len(bundles)
    deadline = time.monotonic() + PATIENCE_S

    def missing() -> bool:
        found = cluster_resources()
        return found.get(kind, 0) < wanted or found.get("GPU", 0) < gpus

    if not missing():
        return
    try:
        request_resources(bundles=bundles)
        with Progress(f"waiting for {kind}s", wanted, kind + "s") as progress:
            while missing() and time.monotonic() < deadline:
                there = int(cluster_resources().get(kind, 0))
                progress.update(there - progress.done)
                time.sleep(_LOOK_EVERY_S)
            there = int(cluster_resources().get(kind, 0))
            progress.update(there - progress.done)
    finally:
        request_resources(bundles=[])
    if there < 1:
        raise ConfigError(
            f"--scale-to {workers}: no {kind} came within {PATIENCE_S:.0f} s: does the cluster scale, and is there a "
            "quota? see `ray status`"
        )
    if there < wanted:
        logger.warning("%d of %d %ss came within %.0f s: continuing with these", there, wanted, kind, PATIENCE_S)
