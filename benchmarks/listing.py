"""How fast does a listing become a manifest, and how much memory does the driver need for it?

    python benchmarks/listing.py [--keys 1000000] [--only listing|csv|tar] [--out FILE.json]

Each case runs in a process of its own, so that its peak memory is its own:

- listing: generated objects as a bucket's listing yields them, 1,000 at a time, without the network's time;
- csv: a list of that many URIs in a file, read twice (once to check every row), repetitions found;
- tar: one uncompressed tar of that many members, of which a tenth is enough (`--keys` / 10): headers read one by one.

The manifest is written to a local folder as in the job.
"""

import argparse
import io
import json
import os
import platform
import resource
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time
from pathlib import Path

from raycolor.manifest import write_manifest
from raycolor.sources import open_source
from raycolor.storage import ObjectInfo, open_store

CASES = ("listing", "csv", "tar")


def generated(count):
    """Yield objects as S3 would list them: sorted keys of 60 characters, MD5-like etags."""
    for index in range(count):
        key = f"collections/box-{index // 500:06}/folder-{index // 50 % 10}/scan-{index:09}.tif"
        yield ObjectInfo(key, 12_000_000 + index % 1_000, f"{index * 0x9E3779B97F4A7C15 % 2**128:032x}")


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


def measure(case, count):
    """Write one manifest; return its figures."""
    folder = Path(tempfile.mkdtemp(prefix="raycolor-bench-"))
    try:
        source, expected = prepare(case, count, folder)
        dest = open_store(folder / "out")
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        started, cpu = time.perf_counter(), time.process_time()
        totals = write_manifest(dest, source.inputs(dest.uri), images_per_shard=64)
        seconds, cpu = time.perf_counter() - started, time.process_time() - cpu
        if totals.images != expected:
            raise SystemExit(f"{totals.images} inputs instead of {expected}")
        return {
            "keys": totals.images,
            "shards": totals.shards,
            "seconds": round(seconds, 2),
            "cpu_seconds": round(cpu, 2),
            "keys_per_s": round(totals.images / seconds),
            "keys_per_cpu_s": round(totals.images / cpu),
            "peak_rss_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
            "rss_before_mb": round(before / 1024),
            "manifest_bytes": sum(info.size for info in dest.list("_raycolor/manifest/")),
        }
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def main():
    """Measure and write the result as JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--keys", type=int, default=1_000_000)
    parser.add_argument("--only", choices=CASES, help="run one case, in this process")
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    if args.only is not None:
        print(json.dumps(measure(args.only, args.keys)))
        return
    result = {"benchmark": "listing", "machine": {"cpus": len(os.sched_getaffinity(0)), "load": os.getloadavg()[0]}}
    result["machine"]["python"] = platform.python_version()
    for case in CASES:
        command = [sys.executable, __file__, "--only", case, "--keys", str(args.keys)]
        result[case] = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    text = json.dumps(result, indent=1)
    if args.out is not None:
        args.out.write_text(text + "\n")
    print(text)


if __name__ == "__main__":
    main()
