"""How a job computes, settled once from all its nodes: what decides bytes must not depend on who did the work."""

from __future__ import annotations

import logging
import socket
from collections.abc import Mapping, Sequence
from typing import Final, Literal, NamedTuple

from raycolor.cluster.fingerprint import made_of
from raycolor.errors import ConfigError
from raycolor.machine import (
    BF16,
    ONNX,
    computes,
    gpu_model,
    has_kernels,
    instruction_set,
    narrowest,
    torch_architectures,
)

logger = logging.getLogger(__name__)

_BF16_GPU: Final = 8.0  # emulated, and slow, before Ampere


class Node(NamedTuple):
    """What one node computes with."""

    name: str
    cpu: str
    """One of `machine.INSTRUCTIONS`, or another architecture."""
    gpu: tuple[str, float] | None
    """Model and compute capability."""
    made_of: dict[str, str | None]
    """Code and libraries, as `fingerprint.made_of` has them."""
    id: str = ""
    cpus: int = 0
    gpus: int = 0
    kernels: bool = True
    """Whether torch there computes on its GPU, if it has one."""


class Arithmetic(NamedTuple):
    """How a job computes."""

    precision: Literal["fp32", "bf16"]
    computed_with: str
    """Instruction set of CPUs, or model of the GPU."""


def describe(device: str = "cpu") -> Node:
    """Describe the machine that this runs on, and its GPU if that is the device."""
    gpu = gpu_model() if device == "cuda" else None
    kernels = gpu is None or has_kernels(gpu[1], torch_architectures())
    return Node(socket.gethostname(), instruction_set(), gpu, made_of(), kernels=kernels)


def without_kernels(node: Node) -> str:
    """Say that a node's GPU is none to this torch."""
    model, capability = node.gpu or ("GPU", 0.0)
    return f"torch {made_of()['torch']} has no kernels for its {model} (compute capability {capability})"


def settle(wanted: str, device: str, all_nodes: Sequence[Node]) -> Arithmetic:
    """Decide how a job that begins computes: bf16 by `auto` only if every node does it natively.

    Args:
        wanted: `auto`, `fp32` or `bf16`.
        device: `cpu` or `cuda`.
        all_nodes: those that there are.
    """
    nodes = [node for node in all_nodes if node.made_of]
    if device == "cuda":
        usable = sorted(node.gpu for node in nodes if node.gpu is not None and node.kernels)
        gpus = usable or [("GPU of unknown model", 0.0)]
        model, capability = max(gpus, key=gpus.count)
        native = capability >= _BF16_GPU
        return Arithmetic("bf16" if wanted == "bf16" or (wanted == "auto" and native) else "fp32", model)
    cpus = [node.cpu for node in nodes] or [instruction_set()]
    common = narrowest(cpus)
    if wanted == "bf16" or (wanted == "auto" and common in BF16):
        # Emulated only where no node can do better.
        return Arithmetic("bf16", narrowest([cpu for cpu in cpus if cpu in BF16] or cpus))
    # No CPU computes fp32 otherwise for multiplying bf16, too.
    return Arithmetic("fp32", "avx512" if common in BF16 else common)


def settle_onnx(device: str, all_nodes: Sequence[Node]) -> Arithmetic:
    """Decide as `settle` how an imported network is computed: as its file says, on one kind of CPU or GPU.

    onnxruntime always takes the widest instructions that there are, so that only CPUs of one kind agree.
    """
    if device == "cuda":
        return Arithmetic("fp32", settle("fp32", device, all_nodes).computed_with)
    cpus = [node.cpu for node in all_nodes if node.made_of] or [instruction_set()]
    return Arithmetic("fp32", ONNX + max(sorted(set(cpus)), key=cpus.count))


def unfit(node: Node, computed_with: str, precision: str, device: str, drivers: Mapping[str, str | None]) -> str | None:
    """Return why a node cannot do a job's work, or None if it can; `drivers` is what the driver is made of."""
    if not node.made_of:
        return "it does not answer, or runs another raycolor"
    for what, version in drivers.items():
        if node.made_of.get(what) != version:
            if what == "code_sha256":
                return "its raycolor is another one than the driver's"
            return f"it has {what} {node.made_of.get(what)}, the driver {version}"
    if device == "cuda":
        if not node.kernels:
            return without_kernels(node)
        if computed_with and node.gpu is not None and node.gpu[0] != computed_with:
            return f"it has a {node.gpu[0]}, and this job is computed on {computed_with}"
        return None
    if computed_with and not computes(node.cpu, computed_with):
        return f"its CPU has {node.cpu}, and this job is computed in {precision} with {computed_with}"
    return None


def leave_out(nodes: Sequence[Node], job: Arithmetic, device: str) -> list[Node]:
    """Return the nodes that get no work, and log a line for each.

    Raises:
        ConfigError: none is left.
    """
    left_out: list[Node] = []
    why: str | None = None
    for node in nodes:
        why = unfit(node, job.computed_with, job.precision, device, made_of())
        if why is not None:
            left_out.append(node)
            logger.warning("node %s gets no work: %s", node.name, why)
    if nodes and len(left_out) == len(nodes):
        raise ConfigError(
            f"no node can do this job's work ({why}): its colors would differ: use nodes like those it began on, or "
            "give a new DEST"
        )
    return left_out
