"""Colorize a folder of photographs, many times over, from one bucket to another while things break; tell what is lost.

    python tests/archive_under_fire.py FOLDER [--fold 20] [--kills 1] [--rate 0.05] [--seed N] [-- FLAGS OF COLORIZE]

Everything is real and on this machine: an S3 server (SeaweedFS) with the photographs uploaded `fold` times, a proxy
that breaks one answer in twenty (503, resets, short bodies, stalls, lost answers), a Ray cluster of a head and two
nodes, and `raycolor colorize s3://photographs s3://colorized` on it. Nodes are killed by SIGKILL at random moments of
the middle of the job, and others join. Should the job end early, the same command is run again.

Afterwards every input has one outcome, every output is whole and has the bytes that a quiet run over FOLDER makes, no
input has changed, and nothing half-written is left: else this ends with a traceback and exit code 1. The last line is
JSON with what happened.
"""

import argparse
import hashlib
import itertools
import json
import os
import platform
import random
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import chaos
import faultproxy
from s3server import S3Server

from raycolor.colorize.job_record import read_job
from raycolor.colorize.outcomes import done_shards
from raycolor.storage import open_store

SOURCE, DEST = "s3://photographs", "s3://colorized"


def upload(folder, fold):
    """Put every file of a folder into the source bucket `fold` times; returns key -> SHA-256."""
    files, bucket = open_store(folder), open_store(SOURCE)
    made = {}
    for info in files.list():
        data = files.get(info.key)
        for copy in range(fold):
            key = f"copy-{copy:03}/{info.key}"
            bucket.put(key, data)
            made[key] = hashlib.sha256(data).hexdigest()
    return made


def run_with_kills(command, cluster, draw, kills):
    """Run the job once; each kill comes at a random moment between a tenth and nine tenths of the shards.

    Returns:
        (exit code, nodes killed, how many shards were done at each kill).
    """
    dest = open_store(DEST)
    shares = sorted(draw.uniform(0.1, 0.9) for _ in range(kills))
    process = subprocess.Popen(command)
    at = []
    while process.poll() is None:
        time.sleep(1.0)
        job = read_job(dest)
        if job is None or not shares:
            continue
        done = len(done_shards(dest))
        if done >= shares[0] * job.manifest.shards:
            shares.pop(0)
            chaos.kill_node(cluster, draw)
            at.append(done)
            print(f"-- killed a node after {done} of {job.manifest.shards} shards; another joined", flush=True)
    return process.returncode, at


def check(sums, expected):
    """Compare what is there with a quiet run over one copy; returns the number of outcomes by status."""
    found = chaos.results(DEST)
    assert set(found) == set(sums), "keys were lost or made up"
    for key, outcome in found.items():
        assert outcome == expected[key.partition("/")[2]], f"{key}: {outcome}"
    bucket = open_store(SOURCE)
    for key, digest in sums.items():
        assert hashlib.sha256(bucket.get(key)).hexdigest() == digest, f"{key}: the input has changed"
    return dict(Counter(status for status, _, _ in found.values()))


def main():
    """Run everything and return 0, or raise."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--fold", type=int, default=20)
    parser.add_argument("--kills", type=int, default=1)
    parser.add_argument("--rate", type=float, default=0.05)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(10**6))
    own = list(itertools.takewhile(lambda word: word != "--", sys.argv[1:]))
    flags = sys.argv[len(own) + 2 :]
    given = parser.parse_args(own)
    draw = random.Random(given.seed)
    print(f"-- seed {given.seed}", flush=True)
    begun = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="raycolor-quiet-") as quiet, S3Server() as server:
        os.environ.update(server.environment)
        subprocess.run(chaos.job(given.folder, quiet, *flags), check=True)
        expected = chaos.results(quiet)
        for uri in (SOURCE, DEST):
            server.client().create_bucket(Bucket=uri.removeprefix("s3://"))
        sums = upload(given.folder, given.fold)
        print(f"-- {len(sums)} objects uploaded, {time.monotonic() - begun:.0f} s", flush=True)
        faults = {**chaos.FLAKY, "rate": given.rate, "seed": draw.randrange(10**6)}
        with faultproxy.FaultProxy(server.endpoint, **faults) as proxy:
            cluster = chaos.start_cluster()
            try:
                places = ["--endpoint-url", proxy.endpoint, "--address", cluster.address]
                started, codes, kills = time.monotonic(), [], []
                while not codes or (codes[-1] != 0 and len(codes) < 5):
                    code, at = run_with_kills(
                        chaos.job(SOURCE, DEST, *places, *flags), cluster, draw, given.kills - len(kills)
                    )
                    codes.append(code)
                    kills += at
                seconds = time.monotonic() - started
            finally:
                cluster.shutdown()
        assert codes[-1] == 0, f"exit codes {codes}"
        assert len(kills) == given.kills, f"the job ended after {len(kills)} kills: give a larger archive"
        counts = check(sums, expected)
        summary = json.loads(open_store(DEST).get("_raycolor/summary.json"))
    told = {
        "objects": len(sums), "outcomes": counts, "exit_codes": codes, "nodes_killed_at_shard": kills,
        "shards": summary["shards"], "requests": dict(proxy.counts), "job_seconds": round(seconds, 1),
        "seconds": round(time.monotonic() - begun, 1), "megapixels": summary["megapixels"],
        "flags": flags, "seed": given.seed, "cpus": os.cpu_count(), "python": platform.python_version(),
    }  # fmt: skip
    print(json.dumps(told))
    return 0


if __name__ == "__main__":
    sys.exit(main())
