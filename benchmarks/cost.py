"""What will a million photographs take and cost? A model with measured constants, and assumptions that say so.

    python benchmarks/cost.py [--results benchmarks/results] [--network default] [--price NAME=VCPUS:USD_PER_HOUR ...]

Measured, from end_to_end.json: CPU time of a photograph on one core, `fixed + per_mp x megapixels`, a straight line
through 256x256 and the largest size (`exact` JPEGs); from bulk.json: the share of that rate which the job keeps, and
its start-up. Assumed: prices; that a core of the instance is as fast as one here; that two of its vCPUs, being threads
of one core, are worth one of ours; that photographs are JPEGs; that instances' GPUs idle; and that S3 keeps up.
"""

import argparse
import json
from pathlib import Path

HERE = Path(__file__).resolve().parent
SIZES_MP = {"256x256": 0.065536, "1 MP": 1.0, "12 MP": 12.0, "24 MP": 24.0}
# Linux, on demand, us-east-1, US dollars an hour: assumptions, as prices change. Spot costs some third of it.
PRICES = {
    "m7i.4xlarge": (16, 0.8064),
    "m7i.24xlarge": (96, 4.8384),
    "g5.2xlarge": (8, 1.212),
    "g6.2xlarge": (8, 0.9776),
}
# Where bulk.json is missing: what the job kept of its processes' rate here, and a start-up to allow for.
SHARE, STARTUP_S = 0.86, 30.0
# Requests a second that S3 takes for one prefix, as its manual says.
S3_PUTS = 3500


def line(median_ms: dict[str, float]) -> tuple[float, float]:
    """Return fixed seconds and seconds per megapixel through the least and the largest size."""
    sizes = sorted((SIZES_MP[size], ms / 1000) for size, ms in median_ms.items() if size in SIZES_MP)
    (small, least), (large, most) = sizes[0], sizes[-1]
    per_mp = (most - least) / (large - small)
    return least - per_mp * small, per_mp


def main() -> None:
    """Print the constants and the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--results", type=Path, default=HERE / "results", metavar="DIR", help="of `make bench`")
    parser.add_argument("--network", default="default", metavar="NAME")
    parser.add_argument("--megapixels", type=float, nargs="+", default=[0.065536, 1, 12, 24], metavar="N")
    parser.add_argument("--price", action="append", default=[], metavar="NAME=VCPUS:USD", help="instances to ask for")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the numbers there, too")
    given = parser.parse_args()
    prices = dict(PRICES)
    for one in given.price:
        name, _, rest = one.partition("=")
        vcpus, _, dollars = rest.partition(":")
        prices[name] = (int(vcpus), float(dollars))
    measured = json.loads((given.results / "end_to_end.json").read_text())
    bulk = given.results / "bulk.json"
    rows = json.loads(bulk.read_text())["rows"] if bulk.exists() else {}
    fixed, per_mp = line(measured["median_ms"][f"{given.network} exact"])
    share = min((sum(row["share"]) / len(row["share"]) for row in rows.values()), default=SHARE)
    startup = max((value for row in rows.values() for value in row["startup_s"]), default=STARTUP_S)
    cpu = measured["machine"]["cpu"]
    print(f"measured: {1000 * fixed:.1f} ms + {1000 * per_mp:.2f} ms per megapixel on a core of {cpu}")
    how = "measured" if rows else "assumed"
    print(f"{how}: the job keeps {share:.2f} of that rate (its worst size); start-up {startup:.0f} s at most")
    print(f"{'megapixels':>12s}{'instance':>14s}{'images/hour':>14s}{'$ per million':>15s}{'hours, 10 of them':>19s}")
    table = []
    for megapixels in given.megapixels:
        seconds = (fixed + per_mp * megapixels) / share
        for name, (vcpus, dollars) in prices.items():
            rate = vcpus / 2 / seconds * 3600
            row = {"megapixels": megapixels, "instance": name, "images_per_hour": rate, "usd": 1e6 / rate * dollars}
            table.append(row)
            hours = 1e6 / rate / 10 + startup / 3600
            print(f"{megapixels:12.2f}{name:>14s}{rate:14,.0f}{row['usd']:15,.0f}{hours:19.1f}")
        print(f"{'':12s}{S3_PUTS * seconds:,.0f} cores write the {S3_PUTS:,} objects a second that a prefix takes")
    if given.json:
        constants = {"fixed_s": fixed, "per_mp_s": per_mp, "share": share, "startup_s": startup}
        given.json.write_text(
            json.dumps({"benchmark": "cost", "constants": constants, "table": table}, indent=1) + "\n"
        )


if __name__ == "__main__":
    main()
