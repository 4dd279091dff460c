"""A Lab dataset as one worker's training and validation batches."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from raycolor.dataset.info import DatasetInfo
from raycolor.dataset.loading import Batch, batches, steps_per_epoch
from raycolor.dataset.shards import LabSplit
from raycolor.storage import ObjectStore
from raycolor.training.config import TrainingConfig
from raycolor.training.context import TrainData


class LabData(TrainData):
    """This worker's share of a dataset's `train` and `val` splits."""

    def __init__(
        self,
        info: DatasetInfo,
        store: ObjectStore,
        config: TrainingConfig,
        *,
        rank: int = 0,
        world_size: int = 1,
        threads: int = 1,
        pin: bool = False,
        cache_dir: str | Path | None = None,
    ) -> None:
        """Open both splits; see `raycolor.dataset.loading.batches` for the arguments beside `config`.

        Raises:
            DatasetError: no such split, a damaged shard, or fewer photographs than one global batch.
            StorageError: the store or the cache cannot be read or written.
        """
        self._train = LabSplit(info, store, "train", cache_dir)
        self._val = LabSplit(info, store, "val", cache_dir) if info.counts.get("val") else None
        self._config = config
        self._rank, self._world_size, self._threads, self._pin = rank, world_size, threads, pin
        self.steps_per_epoch = steps_per_epoch(self._train, world_size=world_size, batch_size=config.batch_size)

    def train_batches(self, epoch: int, start_step: int) -> Iterator[Batch]:
        """Yield random crops, some of them flipped."""
        return batches(
            self._train,
            epoch=epoch,
            seed=self._config.seed,
            rank=self._rank,
            world_size=self._world_size,
            batch_size=self._config.batch_size,
            crop_px=self._config.crop_px,
            start_step=start_step,
            threads=self._threads,
            pin=self._pin,
            augment=self._config.augment,
        )

    def val_batches(self) -> Iterator[Batch]:
        """Yield center crops, each photograph once over all workers."""
        if self._val is None:
            return
        yield from batches(
            self._val,
            epoch=0,
            seed=self._config.seed,
            rank=self._rank,
            world_size=self._world_size,
            batch_size=self._config.batch_size,
            crop_px=self._config.crop_px,
            flip=False,
            training=False,
            threads=self._threads,
            pin=self._pin,
        )
