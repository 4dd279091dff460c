"""What this machine lets the process use."""

from __future__ import annotations

import os


def cpu_count() -> int:
    """Return the CPUs that this process may use, which in a container are fewer than the machine has."""
    # Not on macOS.
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
