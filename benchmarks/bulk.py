"""What does Ray cost the bulk job: images a second after start-up, beside plain processes that run the same code?

    python benchmarks/bulk.py [--sizes 256x256 "1 MP" "12 MP"] [--checkpoint default] [--repeats 2] [--json FILE]

`raycolor colorize` on a local folder of gray JPEGs, and as many plain processes as it has workers, each of which
reads, colorizes and writes its share of the same files, one native thread each. The job's rate is that of its
summary.json, from first to last photograph: what it takes to start stands beside it. The plain processes wait for each
other after loading, and their rate runs until the last is done.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import common
import end_to_end

COUNTS = {"256x256": 2000, "1 MP": 900, "12 MP": 300, "24 MP": 150}  # half a minute of two CPUs or more


def plain(source: Path, dest: Path, checkpoint: str, index: int, processes: int) -> None:
    """Be one plain process: say when the network is loaded, wait for a line, work, and say when it is done."""
    import cv2
    import torch

    from raycolor.colorizer.config import ColorizerConfig
    from raycolor.colorizer.photograph import FileColorizer
    from raycolor.storage import open_store

    cv2.setNumThreads(1)
    torch.set_num_threads(1)
    colorizer = FileColorizer(ColorizerConfig(checkpoint=checkpoint))
    inputs, outputs = open_store(source), open_store(dest)
    keys = [info.key for info in inputs.list()][index::processes]
    colorizer.colorize(inputs.get(keys[0]))
    print("ready", flush=True)
    sys.stdin.readline()
    for key in keys:
        outputs.put(key, colorizer.colorize(inputs.get(key)).data)
    print("done", flush=True)


def plain_rate(source: Path, dest: Path, checkpoint: str, processes: int, images: int) -> float:
    """Return images per second of plain processes together."""
    dest.mkdir()
    command = [sys.executable, __file__, "--checkpoint", checkpoint, "--plain", str(source), str(dest)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    children = [subprocess.Popen([*command, str(i), str(processes)], **pipes) for i in range(processes)]
    for child in children:
        if child.stdout.readline() != "ready\n":
            raise SystemExit("a plain process ended before it was ready")
    started = time.perf_counter()
    for child in children:
        child.stdin.write("go\n")
        child.stdin.flush()
    for child in children:
        if child.stdout.readline() != "done\n":
            raise SystemExit("a plain process ended before it was done")
    seconds = time.perf_counter() - started
    for child in children:
        child.wait()
    return images / seconds


def job(source: Path, dest: Path, checkpoint: str, workers: int) -> dict[str, float]:
    """Run the bulk job and return its summary."""
    command = [sys.executable, "-m", "raycolor", "colorize", str(source), str(dest)]
    command += ["--checkpoint", checkpoint, "--workers", str(workers), "--log-level", "warning"]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return json.loads((dest / "_raycolor" / "summary.json").read_text())


def main() -> None:
    """Measure each size and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", nargs="+", default=["256x256", "1 MP", "12 MP"], choices=COUNTS, metavar="SIZE")
    parser.add_argument("--checkpoint", default="default", metavar="NAME")
    parser.add_argument("--images", type=int, metavar="N", help=f"of each size; default: {COUNTS}")
    parser.add_argument("--workers", type=int, metavar="N", help="default: a CPU each")
    parser.add_argument("--repeats", type=int, default=1, metavar="N")
    parser.add_argument("--plain", nargs=4, metavar=("SOURCE", "DEST", "INDEX", "OF"), help="be a plain process")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the numbers there, too")
    given = parser.parse_args()
    if given.plain:
        source, dest, index, processes = given.plain
        plain(Path(source), Path(dest), given.checkpoint, int(index), int(processes))
        return
    about = common.machine()
    workers = given.workers or about["cpus"]
    rows: dict[str, dict[str, object]] = {}
    for size in given.sizes:
        images = given.images or COUNTS[size]
        data = end_to_end.files(size, 8, None)
        alone, together, starts = [], [], []
        with tempfile.TemporaryDirectory(prefix="raycolor-bench-") as work:
            source = Path(work) / "in"
            source.mkdir()
            for index in range(images):
                (source / f"{index:06}.jpg").write_bytes(data[index % len(data)])
            for repeat in range(given.repeats):
                alone.append(plain_rate(source, Path(work) / f"plain{repeat}", given.checkpoint, workers, images))
                summary = job(source, Path(work) / f"out{repeat}", given.checkpoint, workers)
                together.append(summary["images_per_second"])
                starts.append(summary["startup_seconds"])
        shares = [ray / bare for ray, bare in zip(together, alone, strict=True)]
        rows[size] = {"images": images, "plain": alone, "job": together, "share": shares, "startup_s": starts}
    print(f"images a second, {workers} workers, network {given.checkpoint}; {common.told(about)}")
    print(f"{'size':10s}{'images':>8s}{'plain':>10s}{'job':>10s}{'share':>8s}{'start-up s':>12s}")
    for size, row in rows.items():
        middle = {key: common.spread(row[key])["median"] for key in ("plain", "job", "share", "startup_s")}
        numbers = f"{middle['plain']:10.1f}{middle['job']:10.1f}{middle['share']:8.2f}{middle['startup_s']:12.1f}"
        print(f"{size:10s}{row['images']:8,d}{numbers}")
    settings = {"checkpoint": given.checkpoint, "workers": workers}
    common.write(given.json, "bulk", {"machine": about, **settings, "rows": rows})


if __name__ == "__main__":
    main()
