"""Which number format a device computes fast."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import torch

from raycolor.errors import ConfigError

Precision = Literal["fp32", "bf16"]
CPU_FLAGS = ("amx_bf16", "avx512_bf16")


def cpu_has_bf16(cpuinfo: Path = Path("/proc/cpuinfo")) -> bool:
    """Tell whether the CPU multiplies bf16 in hardware; False where that cannot be found out."""
    try:
        text = cpuinfo.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return False
    flags = next((line for line in text.splitlines() if line.startswith("flags")), "").split()
    return any(flag in flags for flag in CPU_FLAGS)


def choose_precision(requested: str, device: torch.device) -> Precision:
    """Resolve `auto` to bf16 where the device computes it natively, else to fp32.

    Raises:
        ConfigError: a precision that is not `auto`, `fp32` or `bf16`.
    """
    if requested == "fp32":
        return "fp32"
    if requested == "bf16":
        return "bf16"
    if requested != "auto":
        raise ConfigError(f"precision {requested!r}: unknown: choose auto, fp32 or bf16")
    if device.type == "cuda":
        native = torch.cuda.get_device_capability(device)[0] >= 8  # emulated, and slow, before Ampere
    else:
        native = device.type == "cpu" and cpu_has_bf16()
    return "bf16" if native else "fp32"
