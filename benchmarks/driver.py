"""What does a job of a million inputs, or of ten, cost its driver: seconds, seconds of CPU, memory?

    python benchmarks/driver.py [--inputs 1000000 10000000] [--json FILE]

The job's own driver on a local Ray, with workers that only record: instead of colorizing a shard they link a completion
record that was made before into its place. The listing is made up as in `listing.py`, without the network's time. Each
size runs in a process of its own. `listing` is until job.json stands, `work` until the last shard is reported (the
start of Ray, 10 s and more, is part of it), `end` reads all outcomes once and makes summary, CSV files and page.

    python benchmarks/driver.py --outcomes 100000 [--latency-ms 20]

reads so many outcomes from a made-up store that answers so late, and prints how many requests were on their way at a
time: the end of a job far away from its store.
"""

import argparse
import itertools
import json
import os
import pickle
import resource
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path

import common
import listing

WORKERS = 2
PER_SHARD = 64
LINKS = 20_000  # file systems bound the number of names of a file


def records(folder, count):
    """Write completion records to be linked from shards; return nothing: a shard knows the name of its own."""
    from raycolor.colorize.job_folder import small_parquet
    from raycolor.colorize.manifest import shard_limits
    from raycolor.colorize.outcomes import Outcome, table_of_outcomes

    left, shard = count, 0
    for limit in shard_limits(PER_SHARD):
        if not left:
            return
        path = folder / f"{min(limit, left)}-{shard // LINKS}"
        if not path.exists():
            rows = [
                Outcome(
                    f"collections/box-{i:06}/scan-{i:09}.tif", "failed" if i % 50 == 0 else "colorized",
                    "decode_error" if i % 50 == 0 else None, "made up" if i % 50 == 0 else None, "gray", 4000, 3000,
                    3_000_000 + i, f"{i * 0x9E3779B97F4A7C15 % 2**128:032x}", f"out/box-{i:06}/scan-{i:09}.tif",
                    3_200_000 + i, f"{i * 0x9E3779B97F4A7C15 % 2**256:064x}", 0.1 + i / 7, 0.5 + i / 1000, None, 1,
                    12_000_000,
                )
                for i in range(min(limit, left))
            ]  # fmt: skip
            path.write_bytes(small_parquet(table_of_outcomes(rows)))
        left, shard = left - min(limit, left), shard + 1


def recorder(folder, dest, count):
    """Return the pool member that only records."""
    from raycolor.colorize.manifest import shard_limits
    from raycolor.colorize.messages import ShardReport
    from raycolor.colorize.outcomes import Tally

    sizes, left = [], count
    for limit in itertools.islice(shard_limits(PER_SHARD), 40):
        sizes.append(limit)
    full = sum(sizes)

    class Recorder:
        def __init__(self, spec, predict):
            (Path(dest) / "_raycolor" / "outcomes").mkdir(exist_ok=True)

        def images(self, shard):
            before = full + PER_SHARD * (shard - len(sizes)) if shard >= len(sizes) else sum(sizes[:shard])
            return min(sizes[shard] if shard < len(sizes) else PER_SHARD, left - before)

        def __call__(self, batch):
            (row,) = batch["shards"]
            done = []
            for shard in map(int, row):
                images, now = self.images(shard), time.time()
                os.link(f"{folder}/{images}-{shard // LINKS}", f"{dest}/_raycolor/outcomes/part-{shard:06d}.parquet")
                failed = len(range(0, images, 50))
                tally = Tally(Counter(colorized=images - failed, failed=failed), Counter(decode_error=failed))
                done.append(ShardReport(shard, tally, now, now, images, worker=f"here:{os.getpid()}"))
            return {"reports": [pickle.dumps(done)]}

    return Recorder


