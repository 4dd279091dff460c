"""Where a job's network runs and how it computes, settled once for all runs of the job."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Final, Literal, NamedTuple

from raycolor.cluster.arithmetic import Arithmetic, Node, describe, leave_out, settle, settle_onnx
from raycolor.colorize.config import ColorizeConfig
from raycolor.colorize.job_record import JobRecord
from raycolor.errors import ConfigError
from raycolor.machine import cpu_count
from raycolor.models.checkpoints import ONNX_METHOD
from raycolor.storage import ObjectStore

logger = logging.getLogger(__name__)

_CPUS_PER_NETWORK: Final = 3  # where it has to share the CPUs: about its part of a photograph of 12 megapixels


class Execution(NamedTuple):
    """Where the network runs."""

    device: str
    """`cpu` or `cuda`."""
    networks: int
    """Actors that hold one; 0 where every worker does (fused)."""
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    computed_with: str = ""
    """Instruction set of CPUs, or model of the GPU."""
    left_out: tuple[str, ...] = ()
    """Ids of nodes that get no work."""
    cpus_left_out: int = 0

    @property
    def cpus(self) -> int:
        """CPUs that the actors hold."""
        return self.networks if self.device == "cpu" else 0


def choose_execution(
    wanted: str, device: str | None, resources: Mapping[str, float], most_gpus: int | None = None
) -> Execution:
    """Decide where the network runs.

    Args:
        wanted: `auto`, `fused` or `staged`.
        device: on which the job's first photographs were colorized, None if it begins: colors differ between devices
            in the last digit, and a job has to end as if it had never been stopped.
        resources: of the cluster, as Ray tells them.
        most_gpus: None for all of them.

    Raises:
        ConfigError: the job was begun on a device that is not there or not wanted; GPUs are wanted and none is there.
    """
    gpus = int(resources.get("GPU", 0))
    if most_gpus is not None:
        if not gpus:
            raise ConfigError(f"--gpus {most_gpus}: the cluster has none: leave it out, or ask for it by --scale-to")
        gpus = min(gpus, most_gpus)
    if device == "cuda" and (wanted == "fused" or not gpus):
        why = "--shape fused has it on CPUs" if wanted == "fused" else "the cluster has none"
        raise ConfigError(f"this job's network ran on a GPU, and {why}: its colors would differ: give a new DEST")
    if wanted == "fused" or (wanted == "auto" and (device == "cpu" or not gpus)):
        return Execution("cpu", 0)
    if gpus and device != "cpu":
        return Execution("cuda", gpus)
    return Execution("cpu", max(1, int(resources.get("CPU", 1)) // _CPUS_PER_NETWORK))


def settle_execution(
    config: ColorizeConfig,
    record: JobRecord,
    revision: int,
    dest: ObjectStore,
    resources: Mapping[str, float],
    look: Callable[[str], Sequence[Node]],
) -> tuple[Execution, JobRecord]:
    """Decide where the network runs and how it computes; what an earlier run has decided stands.

    Args:
        config: this run's settings.
        record: the job, which gets what is decided now.
        revision: of its outputs, 0 for the job's own settings.
        dest: the destination.
        resources: CPUs and GPUs, as Ray tells them.
        look: describes the nodes, given the device.
    """
    made_by = record.made_by(revision)
    execution = choose_execution(config.shape, made_by.device, resources, config.gpus)
    nodes = look(execution.device)
    if made_by.device is None or made_by.precision is None or made_by.computed_with is None:
        imported = made_by.checkpoint["method"] == ONNX_METHOD
        precision = record.settings_of(revision)["precision"]
        settled = settle_onnx(execution.device, nodes) if imported else settle(precision, execution.device, nodes)
        how = {"precision": settled.precision, "computed_with": settled.computed_with}
        record = record.settle(dest, revision, device=execution.device, **how)
    else:
        settled = Arithmetic(made_by.precision, made_by.computed_with)
    left_out = leave_out(nodes, settled, execution.device)
    if left_out:
        lost = {"CPU": sum(node.cpus for node in left_out), "GPU": sum(node.gpus for node in left_out)}
        left = {**resources, **{name: resources.get(name, 0) - count for name, count in lost.items()}}
        execution = choose_execution(config.shape, execution.device, left, config.gpus)
    execution = execution._replace(
        precision=settled.precision,
        computed_with=settled.computed_with,
        left_out=tuple(node.id for node in left_out),
        cpus_left_out=sum(node.cpus for node in left_out),
    )
    if execution.networks:
        logger.info("the network runs in %d separate actors, on %s", execution.networks, execution.device)
    return execution, record


def settle_here(
    config: ColorizeConfig, record: JobRecord, revision: int, dest: ObjectStore
) -> tuple[Execution, JobRecord]:
    """Decide as `settle_execution` for the CPUs of this machine alone, as a local Ray on it would."""
    return settle_execution(config, record, revision, dest, {"CPU": cpu_count()}, lambda device: [describe(device)])
