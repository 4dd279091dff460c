"""Lab datasets: photographs as Lab planes in Parquet shards, written by `prepare`, read by training and evaluation."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from raycolor.dataset.info import (
    DATASET_FILE,
    FORMAT_VERSION,
    DatasetInfo,
    ShardInfo,
    check_shards,
    read_dataset,
    write_dataset,
)
from raycolor.dataset.shards import LabSplit, decode_shard, encode_shard
from raycolor.dataset.split import SPLITS, order_key, split_of

if TYPE_CHECKING:
    from raycolor.dataset.loading import Batch, batches, steps_per_epoch
    from raycolor.dataset.planes import colorfulness, lab_planes, planes_of, square_rgb

__all__ = [
    "DATASET_FILE",
    "FORMAT_VERSION",
    "SPLITS",
    "Batch",
    "DatasetInfo",
    "LabSplit",
    "ShardInfo",
    "batches",
    "check_shards",
    "colorfulness",
    "decode_shard",
    "encode_shard",
    "lab_planes",
    "order_key",
    "planes_of",
    "read_dataset",
    "split_of",
    "square_rgb",
    "steps_per_epoch",
    "write_dataset",
]


_LOADING = ("Batch", "batches", "steps_per_epoch")
_PLANES = ("colorfulness", "lab_planes", "planes_of", "square_rgb")


def __getattr__(name: str) -> Any:
    # Batches need torch, whose import takes seconds that the workers of `prepare` need not spend;
    # planes need decoders, which training does not.
    if name in _LOADING:
        return getattr(import_module("raycolor.dataset.loading"), name)
    if name in _PLANES:
        return getattr(import_module("raycolor.dataset.planes"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
