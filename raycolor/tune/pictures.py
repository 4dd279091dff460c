"""The same few photographs of val as several checkpoints color them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from raycolor.dataset.info import read_dataset
from raycolor.dataset.loading import batches
from raycolor.dataset.shards import LabSplit
from raycolor.models.checkpoints import Checkpoint
from raycolor.models.metrics import constant_color, to_pixels
from raycolor.storage import open_store

PHOTOGRAPHS: Final = 5


@dataclass(frozen=True)
class Strip:
    """One photograph: its key, and (H, W, 3) uint8 as input (gray), per checkpoint, and as it was."""

    id: str
    pictures: tuple[NDArray[np.uint8], ...]


def strips(checkpoints: Sequence[Checkpoint], data: str, *, crop_px: int) -> list[Strip]:
    """Color the first photographs of val, whose order is that of a hash, by each checkpoint.

    Args:
        checkpoints: in the order of the pictures.
        data: dataset; folder or s3://bucket/prefix.
        crop_px: side of the center square that the networks see.

    Raises:
        CheckpointError: weights that do not fit their network.
        DatasetError: a shard is missing or damaged.
        StorageError: the dataset cannot be read.
    """
    store = open_store(data)
    split = LabSplit(read_dataset(store), store, "val")
    count = min(PHOTOGRAPHS, len(split))
    batch = next(batches(split, epoch=0, seed=0, batch_size=count, crop_px=crop_px, training=False, prefetch=0))
    planes = [constant_color(batch.ab_net)]
    for checkpoint in checkpoints:
        network = checkpoint.model().to(memory_format=torch.channels_last)
        with torch.inference_mode():
            ab = network(batch.L_net.contiguous(memory_format=torch.channels_last))
        planes.append(F.interpolate(ab, size=batch.L_net.shape[2:], mode="bilinear", align_corners=False))
    planes.append(batch.ab_net)
    columns = [to_pixels(batch.L_net, ab) for ab in planes]
    return [Strip(key, tuple(column[row] for column in columns)) for row, key in enumerate(batch.ids)]
