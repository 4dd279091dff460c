"""Which number format a device computes fast."""

from __future__ import annotations

from pathlib import Path
from typing import Final, Literal

import torch

from raycolor.errors import ConfigError
from raycolor.machine import BF16, instruction_set

Precision = Literal["fp32", "bf16"]
TrainingPrecision = Literal["fp32", "bf16", "fp16"]
_BF16_CAPABILITY: Final = (8, 0)  # emulated, and slow, before Ampere
_FP16_CAPABILITY: Final = (7, 5)  # Turing (T4): the oldest GPUs that torch has kernels for


def cpu_has_bf16(cpuinfo: Path = Path("/proc/cpuinfo")) -> bool:
    """Tell whether the CPU multiplies bf16 in hardware; False where that cannot be found out."""
    return instruction_set(cpuinfo) in BF16


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
        native = torch.cuda.get_device_capability(device) >= _BF16_CAPABILITY
    else:
        native = device.type == "cpu" and cpu_has_bf16()
    return "bf16" if native else "fp32"


def choose_training_precision(requested: str, device: torch.device) -> TrainingPrecision:
    """Resolve as `choose_precision` does; `auto` is fp16, with a scaled loss, on GPUs that have that and not bf16.

    Raises:
        ConfigError: a precision that is not `auto`, `fp32` or `bf16`.
    """
    if requested == "auto" and device.type == "cuda":
        return fastest_on_gpu(torch.cuda.get_device_capability(device))
    return choose_precision(requested, device)


def fastest_on_gpu(capability: tuple[int, int]) -> TrainingPrecision:
    """Return the format in which a GPU of some compute capability trains fastest."""
    return "bf16" if capability >= _BF16_CAPABILITY else "fp16" if capability >= _FP16_CAPABILITY else "fp32"


def without_tf32() -> None:
    """Let GPUs compute float32 in float32: by default torch rounds what convolutions multiply to ten bits (TF32)."""
    torch.backends.cudnn.allow_tf32 = False
    torch.backends.cuda.matmul.allow_tf32 = False
