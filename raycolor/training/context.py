"""The interface of data and workers that training needs, and its simplest form: one worker and a folder."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor, nn

from raycolor.dataset.loading import Batch
from raycolor.models import checkpoints
from raycolor.models.whole_file import write_whole


class TrainData(Protocol):
    """This worker's share of a dataset; the same arguments give the same batches."""

    steps_per_epoch: int
    """Batches of an epoch, the same for every worker."""

    def train_batches(self, epoch: int, start_step: int) -> Iterator[Batch]:
        """Yield the batches of an epoch from `start_step` on."""

    def val_batches(self) -> Iterator[Batch]:
        """Yield this worker's share of the validation photographs."""


class TrainContext(Protocol):
    """A worker's link to the other workers and to the run folder."""

    rank: int
    world_size: int
    device: torch.device

    def wrap(self, module: nn.Module) -> nn.Module:
        """Return a module that exchanges gradients with those of the other workers."""

    def sum(self, values: Tensor) -> Tensor:
        """Add up float64 values (N,) over all workers; every worker calls it."""

    def copy_from_first(self, module: nn.Module) -> None:
        """Give every worker the first worker's weights and buffers; every worker calls it."""

    def publish(self, files: Mapping[str, bytes]) -> None:
        """Put files into the run folder, each whole or not at all; only the first worker calls it."""

    def report(self, metrics: Mapping[str, float], folder: Path | None) -> None:
        """Hand over metrics and, from the first worker, a checkpoint folder; a barrier every worker calls."""

    def latest_checkpoint(self) -> Path | None:
        """Return a folder with the newest checkpoint, or None at the start."""


class PlainContext(TrainContext):
    """One worker without Ray: its run folder holds the best checkpoint, the curve, and `last/` to go on from."""

    def __init__(self, run: Path, device: torch.device | None = None) -> None:
        """Prepare a run.

        Args:
            run: run folder, created if missing.
            device: where to train; default the CPU.
        """
        self.rank, self.world_size = 0, 1
        self.device = device or torch.device("cpu")
        self.run = run

    def sum(self, values: Tensor) -> Tensor:
        return values

    def wrap(self, module: nn.Module) -> nn.Module:
        return module

    def copy_from_first(self, module: nn.Module) -> None:
        """Do nothing: there is one worker."""

    def publish(self, files: Mapping[str, bytes]) -> None:
        for name, data in files.items():
            write_whole(self.run / name, data)

    def report(self, metrics: Mapping[str, float], folder: Path | None) -> None:
        if folder is not None:
            # The state carries all that is needed to go on and is replaced in one step; the rest is for readers.
            order = sorted(folder.iterdir(), key=lambda path: path.name == checkpoints.STATE_FILE)
            for path in order:
                write_whole(self.run / "last" / path.name, path.read_bytes())

    def latest_checkpoint(self) -> Path | None:
        folder = self.run / "last"
        return folder if (folder / checkpoints.STATE_FILE).exists() else None
