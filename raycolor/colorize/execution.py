"""Where a job's network runs and how it computes, settled once for all runs of the job."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Final, Literal, NamedTuple

from raycolor.cluster.arithmetic import Arithmetic, Node, describe, leave_out, settle, settle_onnx, without_kernels
from raycolor.colorize.config import ColorizeConfig
from raycolor.colorize.job_record import JobRecord
from raycolor.colorize.speeds import Speeds, expected
from raycolor.errors import ConfigError, RaycolorError
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
        """CPUs that the actors hold: on a GPU, too, answering many workers takes one."""
        return self.networks


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
    measure: Callable[[Sequence[str]], Speeds] | None = None,
) -> tuple[Execution, JobRecord]:
    """Decide where the network runs and how it computes; what an earlier run has decided stands.

    Args:
        config: this run's settings.
        record: the job, which gets what is decided now.
        revision: of its outputs, 0 for the job's own settings.
        dest: the destination.
        resources: CPUs and GPUs, as Ray tells them.
        look: describes the nodes, given the device.
        measure: measures what photographs cost with and without a GPU, given the ids of nodes to avoid; by default GPUs
            are used unmeasured.
    """
    made_by = record.made_by(revision)
    gpus = resources.get("GPU", 0) if config.shape != "fused" and made_by.device != "cpu" else 0
    nodes = look("cuda" if gpus else "cpu")
    unusable = [node for node in nodes if node.gpu is not None and not node.kernels]
    left = _without(resources, unusable, "GPU")
    for node in unusable:
        logger.warning("node %s: %s: it counts as none", node.name, without_kernels(node))
    execution = choose_execution(config.shape, made_by.device, left, config.gpus)
    if execution.device == "cuda" and measure is not None and config.shape == "auto" and made_by.device is None:
        execution = _faster(execution, left, [node.id for node in unusable], measure)
    if made_by.device is None or made_by.precision is None or made_by.computed_with is None:
        imported = made_by.checkpoint["method"] == ONNX_METHOD
        precision = record.settings_of(revision)["precision"]
        settled = settle_onnx(execution.device, nodes) if imported else settle(precision, execution.device, nodes)
        how = {"precision": settled.precision, "computed_with": settled.computed_with}
        record = record.settle(dest, revision, device=execution.device, **how)
    else:
        settled = Arithmetic(made_by.precision, made_by.computed_with)
    left_out = leave_out(nodes, settled, execution.device)
    if left_out and execution.networks:
        left = _without(resources, left_out, "CPU", "GPU")
        execution = choose_execution("staged", execution.device, left, config.gpus)
    execution = execution._replace(
        precision=settled.precision,
        computed_with=settled.computed_with,
        left_out=tuple(node.id for node in left_out),
        cpus_left_out=sum(node.cpus for node in left_out),
    )
    if execution.networks:
        logger.info("the network runs in %d separate actors, on %s", execution.networks, execution.device)
    return execution, record


def _faster(
    staged: Execution, resources: Mapping[str, float], avoid: Sequence[str], measure: Callable[[Sequence[str]], Speeds]
) -> Execution:
    """Return the execution that is expected to take less time: with GPUs for the network, or on CPUs alone."""
    fused = Execution("cpu", 0)
    try:
        alone, with_gpus = expected(measure(avoid), int(resources.get("CPU", 1)), staged.networks)
    except RaycolorError as exc:
        logger.warning("no GPU could be measured (%s): the network runs on CPUs; --shape staged uses GPUs", exc)
        return fused
    logger.info(
        "measured: CPUs alone %.0f photographs/s, with GPUs for the network %.0f: it runs on %s",
        alone,
        with_gpus,
        "GPUs" if with_gpus > alone else "CPUs",
    )
    return staged if with_gpus > alone else fused


def _without(resources: Mapping[str, float], nodes: Sequence[Node], *names: str) -> dict[str, float]:
    """Return resources without those that some nodes have."""
    lost = {"CPU": sum(node.cpus for node in nodes), "GPU": sum(node.gpus for node in nodes)}
    return {**resources, **{name: resources.get(name, 0) - lost[name] for name in names}}


def settle_here(
    config: ColorizeConfig, record: JobRecord, revision: int, dest: ObjectStore
) -> tuple[Execution, JobRecord]:
    """Decide as `settle_execution` for the CPUs of this machine alone, as a local Ray on it would."""
    return settle_execution(config, record, revision, dest, {"CPU": cpu_count()}, lambda device: [describe(device)])
