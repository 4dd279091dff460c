"""Does the training loader starve a GPU? Samples per second and core, beside decoding and converting as one goes.

    python benchmarks/loader.py [--photographs 512] [--size 256] [--crop 224] [--repeats 5] [--json FILE]

Three ways to the same batches, each on one core: `naive` decodes a JPEG and converts it by scikit-image for every
sample, as a script's dataset class does; `loader` is raycolor's, from a prepared dataset; `floor` copies as many bytes
as a batch holds. A GPU that eats 5,000 images/s per 16 cores asks 313 of each core.
"""

import argparse
import hashlib
import io
import os
import tempfile
import time
from pathlib import Path

import common
import cv2
import numpy as np
import simplejpeg
import torch
from PIL import Image
from skimage.color import rgb2lab

from raycolor.dataset.info import DatasetInfo, ShardInfo, read_dataset, write_dataset
from raycolor.dataset.loading import batches
from raycolor.dataset.shards import LabSplit, encode_shard
from raycolor.storage import open_store

NEEDED = 5000 / 16


def dataset(folder: Path, photographs: list[bytes], size_px: int) -> None:
    """Write the photographs as a dataset of one split."""
    lab = [rgb2lab(simplejpeg.decode_jpeg(data)) for data in photographs]
    L = np.stack([np.rint(one[..., 0] * 2.55).astype(np.uint8) for one in lab])
    ab = np.stack([np.rint(one[..., 1:]).clip(-128, 127).astype(np.int8).transpose(2, 0, 1) for one in lab])
    store = open_store(folder)
    data = encode_shard([f"{k}.jpg" for k in range(len(lab))], L, ab)
    store.put("train/part-00000.parquet", data)
    shard = ShardInfo("train/part-00000.parquet", "train", len(lab), len(data), hashlib.sha256(data).hexdigest())
    counts = {"train": len(lab), "val": 0}
    write_dataset(store, DatasetInfo("made for a benchmark", 0, "none", size_px, 0.0, counts, (shard,)))


def naive_batch(photographs: list[bytes], crop_px: int, seed: int = 0) -> torch.Tensor:
    """Decode, convert, crop, flip and stack by Pillow and scikit-image; (B, 3, crop, crop) Lab."""
    rng = np.random.default_rng(seed)
    rows = []
    for data in photographs:
        lab = rgb2lab(np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))).astype(np.float32)
        top, left = rng.integers(0, lab.shape[0] - crop_px + 1, 2)
        lab = lab[top : top + crop_px, left : left + crop_px]
        if rng.random() < 0.5:
            lab = lab[:, ::-1]
        rows.append(torch.from_numpy(np.ascontiguousarray(lab.transpose(2, 0, 1))))
    return torch.stack(rows)


def naive(photographs: list[bytes], crop_px: int, batch_size: int) -> None:
    """Make batches as a script does."""
    for start in range(0, len(photographs) - batch_size + 1, batch_size):
        naive_batch(photographs[start : start + batch_size], crop_px, start)


def main() -> None:
    """Measure, print a table, write JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photographs", type=int, default=512)
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--crop", type=int, default=224)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the numbers there, too")
    given = parser.parse_args()
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    about = common.machine()
    photographs = common.color_jpegs(given.photographs, given.size)
    rates: dict[str, list[float]] = {"naive": [], "loader": [], "floor": []}
    with tempfile.TemporaryDirectory(prefix="raycolor-bench-") as folder:
        dataset(Path(folder) / "data", photographs, given.size)
        store = open_store(Path(folder) / "data")
        split = LabSplit(read_dataset(store), store, "train", Path(folder) / "cache")
        some = photographs[: max(given.batch, given.photographs // 8) // given.batch * given.batch]
        source = np.ones((given.batch, 3, given.crop, given.crop), dtype=np.float32)
        target = np.empty_like(source)
        for repeat in range(given.repeats):
            started = time.perf_counter()
            naive(some, given.crop, given.batch)
            rates["naive"].append(len(some) / (time.perf_counter() - started))
            started, seen = time.perf_counter(), 0
            for batch in batches(split, epoch=repeat, seed=0, batch_size=given.batch, crop_px=given.crop):
                seen += len(batch.ids)
            rates["loader"].append(seen / (time.perf_counter() - started))
            started = time.perf_counter()
            for _ in range(50):
                np.copyto(target, source)
            rates["floor"].append(50 * given.batch / (time.perf_counter() - started))
    spreads = {name: common.spread(values) for name, values in rates.items()}
    print(f"samples a second on one core: median (quartiles); {common.told(about)}")
    print(f"{'way':8s} {'samples/s':>10s} {'':19s} {'x naive':>9s} {'x needed':>9s}")
    for name, one in spreads.items():
        ratios = f"{one['median'] / spreads['naive']['median']:9.1f} {one['median'] / NEEDED:9.1f}"
        print(f"{name:8s} {one['median']:10,.0f} {common.quartiles(one):19s} {ratios}")
    result = {"machine": about, "photographs": given.photographs, "samples_per_s": spreads, "needed": NEEDED}
    common.write(given.json, "loader", result)


if __name__ == "__main__":
    main()
