"""A worker's process, begun before its job is known: it imports what takes seconds while the driver lists inputs."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Sequence
from typing import Final

from raycolor.child_process import end_process, start_process
from raycolor.machine import instruction_set

IMPORTS: Final = "raycolor.colorize.worker_imports"
_NO_JOB: Final = {"-h", "--help", "--help-all", "--print-config"}
_ON_RAY: Final = {"--ray", "--address", "--gpus", "--scale-to", "--workers", "--shape"}

_begun: subprocess.Popen[bytes] | None = None


def likely(arguments: Sequence[str]) -> bool:
    """Whether a command line will probably have a worker on this machine without Ray.

    A wrong guess costs time, nothing else.
    """
    flags = {argument.partition("=")[0] for argument in arguments}
    if flags & _NO_JOB or len(arguments) < 2:
        return False
    return "--no-ray" in flags or not (
        flags & _ON_RAY
        or any(argument.startswith("s3://") for argument in arguments)
        or os.environ.get("RAY_ADDRESS")
        # Where there is a GPU, Ray takes it.
        or shutil.which("nvidia-smi")
    )


def begin(arguments: Sequence[str]) -> None:
    """Start the process if a command line of `colorize` will probably need it."""
    global _begun
    if _begun is None and likely(arguments):
        _begun = start_process(IMPORTS)


def take(computed_with: str) -> subprocess.Popen[bytes] | None:
    """Return the process for a job of some instruction set, None if there is none that fits.

    torch decides when it is imported what it computes with: here for the whole of this machine.
    """
    global _begun
    if computed_with != instruction_set():
        drop()
    taken, _begun = _begun, None
    return taken


def drop() -> None:
    """End the process if nobody took it."""
    global _begun
    if _begun is not None:
        end_process(_begun)
        _begun = None
