"""The interface of data and workers that training needs, and its simplest form: one worker and a folder."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor, nn

from raycolor.models import checkpoints
from raycolor.models.whole_file import write_whole


class TrainBatch(Protocol):
    """Some photographs: L (B, 1, H, W) and ab (B, 2, H, W) in network units, and their ids."""

    @property
    def L_net(self) -> Tensor: ...
    @property
    def ab_net(self) -> Tensor: ...
    @property
    def ids(self) -> Sequence[str]: ...


class TrainData(Protocol):
    """This worker's share of a dataset; the same arguments give the same batches."""

    @property
    def steps_per_epoch(self) -> int:
        """Batches of an epoch, the same for every worker."""
        ...

    def train_batches(self, epoch: int, start_step: int) -> Iterator[TrainBatch]:
        """Yield the batches of an epoch from `start_step` on."""
        ...

    def val_batches(self) -> Iterator[TrainBatch]:
        """Yield this worker's share of the validation photographs."""
        ...


class TrainContext(Protocol):
    """A worker's link to the other workers and to the run folder."""

    rank: int
    world_size: int
    device: torch.device

    def wrap(self, module: nn.Module) -> nn.Module:
        """Return a module that exchanges gradients with those of the other workers."""
        ...

    def sum(self, values: Tensor) -> Tensor:
        """Add up float64 values (N,) over all workers; every worker calls it."""
        ...

    def copy_from_first(self, module: nn.Module) -> None:
        """Give every worker the first worker's weights and buffers; every worker calls it."""
        ...

    def publish(self, files: Mapping[str, bytes]) -> None:
        """Put files into the run folder, each whole or not at all; only the first worker calls it."""
        ...

    def report(self, metrics: Mapping[str, float], folder: Path | None) -> None:
        """Hand over metrics and, from the first worker, a checkpoint folder; a barrier every worker calls."""
        ...

    def latest_checkpoint(self) -> Path | None:
        """Return a folder with the newest checkpoint, or None at the start."""
        ...


class PlainContext:
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
        self.reports: list[dict[str, float]] = []

    def sum(self, values: Tensor) -> Tensor:
        """See `TrainContext.sum`."""
        return values

    def wrap(self, module: nn.Module) -> nn.Module:
        """See `TrainContext.wrap`."""
        return module

    def copy_from_first(self, module: nn.Module) -> None:
        """See `TrainContext.copy_from_first`."""

    def publish(self, files: Mapping[str, bytes]) -> None:
        """See `TrainContext.publish`."""
        for name, data in files.items():
            write_whole(self.run / name, data)

    def report(self, metrics: Mapping[str, float], folder: Path | None) -> None:
        """See `TrainContext.report`."""
        if metrics:
            self.reports.append(dict(metrics))
        if folder is not None:
            # The state carries all that is needed to go on and is replaced in one step; the rest is for readers.
            order = sorted(folder.iterdir(), key=lambda path: path.name == checkpoints.STATE_FILE)
            for path in order:
                write_whole(self.run / "last" / path.name, path.read_bytes())

    def latest_checkpoint(self) -> Path | None:
        """See `TrainContext.latest_checkpoint`."""
        folder = self.run / "last"
        return folder if (folder / checkpoints.STATE_FILE).exists() else None

    def forget(self) -> None:
        """Remove the state, so that training starts anew."""
        shutil.rmtree(self.run / "last", ignore_errors=True)
