"""How many samples a second does training take, beside an eager float32 loop over a scikit-image dataset?

    python benchmarks/training.py [--methods regression ...] [--batch 16] [--crop 224] [--steps 4] [--json FILE]

All CPUs of the machine. `naive` decodes each JPEG with Pillow, converts it with scikit-image and updates the same
network in float32, memory order as torch has it by default. `raycolor` reads its prepared dataset and makes the updates
of `raycolor train` with its default settings. `floor` makes the same updates on one batch that is there already.
"""

import argparse
import tempfile
import time
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path

import common
import loader
import torch
from torch import Tensor, nn

from raycolor.dataset.info import read_dataset
from raycolor.dataset.loading import batches
from raycolor.dataset.shards import LabSplit
from raycolor.machine import cpu_count
from raycolor.models.build import build_discriminator, build_model
from raycolor.models.losses import discriminator_loss, generator_adversarial_loss, pixel_loss
from raycolor.models.precision import choose_precision
from raycolor.storage import open_store
from raycolor.training.step import GanStep, PixelStep
from raycolor.training.trained import StepSettings

Pair = tuple[Tensor, Tensor]
METHODS = ("regression", "autoencoder", "gan", "unet")


def rate(step: Callable[[Tensor, Tensor], object], pairs: Iterator[Pair], steps: int, batch: int) -> list[float]:
    """Make one update to warm up and then `steps` by the clock; samples per second of each, its data included."""
    step(*next(pairs))
    found = []
    for _ in range(steps):
        started = time.perf_counter()
        step(*next(pairs))
        found.append(batch / (time.perf_counter() - started))
    return found


def naive_pairs(photographs: list[bytes], crop_px: int, batch: int) -> Iterator[Pair]:
    """Yield batches as a script's dataset class makes them."""
    for start in count(step=batch):
        some = [photographs[(start + i) % len(photographs)] for i in range(batch)]
        lab = loader.naive_batch(some, crop_px)
        yield lab[:, :1] / 50 - 1, lab[:, 1:] / 110


def naive_step(method: str) -> Callable[[Tensor, Tensor], object]:
    """Return an update as a script writes it: float32, eager, Adam."""
    network = build_model(method).train()
    optimizer = torch.optim.Adam([p for p in network.parameters() if p.requires_grad], lr=1e-3)
    if method != "gan":

        def update(L_net: Tensor, ab_net: Tensor) -> None:
            optimizer.zero_grad()
            nn.functional.mse_loss(network(L_net), ab_net).backward()
            optimizer.step()

        return update
    judge = build_discriminator().train()
    second = torch.optim.Adam(judge.parameters(), lr=2e-4)

    def against(L_net: Tensor, ab_net: Tensor) -> None:
        fake = network(L_net)
        second.zero_grad()
        real_logits, fake_logits = judge(L_net, ab_net), judge(L_net, fake.detach())
        discriminator_loss("lsgan", real_logits, fake_logits).backward()
        second.step()
        optimizer.zero_grad()
        adversarial = generator_adversarial_loss("lsgan", judge(L_net, fake))
        (adversarial + 100.0 * pixel_loss("l1", fake, ab_net)).backward()
        optimizer.step()

    return against


def raycolor_step(method: str, precision: str, compiled: bool) -> Callable[[Tensor, Tensor], object]:
    """Return the update that `raycolor train` makes."""
    cpu = torch.device("cpu")
    settings = StepSettings(total_steps=1000, precision=choose_precision(precision, cpu), compile=compiled)
    network = build_model(method)
    step = (
        GanStep(network, build_discriminator(), settings, cpu) if method == "gan" else PixelStep(network, settings, cpu)
    )
    numbers = count()
    return lambda L_net, ab_net: step.update(L_net, ab_net, ("made",), next(numbers))


def main() -> None:
    """Measure every method and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--methods", nargs="+", default=list(METHODS), choices=METHODS)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--crop", type=int, default=224)
    parser.add_argument("--steps", type=int, default=4, help="updates by the clock, of each way")
    parser.add_argument("--precision", default="auto", choices=["auto", "fp32", "bf16"])
    parser.add_argument("--compile", action="store_true", help="raycolor's networks through torch.compile")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the numbers there, too")
    given = parser.parse_args()
    about = common.machine()
    torch.manual_seed(0)
    torch.set_num_threads(cpu_count())
    photographs = common.color_jpegs(max(64, given.batch), 256)
    runs: dict[str, dict[str, list[float]]] = {}
    with tempfile.TemporaryDirectory(prefix="raycolor-bench-") as folder:
        loader.dataset(Path(folder) / "data", photographs, 256)
        store = open_store(Path(folder) / "data")
        split = LabSplit(read_dataset(store), store, "train", Path(folder) / "cache")

        def prepared() -> Iterator[Pair]:
            for epoch in count():
                for one in batches(split, epoch=epoch, seed=0, batch_size=given.batch, crop_px=given.crop):
                    yield one.L_net, one.ab_net

        def repeated() -> Iterator[Pair]:
            pair = next(prepared())
            while True:
                yield pair

        for method in given.methods:
            ours = raycolor_step(method, given.precision, given.compile)
            ways = {
                "naive": (naive_step(method), naive_pairs(photographs, given.crop, given.batch)),
                "raycolor": (ours, prepared()),
                "floor": (ours, repeated()),
            }
            runs[method] = {way: rate(*made, given.steps, given.batch) for way, made in ways.items()}
    medians = {m: {way: common.spread(rates)["median"] for way, rates in row.items()} for m, row in runs.items()}
    print(f"samples a second, batches of {given.batch}, crops of {given.crop}; {common.told(about)}")
    print(f"{'method':14s}{'naive':>10s}{'raycolor':>10s}{'x naive':>10s}{'floor':>10s}")
    for method, row in medians.items():
        cells = f"{row['naive']:10.1f}{row['raycolor']:10.1f}{row['raycolor'] / row['naive']:10.1f}{row['floor']:10.1f}"
        print(f"{method:14s}{cells}")
    settings = {"batch": given.batch, "crop": given.crop, "precision": given.precision, "compile": given.compile}
    common.write(given.json, "training", {"machine": about, **settings, "median": medians, "runs": runs})


if __name__ == "__main__":
    main()
