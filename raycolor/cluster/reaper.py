"""A small process that ends what is left of an embedded Ray when its driver was killed.

Raylet and GCS die with their driver, and workers with the raylet. The raylet's two agents see that it is gone, and then
try for a minute to tell the GCS, which is gone too. This file is run by itself, without raycolor and Ray.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

_PATIENCE_S = 5.0
"""What ends by itself, as after Ctrl-C, ends within this time."""


def descendants() -> set[str]:
    """Return the processes below this one, each as `PID:START`, for a bare number may be another process's later."""
    parents, started = {}, {}
    # Elsewhere than on Linux nothing is found, and nothing is ended.
    for entry in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            fields = (entry / "stat").read_text(errors="replace").rpartition(")")[2].split()
            parents[int(entry.name)], started[int(entry.name)] = int(fields[1]), fields[19]
    found = set()
    for pid in parents:
        above = parents[pid]
        while above in parents and above != os.getpid():
            above = parents[above]
        if above == os.getpid():
            found.add(f"{pid}:{started[pid]}")
    return found


def watch(processes: set[str], folder: str = "") -> subprocess.Popen[str]:
    """Start the small process: once its input is closed, be it by a SIGKILL of ours, it ends those processes.

    Args:
        processes: as `descendants` returns them.
        folder: removed afterwards, with the one that it is in.
    """
    # A group of its own: a terminal's Ctrl-C is not meant for it.
    reaper = subprocess.Popen([sys.executable, "-I", "-S", __file__], stdin=subprocess.PIPE, text=True, process_group=0)
    assert reaper.stdin is not None
    reaper.stdin.write(" ".join(sorted(processes)) + "\n" + folder + "\n")
    reaper.stdin.flush()
    return reaper


def end(processes: set[str]) -> None:
    """End processes, as `descendants` returns them, at once."""
    for process in filter(_alive, processes):
        with suppress(OSError):
            os.kill(int(process.partition(":")[0]), signal.SIGKILL)


def _alive(process: str) -> bool:
    pid, _, start = process.partition(":")
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()
    except OSError:
        return False
    return fields[0] != "Z" and fields[19] == start


def main() -> None:
    """Run the small process: wait for the end of input, then end the processes."""
    processes, folder = set(sys.stdin.readline().split()), sys.stdin.readline().rstrip("\n")
    while sys.stdin.readline():
        pass
    deadline = time.monotonic() + _PATIENCE_S
    while any(map(_alive, processes)) and time.monotonic() < deadline:
        time.sleep(0.1)
    end(processes)
    if folder:
        shutil.rmtree(Path(folder).parent, ignore_errors=True)


if __name__ == "__main__":
    main()
