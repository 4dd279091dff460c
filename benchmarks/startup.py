"""How long does a command take before it does anything: help, and the first colorized photograph?

    python benchmarks/startup.py [--repeats 7] [--json FILE]

Seconds by the clock, from starting the process. `first photograph`: until its output lies in the destination, of one
photograph of 1 MP; the job starts a Ray of its own. The floor is a Python that does nothing, the naive way a script
that imports what it needs, loads the same network and colorizes the same photograph.
"""

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import common
import cv2

NAIVE = """
import sys
from pathlib import Path
import torch
sys.path.insert(0, sys.argv[3])
import end_to_end
from raycolor.models.checkpoints import load
made = end_to_end.naive(Path(sys.argv[1]).read_bytes(), load("default").model())
Path(sys.argv[2]).write_bytes(made)
"""


def until(command: list[str], file: Path | None) -> tuple[float, float]:
    """Run a command; return seconds until a file is there, and until its end."""
    started = time.perf_counter()
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        while file is not None and not file.exists():
            if process.poll() is not None:
                raise SystemExit(f"{command}: ended without {file}")
            time.sleep(0.01)
        there = time.perf_counter() - started
        if process.wait():
            raise SystemExit(f"{command}: ended with {process.returncode}")
    ended = time.perf_counter() - started
    return (ended if file is None else there), ended


def main() -> None:
    """Measure each command and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=7, metavar="N", help="of the short ones; jobs run three times")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the numbers there, too")
    given = parser.parse_args()
    about = common.machine()
    raycolor = [sys.executable, "-m", "raycolor"]
    found: dict[str, list[float]] = {}
    for name, command in {
        "python -c pass (floor)": [sys.executable, "-c", "pass"],
        "raycolor --help": [*raycolor, "--help"],
        "raycolor colorize --help": [*raycolor, "colorize", "--help"],
        "python -c 'import torch'": [sys.executable, "-c", "import torch"],
    }.items():
        until(command, None)  # reads the files from the disk
        found[name] = [until(command, None)[1] for _ in range(given.repeats)]
    with tempfile.TemporaryDirectory(prefix="raycolor-bench-") as work:
        source = Path(work) / "in"
        source.mkdir()
        photograph = source / "one.jpg"
        cv2.imwrite(str(photograph), common.gray_photographs(1000, 1000, 1)[0])
        for repeat in range(min(3, given.repeats)):
            script, dest = Path(work) / f"script{repeat}.jpg", Path(work) / f"out{repeat}"
            command = [sys.executable, "-c", NAIVE, str(photograph), str(script), str(Path(__file__).resolve().parent)]
            found.setdefault("first photograph, naive script", []).append(until(command, script)[0])
            first, whole = until([*raycolor, "colorize", str(source), str(dest)], dest / "one.jpg")
            found.setdefault("first photograph, raycolor", []).append(first)
            found.setdefault("whole job of one photograph", []).append(whole)
    print(f"seconds: median (least .. most); {common.told(about)}")
    for name, times in found.items():
        middle = common.spread(times)["median"]
        print(f"{name:34s} {middle:7.2f}  ({min(times):.2f} .. {max(times):.2f})  n={len(times)}")
    common.write(given.json, "startup", {"machine": about, "seconds": found})


if __name__ == "__main__":
    main()
