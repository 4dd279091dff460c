"""What benchmarks share: made photographs, clocks, the machine's description, and the JSON they end in."""

from __future__ import annotations

import gc
import json
import os
import platform
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import simplejpeg
from numpy.typing import NDArray

SAMPLE = Path(__file__).resolve().parent.parent / "docs" / "sample"
PACKAGES = ("torch", "numpy", "opencv-python-headless", "simplejpeg", "pillow", "scikit-image", "numba", "ray")
GRAIN = 4.0  # levels; film has it, and enlarged photographs do not
# glibc gives large blocks back to the kernel at once, and asking again costs a page fault for every 4 KB. Naive code
# is measured without that.
REUSE = {"MALLOC_MMAP_THRESHOLD_": str(1 << 32), "MALLOC_TRIM_THRESHOLD_": str(1 << 36), "MALLOC_TOP_PAD_": "67108864"}


def gray_photographs(height: int, width: int, count: int, folder: Path | None = None) -> list[NDArray[np.uint8]]:
    """Return gray photographs (height, width) uint8: those of the sample, or of a folder, resized, with grain.

    The sample's are turned so that they lie as the size asked for; none is stretched, the center is cut out.
    """
    found = []
    for path in sorted(file for file in (folder or SAMPLE).rglob("*") if file.is_file()):
        gray = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
        if gray is not None:
            found.append(gray)
        if len(found) == count:
            break
    if not found:
        raise SystemExit(f"{folder or SAMPLE}: no photograph to take")
    made = []
    for index in range(count):
        gray = found[index % len(found)]
        if (gray.shape[0] > gray.shape[1]) != (height > width) and height != width:
            gray = np.ascontiguousarray(gray.T)
        factor = max(height / gray.shape[0], width / gray.shape[1])
        size = (max(width, round(gray.shape[1] * factor)), max(height, round(gray.shape[0] * factor)))
        large = cv2.resize(gray, size, interpolation=cv2.INTER_AREA if factor < 1 else cv2.INTER_CUBIC)
        top, left = (large.shape[0] - height) // 2, (large.shape[1] - width) // 2
        grain = np.random.default_rng(index).normal(0, GRAIN, (height, width)).astype(np.float32)
        made.append(np.clip(large[top : top + height, left : left + width] + grain, 0, 255).astype(np.uint8))
    return made


def color_jpegs(count: int, size_px: int) -> list[bytes]:
    """Return JPEGs of smooth color with some texture, about 25 KB each at 256 x 256."""
    rng = np.random.default_rng(0)
    out = []
    for _ in range(count):
        coarse = rng.integers(0, 256, (12, 12, 3), dtype=np.uint8)
        smooth = cv2.resize(coarse, (size_px, size_px), interpolation=cv2.INTER_CUBIC).astype(np.float32)
        picture = np.clip(smooth + rng.normal(0, 8, (size_px, size_px, 1)), 0, 255).astype(np.uint8)
        out.append(simplejpeg.encode_jpeg(np.ascontiguousarray(picture), quality=92))
    return out


def times_ms(task: Callable[[], object], repeats: int, warm: int = 2) -> list[float]:
    """Run a task `warm` times and then `repeats` times; milliseconds of the process's CPU for each.

    For work of one thread that is what the clock says on a machine that does nothing else, and it stays so on others.
    """
    for _ in range(warm):
        task()
    gc.collect()
    found = []
    for _ in range(repeats):
        started = time.process_time()
        task()
        found.append(1000 * (time.process_time() - started))
    return found


def spread(values: Sequence[float]) -> dict[str, float]:
    """Return median, quartiles, the least, and how many there are."""
    low, middle, high = statistics.quantiles(values, n=4) if len(values) > 1 else [values[0]] * 3
    return {"median": middle, "quartile_low": low, "quartile_high": high, "least": min(values), "n": len(values)}


def quartiles(one: Mapping[str, float], form: str = ",.0f") -> str:
    """Return the quartiles of a `spread` as a table shows them."""
    return f"({one['quartile_low']:{form}} .. {one['quartile_high']:{form}})"


def machine() -> dict[str, Any]:
    """Describe the machine, the versions, and which way of computing they lead to."""
    text = Path("/proc/cpuinfo").read_text(errors="replace") if Path("/proc/cpuinfo").exists() else ""
    fields = dict(line.split(":", 1) for line in reversed(text.splitlines()) if ":" in line)
    fields = {key.strip(): value.strip() for key, value in fields.items()}
    flags = set(fields.get("flags", "").split())
    return {
        "cpu": fields.get("model name", platform.processor()),
        "cpus": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "amx_bf16": "amx_bf16" in flags,
        "avx512_bf16": "avx512_bf16" in flags,
        "avx512f": "avx512f" in flags,
        "load_before": os.getloadavg()[0],
        "python": platform.python_version(),
        "versions": {name: _version(name) for name in PACKAGES},
    }


def told(found: Mapping[str, Any]) -> str:
    """Return one line for the head of a table."""
    kinds = [name for name in ("amx_bf16", "avx512_bf16", "avx512f") if found[name]]
    best = kinds[0] if kinds else "no AVX-512"
    return f"{found['cpu']}, {found['cpus']} CPUs, {best}, load {found['load_before']:.2f}"


def write(path: Path | None, name: str, result: Mapping[str, Any]) -> None:
    """Write a benchmark's numbers as JSON, if a file is named."""
    if path is not None:
        path.write_text(json.dumps({"benchmark": name, **result}, indent=1) + "\n")


def _version(package: str) -> str:
    try:
        return version(package)
    except Exception:  # noqa: BLE001 - whatever it is, the number is merely missing
        return "missing"
