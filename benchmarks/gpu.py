"""How many photographs a second does a GPU color, how busy is it, and what does a million cost?

    python benchmarks/gpu.py [--checkpoints regression default] [--batches 64 128 256 512] [--job SIZE]
        [--price USD] [--json FILE]

The network alone: batches of 256 x 256 planes that lie in the machine's memory, in bf16 where the device has it, colors
copied back. A batch that does not fit into the card's memory is left out. Then, with --job, `raycolor colorize --shape
staged` on gray JPEGs of that size: its rate beside that of the network alone, in batches as large, is the share of the
card's time that it fills; the rest is decoding and encoding on CPUs, of which more would fill more. The busy share is
the mean of what nvidia-smi says. `--device cpu` runs all of it without a GPU, one plane at a time.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import bulk
import common
import cost
import end_to_end
import numpy as np
import torch

from raycolor.colorizer.config import ColorizerConfig
from raycolor.colorizer.predict import Predictor
from raycolor.errors import ConfigError

PRICE = cost.PRICES["g6.2xlarge"][1]  # US dollars an hour: an assumption, as prices change
SAMPLE_MS = 200


@contextmanager
def busy_share(device: str) -> Iterator[list[float]]:
    """Yield a list that holds, after the block, the share of the time in which the card computed; empty if unknown."""
    found: list[float] = []
    command = ["nvidia-smi", "--id=0", "--query-gpu=utilization.gpu", "--format=csv,noheader,nounits"]
    try:
        if device != "cuda":
            raise FileNotFoundError
        watch = subprocess.Popen([*command, f"--loop-ms={SAMPLE_MS}"], stdout=subprocess.PIPE, text=True)
    except FileNotFoundError:
        yield found
        return
    try:
        yield found
    finally:
        watch.terminate()
        said = [int(line) for line in (watch.communicate()[0] or "").split() if line.isdigit()]
        if said:
            found.append(sum(said) / len(said) / 100)


def network_rate(checkpoint: str, device: str, batch: int, seconds: float) -> dict[str, object]:
    """Return planes a second of the network alone, in what number format, and the card's busy share.

    Raises:
        ConfigError: the batch does not fit into the card's memory.
    """
    predictor = Predictor(ColorizerConfig(checkpoint=checkpoint, gpu_batch=batch), device=device)
    side = predictor.net.fixed_size_px or 256
    planes = [np.random.default_rng(i).uniform(0, 100, (side, side)).astype(np.float32) for i in range(batch)]
    predictor.predict(planes)
    rates, begun = [], time.perf_counter()
    with busy_share(device) as busy:
        while time.perf_counter() - begun < seconds or len(rates) < 3:
            started = time.perf_counter()
            predictor.predict(planes)
            rates.append(batch / (time.perf_counter() - started))
    return {
        "precision": "bf16" if predictor.bf16 else "fp32",
        "busy": busy[0] if busy else None,
        **common.spread(rates),
    }


def told(rate: float, busy: float | None, price: float) -> str:
    """Return a rate, the card's busy share and the price of a million photographs in words."""
    share = "busy share unknown" if busy is None else f"busy {busy:.0%}"
    return f"{rate:10.1f}/s  {share}  ${price * 1e6 / rate / 3600:,.2f} per million"


def job_rate(checkpoint: str, size: str, images: int, batch: int) -> dict[str, object]:
    """Return the summary of a staged job on made photographs."""
    data = end_to_end.files(size, 8, None)
    with tempfile.TemporaryDirectory(prefix="raycolor-bench-") as work:
        source = Path(work) / "in"
        source.mkdir()
        for index in range(images):
            (source / f"{index:06}.jpg").write_bytes(data[index % len(data)])
        command = [sys.executable, "-m", "raycolor", "colorize", str(source), str(Path(work) / "out")]
        command += [
            "--checkpoint",
            checkpoint,
            "--shape",
            "staged",
            "--gpu-batch",
            str(batch),
            "--log-level",
            "warning",
        ]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        return json.loads((Path(work) / "out" / "_raycolor" / "summary.json").read_text())


def main() -> None:
    """Measure, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkpoints", nargs="+", default=["regression", "default"], metavar="NAME")
    parser.add_argument("--batches", nargs="+", type=int, default=[64, 128, 256, 512], metavar="N")
    parser.add_argument("--device", default="cuda", choices=["cuda", "cpu"])
    parser.add_argument("--seconds", type=float, default=5.0, metavar="S", help="of each measurement")
    parser.add_argument("--job", choices=end_to_end.SIZES, metavar="SIZE", help="measure the job, too; needs Ray")
    parser.add_argument("--images", type=int, metavar="N", help=f"of the job; default: {bulk.COUNTS}")
    parser.add_argument("--price", type=float, default=PRICE, metavar="USD", help=f"of the machine an hour; {PRICE}")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the numbers there, too")
    given = parser.parse_args()
    about = common.machine()
    if given.device == "cuda":
        if not torch.cuda.is_available():
            print("torch finds no GPU here, nothing is measured: --device cpu measures the CPU")
            return
        about["gpu"] = torch.cuda.get_device_name()
    rows: dict[str, dict[str, object]] = {}
    print(f"planes a second, network alone; {about.get('gpu') or common.told(about)}")
    for checkpoint in given.checkpoints:
        for batch in given.batches:
            try:
                row = network_rate(checkpoint, given.device, batch, given.seconds)
            except ConfigError as exc:
                print(f"{checkpoint:12s} batch {batch:4d}: left out: {exc}", flush=True)
                continue
            rows[f"{checkpoint} {batch}"] = row
            what = told(float(row["median"]), row["busy"], given.price)
            print(f"{checkpoint:12s} batch {batch:4d} {row['precision']}  {what}", flush=True)
    jobs: dict[str, dict[str, object]] = {}
    for checkpoint in given.checkpoints if given.job else []:
        batch = given.batches[0]
        if f"{checkpoint} {batch}" not in rows:
            continue
        with busy_share(given.device) as busy:
            summary = job_rate(checkpoint, given.job, given.images or bulk.COUNTS[given.job], batch)
        if summary["device"] != given.device:
            raise SystemExit(f"the job's network ran on {summary['device']}, not on {given.device}")
        rate = float(summary["images_per_second"])
        share = rate / (float(rows[f"{checkpoint} {batch}"]["median"]) * int(summary["networks"]))
        jobs[checkpoint] = {"images_per_second": rate, "share_of_network": share, "busy": busy[0] if busy else None}
        jobs[checkpoint] |= {"workers": summary["workers"], "networks": summary["networks"]}
        what = told(rate, jobs[checkpoint]["busy"], given.price)
        print(
            f"{checkpoint:12s} job, {given.job}: {what}, {summary['workers']} workers, {summary['networks']} networks: "
            f"{share:.0%} of what the networks could do"
        )
    about["usd_per_hour"] = given.price
    common.write(given.json, "gpu", {"machine": about, "device": given.device, "rows": rows, "job": jobs})


if __name__ == "__main__":
    main()
