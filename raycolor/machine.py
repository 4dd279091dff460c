"""What this machine lets the process use."""

from __future__ import annotations

import os
import platform
import subprocess
from collections.abc import Iterable
from pathlib import Path
from typing import Final

INSTRUCTIONS: Final = ("x86_64", "avx2", "avx512", "avx512_bf16", "amx_bf16")
"""Instruction sets of x86 for networks, each holding those before it. With each of them sums round in another way."""
BF16: Final = ("avx512_bf16", "amx_bf16")
"""Those that multiply bf16 in hardware."""
ONNX: Final = "onnxruntime on "
"""Stands before the instruction set that an imported network was computed with."""

_FLAGS: Final = {"amx_bf16": "amx_bf16", "avx512_bf16": "avx512_bf16", "avx512bw": "avx512", "avx2": "avx2"}
_ONEDNN: Final = dict(
    zip(INSTRUCTIONS, ("SSE41", "AVX2", "AVX512_CORE", "AVX512_CORE_BF16", "AVX512_CORE_AMX"), strict=True)
)


def cpu_count() -> int:
    """Return the CPUs that this process may use, which in a container are fewer than the machine has."""
    # Not on macOS.
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def instruction_set(cpuinfo: Path = Path("/proc/cpuinfo")) -> str:
    """Return the widest of `INSTRUCTIONS` that the CPU has, or the name of another architecture."""
    try:
        text = cpuinfo.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return platform.machine()
    flags = next((line for line in text.splitlines() if line.startswith("flags")), "").split()
    return next((name for flag, name in _FLAGS.items() if flag in flags), platform.machine())


def computes(node: str, job: str) -> bool:
    """Whether a node of one instruction set can compute what a job settled on another needs."""
    if job.startswith(ONNX):
        return node == job.removeprefix(ONNX)
    if node == job or node not in INSTRUCTIONS or job not in INSTRUCTIONS:
        return node == job
    return INSTRUCTIONS.index(node) > INSTRUCTIONS.index(job)


def narrowest(sets: Iterable[str]) -> str:
    """Return the widest instruction set that all of some nodes have; of several architectures that of most nodes."""
    found = sorted(sets)
    x86 = [name for name in found if name in INSTRUCTIONS]
    other = max(found, key=found.count)
    if 2 * len(x86) >= len(found):
        return min(x86, key=INSTRUCTIONS.index)
    return other


def limit_instructions(name: str) -> None:
    """Let torch compute as on a CPU that has no more than these instructions; to be called before it computes anything.

    Other architectures have no such limit.
    """
    if name in _ONEDNN:
        # torch offers no other way to say it. Whatever the environment said decides nothing.
        os.environ.pop("DNNL_MAX_CPU_ISA", None)
        os.environ["ONEDNN_MAX_CPU_ISA"] = _ONEDNN[name]
        os.environ["ATEN_CPU_CAPABILITY"] = {"x86_64": "default", "avx2": "avx2"}.get(name, "avx512")


def gpu_model() -> tuple[str, float] | None:
    """Return model and compute capability of the first GPU, as its driver tells; None where there is none."""
    command = ["nvidia-smi", "--query-gpu=name,compute_cap", "--format=csv,noheader"]
    try:
        answer = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout
        name, capability = answer.splitlines()[0].rsplit(",", 1)
        return name.strip(), float(capability)
    except (OSError, subprocess.SubprocessError, ValueError, IndexError):
        return None


def torch_architectures() -> list[str] | None:
    """Return the GPU architectures that torch was built for, `sm_80` and the like; None where it does not tell."""
    import torch

    # torch.cuda.get_arch_list() tells nothing where no GPU can be seen, as in a task of Ray that has asked for none.
    flags = getattr(torch._C, "_cuda_getArchFlags", None)
    return None if flags is None else (flags() or "").split()


def has_kernels(capability: float, architectures: list[str] | None) -> bool:
    """Whether kernels for some architectures run on a GPU.

    Binary code (`sm_80`) runs on its own major version from its minor version on, intermediate code (`compute_80`) on
    all that are as new.

    Args:
        capability: of the GPU, major.minor.
        architectures: as `torch_architectures` has them; None for unknown, which is taken for a yes.

    Source: CUDA C++ Programming Guide, binary and PTX compatibility.
    """
    if architectures is None:
        return True
    major, minor = (int(part) for part in f"{capability:.1f}".split("."))
    for name in architectures:
        kind, _, version = name.partition("_")
        digits = "".join(filter(str.isdigit, version))
        if not digits:
            continue
        built = int(digits[:-1]), int(digits[-1])
        if (kind == "sm" and built[0] == major and built[1] <= minor) or (
            kind == "compute" and built <= (major, minor)
        ):
            return True
    return False
