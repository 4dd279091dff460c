"""The pool of workers of a job on Ray Data: how it grows with the cluster, and what it waits for."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from typing import Any, Final

import ray
import ray.data
from ray.data import ActorPoolStrategy, ExecutionResources

from raycolor.cluster.placement import cluster_resources, elsewhere, living_nodes
from raycolor.errors import RaycolorError

logger = logging.getLogger(__name__)

NO_PROGRESS_S: Final = 3600.0
"""Ray Data ends a job in which nothing ends for so long; a job that has units of work of a longer bound says so."""
ROOM_S: Final = 3600.0
"""A cluster without a free CPU is waited for so long: spot capacity comes back within the hour, or not."""
_SAY_EVERY_S: Final = 60.0
# Workers that fail one after the other before they are ready, as on a node that goes. More are a defect that every
# worker has, which trying on would hide. Ray's own 0 ends a job by one node. A worker whose process is killed at its
# start does not count: Ray starts it anew, until nothing has ended for `execution_no_progress_timeout_s`.
_START_DEATHS: Final = 3


def bound_data(longest_s: float = 0.0) -> None:
    """Set the limits of Ray Data on purpose; datasets that are made from now on have them.

    Args:
        longest_s: longest that nothing may rightly come out of a pool. Ray's own 1800 s would end a job whose workers
            all wait for a place, or whose photographs all hang.
    """
    context = ray.data.DataContext.get_current()
    context.execution_no_progress_timeout_s = max(NO_PROGRESS_S, longest_s)
    context.max_consecutive_actor_init_deaths = _START_DEATHS


def growing(first: int, most: int, at_once: int) -> ActorPoolStrategy:
    """Return a pool of one-CPU workers that begins with `first` and takes CPUs that come, up to `most` of them.

    Ray Data asks an autoscaling cluster for nodes while all workers are busy: for as many as `most` can use, and for
    none with a GPU, which workers have no use for. Workers with nothing left to do go, and their nodes after them.

    Args:
        first: workers that fit now.
        most: the same number for a pool that stays as it is.
        at_once: units of work in each worker.
    """
    context = ray.data.DataContext.get_current()
    largest = max((int(node["Resources"].get("CPU", 0)) for node in living_nodes()), default=0)
    # A node comes whole: the last one may have CPUs that no worker needs.
    cpus = most if most == first else most + largest
    context.execution_options.resource_limits = ExecutionResources.for_limits(cpu=cpus, gpu=0)
    # All of a worker's places taken: by default Ray wants more units queued than a worker may have here.
    context.autoscaling_config.actor_pool_util_upscaling_threshold = 1.0
    return ActorPoolStrategy(
        min_size=first if most == first else 1,
        max_size=most,
        initial_size=first,
        max_tasks_in_flight_per_actor=at_once,
        max_concurrent_calls_per_actor=at_once,
        enable_true_multi_threading=True,
    )


def wait_for_room(left_out: Sequence[str] = ()) -> None:
    """Wait until a joined cluster has a CPU for a worker; an autoscaling one is thereby asked for its first node.

    Ray Data itself waits without a word.

    Args:
        left_out: ids of nodes that do not count.

    Raises:
        RaycolorError: no CPU came free.
    """
    probe: Any = ray.remote(_here)
    asked = probe.options(num_cpus=1, max_retries=-1, **elsewhere(left_out)).remote()
    fit = " on a node that can do this job's work" if left_out else ""
    begun = time.monotonic()
    try:
        while not ray.wait([asked], timeout=min(_SAY_EVERY_S, ROOM_S))[0]:
            waited_s, cpus = time.monotonic() - begun, int(cluster_resources().get("CPU", 0))
            logger.warning(
                "waiting for a CPU: the cluster has %d, none of them free%s, for %.0f s now",
                cpus,
                fit,
                waited_s,
                extra={"event": "waiting", "fields": {"place": "cluster", "waited_s": round(waited_s, 1)}},
            )
            if waited_s >= ROOM_S:
                raise RaycolorError(
                    f"no CPU of the cluster came free{fit} within {ROOM_S:.0f} s (it has {cpus}): end what holds them, "
                    "see `ray status`, and run the same command again"
                )
    except BaseException:
        # Not what has just ended: the reply of a task that is not known any more makes Ray end this process.
        ray.cancel(asked, force=True)
        raise


def _here() -> None:
    """Do nothing, somewhere."""
