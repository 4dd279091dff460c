"""Made Lab datasets and checkpoints."""

import hashlib

import numpy as np
import torch

from raycolor.dataset.info import DatasetInfo, ShardInfo, write_dataset
from raycolor.dataset.shards import encode_shard
from raycolor.models import checkpoints
from raycolor.models.build import build_model
from raycolor.storage import open_store

NETWORK = {"base": 8, "levels": 2}


def planes(count, size_px, seed):
    """Return smooth L (n, S, S) uint8 and ab (n, 2, S, S) int8 that stay inside sRGB."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0:size_px, 0:size_px] / size_px
    phase = rng.uniform(0, 6, (3, count, 1, 1))
    waves = np.sin(5 * x + 3 * y + phase)
    L = (128 + 40 * waves[0]).astype(np.uint8)
    ab = np.stack([18 * waves[1] + 4, 20 * waves[2] + 6], axis=1).astype(np.int8)
    return L, ab


def put_dataset(store, splits, *, rows_per_shard=256):
    """Write a dataset of split -> (ids, L, ab); returns its `DatasetInfo`."""
    shards = []
    for split, (ids, L, ab) in splits.items():
        for number, start in enumerate(range(0, len(ids), rows_per_shard)):
            piece = slice(start, start + rows_per_shard)
            data = encode_shard(ids[piece], L[piece], ab[piece])
            path = f"{split}/part-{number:05}.parquet"
            store.put(path, data)
            shards.append(ShardInfo(path, split, len(ids[piece]), len(data), hashlib.sha256(data).hexdigest()))
    return describe(store, L.shape[-1], shards)


def describe(store, size_px, shards):
    """Write the dataset.json of shards, which need not be there; returns what it says."""
    counts = {split: sum(one.rows for one in shards if one.split == split) for split in ("train", "val")}
    info = DatasetInfo("made for a test", 0, "none", size_px, 0.0, counts, tuple(shards))
    write_dataset(store, info)
    return info


def write_dataset_of(folder, *, train=5, val=6, size_px=40, seed=0, ids="{split}/{k}.jpg".format, rows_per_shard=4):
    """Write a dataset of made photographs; returns split -> (ids, L, ab)."""
    made = {
        split: ([ids(split=split, k=k) for k in range(count)], *planes(count, size_px, seed + (split == "val")))
        for split, count in (("train", train), ("val", val))
    }
    put_dataset(open_store(folder), made, rows_per_shard=rows_per_shard)
    return made


def write_checkpoint(folder, *, seed=0, crop_px=32, name="gan", network=NETWORK, scale=None):
    """Save a small network of random weights; returns it. `scale` multiplies its last layer."""
    torch.manual_seed(seed)
    model = build_model(name, network).eval()
    if scale is not None:
        *_, last = (
            module for module in model.modules() if isinstance(module, torch.nn.Conv2d | torch.nn.ConvTranspose2d)
        )
        with torch.no_grad():
            for layer in [model.last, model.last_skip] if name == "gan" else [last]:
                layer.weight.mul_(scale)
    checkpoints.save(folder, model, method=name, training={"crop_px": crop_px}, dataset={}, metrics={})
    return model
