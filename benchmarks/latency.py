"""How much of a store's latency hides behind computing, as a worker has several photographs on their way at a time?

    python benchmarks/latency.py [--milliseconds 0 20 50 100] [--size 256x256] [--checkpoint default] [--json FILE]

One worker, one thread of computing, gray JPEGs in a folder whose every read and write takes so much longer, as S3's do.
`naive` reads, colorizes and writes one photograph after the other; `floor` is what computing alone would allow.
"""

import argparse
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import common
import cv2
import end_to_end
import torch

from raycolor.colorize import shard as shard_module
from raycolor.colorize.manifest import write_manifest
from raycolor.colorize.messages import ShardSpec
from raycolor.colorize.outcomes import read_outcomes
from raycolor.colorize.ray_driver import SHARDS_AT_ONCE
from raycolor.colorize.shard import ShardWorker
from raycolor.colorizer.config import ColorizerConfig
from raycolor.sources import open_source
from raycolor.storage import open_store


def rate(source: Path, dest: Path, checkpoint: str, wait_s: float, threads: int, shards: int) -> tuple[float, float]:
    """Return photographs a second, and those that computing alone would allow."""
    store = open_store(dest)
    totals = write_manifest(store, open_source(str(source)).inputs(store.uri), images_per_shard=1000)
    worker = ShardWorker(ShardSpec(str(source), str(dest), totals, ColorizerConfig(checkpoint=checkpoint)))
    spent = []
    get, put, colorize = worker.source.get, worker.dest.put, worker.colorizer.colorize

    def slow_get(info: object) -> bytes:
        time.sleep(wait_s)
        return get(info)

    def slow_put(key: str, data: bytes, **options: bool) -> bool:
        time.sleep(wait_s)
        return put(key, data, **options)

    def timed(*given: object) -> object:
        started = time.perf_counter()
        try:
            return colorize(*given)
        finally:
            spent.append(time.perf_counter() - started)

    colorize((source / "000000.jpg").read_bytes())
    worker.source.get, worker.dest.put, worker.colorizer.colorize = slow_get, slow_put, timed
    shard_module._THREADS = threads
    started = time.perf_counter()
    with ThreadPoolExecutor(shards) as calls:
        for _ in calls.map(worker.run, range(totals.shards)):
            pass
    seconds = time.perf_counter() - started
    assert {outcome.status for outcome in read_outcomes(store)} == {"colorized"}
    return totals.images / seconds, totals.images / sum(spent)


def main() -> None:
    """Measure, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--milliseconds", nargs="+", type=float, default=[0, 20, 50, 100], metavar="MS")
    parser.add_argument("--size", default="256x256", choices=end_to_end.SIZES)
    parser.add_argument("--checkpoint", default="default", metavar="NAME")
    parser.add_argument("--images", type=int, default=496, metavar="N")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the numbers there, too")
    given = parser.parse_args()
    cv2.setNumThreads(1)
    torch.set_num_threads(1)
    about, threads = common.machine(), shard_module._THREADS
    data = end_to_end.files(given.size, 8, None)
    print(f"photographs a second of one worker, {given.size}, {given.checkpoint}; {common.told(about)}")
    print(f"{'latency, ms':>12s}{'naive':>10s}{'raycolor':>10s}{'floor':>10s}{'x naive':>10s}{'of floor':>10s}")
    rows = {}
    for wait in given.milliseconds:
        with tempfile.TemporaryDirectory(prefix="raycolor-bench-") as work:
            source = Path(work) / "in"
            source.mkdir()
            for index in range(given.images):
                (source / f"{index:06}.jpg").write_bytes(data[index % len(data)])
            naive, floor = rate(source, Path(work) / "one", given.checkpoint, wait / 1000, 1, 1)
            ours, _ = rate(source, Path(work) / "several", given.checkpoint, wait / 1000, threads, SHARDS_AT_ONCE)
        rows[f"{wait:g}"] = {"naive": naive, "raycolor": ours, "floor": floor}
        ratios = f"{ours / naive:10.2f}{ours / floor:10.2f}"
        print(f"{wait:12g}{naive:10.1f}{ours:10.1f}{floor:10.1f}{ratios}", flush=True)
    common.write(given.json, "latency", {"machine": about, "threads": threads, "size": given.size, "rows": rows})


if __name__ == "__main__":
    main()
