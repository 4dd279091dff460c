"""How fast does a listing become a manifest, and how much memory does the driver need for it?

    python benchmarks/listing.py [--keys 1000000] [--only CASE] [--json FILE]

Each case runs in a process of its own, so that its peak memory is its own:

- listing: generated objects as a bucket's listing yields them, 1,000 at a time, without the network's time;
- csv: a list of that many URIs in a file, read twice (once to check every row), repetitions found;
- tar: one uncompressed tar of that many members, of which a tenth is enough (`--keys` / 10): headers read one by one;
- naive: the same objects gathered in a list and written as one Parquet file, which tells no shards apart;
- floor: the objects made and thrown away.

The manifest is written to a local folder as in the job.
"""

import argparse
import io
import json
import resource
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time
from pathlib import Path

import common
import pyarrow
import pyarrow.parquet

from raycolor.colorize.manifest import write_manifest
from raycolor.sources import Input, open_source
from raycolor.storage import open_store

CASES = ("floor", "naive", "listing", "csv", "tar")


def generated(count):
    """Yield objects as S3 would list them: sorted keys of 60 characters, MD5-like etags."""
    for index in range(count):
        key = f"collections/box-{index // 500:06}/folder-{index // 50 % 10}/scan-{index:09}.tif"
        yield Input(key, 12_000_000 + index % 1_000, f"{index * 0x9E3779B97F4A7C15 % 2**128:032x}")


def prepare(case, count, folder):
    """Make the source of a case and return (source, number of inputs)."""
    if case == "csv":
        path = folder / "list.csv"
        with path.open("w") as file:
            file.write("uri\n")
            file.writelines(f"s3://archive/{info.key}\n" for info in generated(count))
        return open_source(str(path)), count
    if case == "tar":
        path, count = folder / "in" / "members.tar", count // 10
        path.parent.mkdir()
        with tarfile.open(path, "w") as archive:
            for info in generated(count):
                member = tarfile.TarInfo(info.key)
                member.size = 8
                archive.addfile(member, io.BytesIO(b"contents"))
                archive.members.clear()
        return open_source(str(path.parent)), count
    (folder / "in").mkdir()
    source = open_source(str(folder / "in"))
    source._listed = lambda: generated(count)
    return source, count


def by_hand(case, count, folder):
    """Do without a manifest, as a script does (`naive`) or not at all (`floor`)."""
    if case == "naive":
        rows = [{"key": info.key, "size": info.size, "version": info.etag} for info in generated(count)]
        pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), folder / "keys.parquet")
        return len(rows)
    return sum(1 for _ in generated(count))


def measure(case, count):
    """Write one manifest; return its figures."""
    folder = Path(tempfile.mkdtemp(prefix="raycolor-bench-"))
    try:
        if case in ("floor", "naive"):
            started = time.perf_counter()
            found = by_hand(case, count, folder)
            seconds = time.perf_counter() - started
            return {"keys": found, "seconds": seconds, "keys_per_s": found / seconds, "peak_rss_mb": peak_mb()}
        source, expected = prepare(case, count, folder)
        dest = open_store(folder / "out")
        before = peak_mb()
        started, cpu = time.perf_counter(), time.process_time()
        totals = write_manifest(dest, source.inputs(dest.uri), images_per_shard=64)
        seconds, cpu = time.perf_counter() - started, time.process_time() - cpu
        if totals.images != expected:
            raise SystemExit(f"{totals.images} inputs instead of {expected}")
        return {
            "keys": totals.images,
            "shards": totals.shards,
            "seconds": seconds,
            "cpu_seconds": cpu,
            "keys_per_s": totals.images / seconds,
            "peak_rss_mb": peak_mb(),
            "rss_before_mb": before,
            "manifest_bytes": sum(info.size for info in dest.list("_raycolor/manifest/")),
        }
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def peak_mb():
    """Return the most memory that this process has held."""
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)


def main():
    """Measure, print a table, write JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--keys", type=int, default=1_000_000)
    parser.add_argument("--only", choices=CASES, help="run one case, in this process")
    parser.add_argument("--repeats", type=int, default=1, metavar="N", help="of each case; 3 show a spread")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the numbers there, too")
    args = parser.parse_args()
    if args.only is not None:
        print(json.dumps(measure(args.only, args.keys)))
        return
    about, cases = common.machine(), {}
    for case in CASES * args.repeats:
        command = [sys.executable, __file__, "--only", case, "--keys", str(args.keys)]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        cases.setdefault(case, []).append(json.loads(done.stdout))
    spreads = {case: common.spread([one["keys_per_s"] for one in found]) for case, found in cases.items()}
    print(f"{args.keys:,} keys; {common.told(about)}")
    print(f"{'case':8s} {'keys/s':>10s} {'x naive':>8s} {'x floor':>8s} {'peak MB':>8s}")
    for case, one in spreads.items():
        ratios = [one["median"] / spreads[other]["median"] for other in ("naive", "floor")]
        peak = max(run["peak_rss_mb"] for run in cases[case])
        print(f"{case:8s} {one['median']:10,.0f} {ratios[0]:8.2f} {ratios[1]:8.2f} {peak:8d}")
    common.write(args.json, "listing", {"machine": about, "keys_per_s": spreads, "runs": cases})


if __name__ == "__main__":
    main()