def measure(count):
    """Run one job; return its figures."""
    from raycolor.colorize import driver, ray_driver
    from raycolor.colorize.config import ColorizeConfig

    folder = Path(tempfile.mkdtemp(prefix="raycolor-bench-"))
    phases, plain, rows = [], {}, []

    def phase(name):
        phases.append((name, time.perf_counter(), time.process_time(), peak_mb()))

    def ends_phase(module, function, name):
        plain[function] = getattr(module, function)

        def call(*args, **options):
            try:
                return plain[function](*args, **options)
            finally:
                phase(name)

        setattr(module, function, call)

    try:
        for name in ("in", "out", "records"):
            (folder / name).mkdir()
        records(folder / "records", count)
        open_sources = driver.open_sources

        def made_up(*args, **options):
            source = open_sources(*args, **options)
            source._listed = lambda: small(count)
            return source

        def counted(*args):
            rows.extend(plain_rows(*args))
            return rows

        plain_rows = ray_driver.rows_of_work
        driver.open_sources, ray_driver.rows_of_work = made_up, counted
        ray_driver.ShardActor = recorder(str(folder / "records"), str(folder / "out"), count)
        ends_phase(driver, "begin_or_continue", "listing")
        plain_work = driver._Job.work
        driver._Job.work = lambda job, **options: (plain_work(job, **options), phase("work"))
        config = ColorizeConfig(
            source=str(folder / "in"), dest=str(folder / "out"), ray=True, workers=WORKERS, max_failed="100%"
        )
        phase("begin")
        driver.run(config)
        phase("end")
        summary = json.loads((folder / "out" / "_raycolor" / "summary.json").read_text())
        if summary["images"] != count or not summary["complete"]:
            raise SystemExit(f"{summary['images']} outcomes for {count} inputs")
        found = {"inputs": count, "shards": summary["shards"], "rows": len(rows)}
        for (_, wall, cpu, _), (name, wall2, cpu2, peak) in itertools.pairwise(phases):
            found[name] = {"seconds": wall2 - wall, "cpu_seconds": cpu2 - cpu, "peak_rss_mb": peak}
        return found
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def small(count):
    """Yield objects of 3 MB, so that shards are bounded by their number alone."""
    for info in listing.generated(count):
        yield info._replace(size=3_000_000)


def peak_mb():
    """Return the most memory that this process has held."""
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)


class Late:
    """A store in memory that answers late; counts the requests that are on their way."""

    def __init__(self, data, shards, latency_s):
        self.uri, self._data, self._shards, self._latency_s = "made-up", data, shards, latency_s
        self._lock, self._now, self.most, self.gets = threading.Lock(), 0, 0, 0

    def list(self, prefix=""):
        """Yield the completion records."""
        from raycolor.storage.base import ObjectInfo

        for shard in range(self._shards):
            yield ObjectInfo(f"{prefix}{shard:06d}.parquet", len(self._data), "")

    def get(self, key):
        """Return one of them."""
        with self._lock:
            self._now, self.gets = self._now + 1, self.gets + 1
            self.most = max(self.most, self._now)
        time.sleep(self._latency_s)
        with self._lock:
            self._now -= 1
        return self._data


def read_late(count, latency_s):
    """Read outcomes from far away as the end of a job does; return the figures."""
    from raycolor.colorize.outcomes import Tally, read_tables, write_csvs
    from raycolor.colorize.page import Selection
    from raycolor.storage import open_store

    with tempfile.TemporaryDirectory(prefix="raycolor-bench-") as folder:
        records(Path(folder), 10 * PER_SHARD * 8)
        store = Late((Path(folder) / f"{PER_SHARD}-0").read_bytes(), count // PER_SHARD, latency_s)
        tally, selection = Tally(), Selection()

        def tables():
            for table in read_tables(store):
                tally.add_table(table)
                selection.add(table)
                yield table

        started, cpu = time.perf_counter(), time.process_time()
        write_csvs(open_store(Path(folder) / "out"), tables())
        seconds, cpu = time.perf_counter() - started, time.process_time() - cpu
    found = {"outcomes": tally.total, "requests": store.gets, "at_once": store.most, "latency_ms": 1000 * latency_s}
    return {**found, "seconds": seconds, "cpu_seconds": cpu, "peak_rss_mb": peak_mb()}


def main():
    """Measure, print a table, write JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--inputs", type=int, nargs="+", default=[1_000_000], metavar="N")
    parser.add_argument("--only", type=int, metavar="N", help="run one size, in this process")
    parser.add_argument("--outcomes", type=int, metavar="N", help="read outcomes alone")
    parser.add_argument("--latency-ms", type=float, default=20.0, metavar="MS")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the numbers there, too")
    given = parser.parse_args()
    if given.only is not None:
        found = measure(given.only)
        print("\n" + json.dumps(found))
        return
    about = common.machine()
    if given.outcomes is not None:
        found = read_late(given.outcomes, given.latency_ms / 1000)
        print(json.dumps({name: round(value, 1) for name, value in found.items()}, indent=1))
        common.write(given.json, "driver", {"machine": about, "outcomes": found})
        return
    runs = []
    for count in given.inputs:
        done = subprocess.run([sys.executable, __file__, "--only", str(count)], stdout=subprocess.PIPE, check=True)
        runs.append(json.loads(done.stdout.splitlines()[-1]))
    print(common.told(about))
    print(f"{'inputs':>12s}{'shards':>9s}{'rows':>8s}  phase    seconds   CPU s  peak MB")
    for run in runs:
        for name in ("listing", "work", "end"):
            one, numbers = run[name], f"{run['inputs']:12,d}{run['shards']:9,d}{run['rows']:8,d}"
            print(f"{numbers}  {name:8s}{one['seconds']:8.1f}{one['cpu_seconds']:8.1f}{one['peak_rss_mb']:9d}")
    common.write(given.json, "driver", {"machine": about, "runs": runs})


if __name__ == "__main__":
    main()
