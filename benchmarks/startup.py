"""How long does a command take before it does anything: help, and the first colorized photograph?

    python benchmarks/startup.py [--repeats 7] [--parts] [--json FILE]

Seconds by the clock, from starting the process. `first photograph`: until its output lies in the destination, of one
photograph of 1 MP. The floor is a Python that does nothing, the naive way a script that imports what it needs, loads
the same network and colorizes the same photograph. A small job starts no Ray; one of 1,000 photographs starts it while
a worker without it does the first ones. Ratios are to importing torch and loading the network, the median of each
repetition's own: what else runs on the machine then counts in both. `--parts`: what the start of Ray is made of.
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


NETWORK = "import torch; from raycolor.models.checkpoints import load; load('default').model()"
PARTS = """
import time
begun = time.perf_counter()
def told(what):
    global begun
    now = time.perf_counter()
    print(what, now - begun)
    begun = now
import ray
told("import ray")
import ray.data
told("import ray.data")
from raycolor.cluster import session
ray.init(address="local", num_cpus=3, include_dashboard=False, _node_ip_address="127.0.0.1", log_to_driver=False)
told("ray.init")
@ray.remote(num_cpus=1)
class Actor:
    def empty(self): ...
    def torch(self): import torch, raycolor.colorize.shard
one = Actor.remote()
ray.get(one.empty.remote())
told("first actor")
ray.get(one.torch.remote())
told("torch and the worker's code in it")
ray.data.range(2).map_batches(lambda batch: batch).take_all()
told("first Ray Data execution")
"""
RATIOS = {"whole job of one photograph": 1.5, "whole job of the sample": 2.0}
"""Job -> most times the import of torch and the network that it is to take."""


def parts() -> dict[str, float]:
    """Return the seconds of each part of the start of Ray and its first worker."""
    run = subprocess.run([sys.executable, "-c", PARTS], check=True, capture_output=True, text=True)
    return {name: float(seconds) for name, _, seconds in (line.rpartition(" ") for line in run.stdout.splitlines())}


def until(command: list[str], file: Path | None, *, stop: bool = False) -> tuple[float, float]:
    """Run a command; return seconds until a file is there, and until its end; `stop`: end it when the file is there."""
    started = time.perf_counter()
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        while file is not None and not file.exists():
            if process.poll() is not None:
                raise SystemExit(f"{command}: ended without {file}")
            time.sleep(0.01)
        there = time.perf_counter() - started
        if stop:
            process.terminate()
            process.wait()
            return there, time.perf_counter() - started
        if process.wait():
            raise SystemExit(f"{command}: ended with {process.returncode}")
    ended = time.perf_counter() - started
    return (ended if file is None else there), ended


def main() -> None:
    """Measure each command and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=7, metavar="N", help="of the short ones; jobs run three times")
    parser.add_argument("--parts", action="store_true", help="also measure the parts of the start of Ray")
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
        many = Path(work) / "many"
        many.mkdir()
        small = cv2.imencode(".jpg", common.gray_photographs(256, 256, 1)[0])[1].tobytes()
        for index in range(1000):
            (many / f"{index:04d}.jpg").write_bytes(small)
        for repeat in range(min(3, given.repeats)):
            script, dest = Path(work) / f"script{repeat}.jpg", Path(work) / f"out{repeat}"
            command = [sys.executable, "-c", NAIVE, str(photograph), str(script), str(Path(__file__).resolve().parent)]
            times = {"torch and the network": until([sys.executable, "-c", NETWORK], None)[1]}
            times["first photograph, naive script"] = until(command, script)[0]
            for name, flag in (("", "--no-ray"), (", on Ray", "--ray")):
                job = [*raycolor, "colorize", str(source), str(dest) + flag, flag]
                first, whole = until(job, Path(str(dest) + flag) / "one.jpg")
                times |= {f"first photograph{name}": first, f"whole job of one photograph{name}": whole}
            job = [*raycolor, "colorize", str(common.SAMPLE), f"{dest}-sample"]
            times["whole job of the sample"] = until(job, None)[1]
            job = [*raycolor, "colorize", str(many), f"{dest}-many"]
            times["first photograph of 1,000"] = until(job, Path(f"{dest}-many") / "0000.jpg", stop=True)[0]
            for name, seconds in times.items():
                found.setdefault(name, []).append(seconds)
    print(f"seconds: median (least .. most); {common.told(about)}")
    for name, times in found.items():
        middle = common.spread(times)["median"]
        print(f"{name:34s} {middle:7.2f}  ({min(times):.2f} .. {max(times):.2f})  n={len(times)}")
    base = found["torch and the network"]
    ratios = {}
    for name, most in RATIOS.items():
        each = [seconds / one for seconds, one in zip(found[name], base, strict=True)]
        ratios[name] = common.spread(each)["median"]
        print(f"{name}: {ratios[name]:.2f} x torch and the network (aim: {most})")
    seen = parts() if given.parts else {}
    for name, seconds in seen.items():
        print(f"  {name:34s} {seconds:7.2f}")
    common.write(given.json, "startup", {"machine": about, "seconds": found, "ratios": ratios, "parts": seen})


if __name__ == "__main__":
    main()
