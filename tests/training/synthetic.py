"""A small dataset in memory whose color follows from its lightness, for tests of training."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from raycolor.training.config import LossConfig, OptimConfig
from raycolor.training.trained import StepSettings


class Batch(NamedTuple):
    L_net: Tensor
    ab_net: Tensor
    ids: tuple[str, ...]


class SyntheticData:
    """Smooth pictures; a and b are fixed functions of L. Order depends on (seed, epoch) alone, as in the real one."""

    def __init__(self, count: int = 24, val: int = 6, size_px: int = 32, batch_size: int = 4, seed: int = 0) -> None:
        generator = torch.Generator().manual_seed(seed)
        coarse = torch.rand(count + val, 1, 4, 4, generator=generator) * 2 - 1
        self.L_net = torch.nn.functional.interpolate(coarse, size=(size_px, size_px), mode="bilinear")
        self.ab_net = torch.cat([0.4 * self.L_net, -0.3 * self.L_net.square() + 0.1], dim=1)
        self.count, self.val, self.batch_size, self.seed = count, val, batch_size, seed

    @property
    def steps_per_epoch(self) -> int:
        return self.count // self.batch_size

    def _batch(self, rows: list[int]) -> Batch:
        return Batch(self.L_net[rows], self.ab_net[rows], tuple(f"photo-{row}" for row in rows))

    def train_batches(self, epoch: int, start_step: int) -> Iterator[Batch]:
        order = torch.randperm(self.count, generator=torch.Generator().manual_seed(self.seed * 1000 + epoch)).tolist()
        for step in range(start_step, self.steps_per_epoch):
            yield self._batch(order[step * self.batch_size : (step + 1) * self.batch_size])

    def val_batches(self) -> Iterator[Batch]:
        for start in range(self.count, self.count + self.val, self.batch_size):
            yield self._batch(list(range(start, min(start + self.batch_size, self.count + self.val))))


def step_settings(total_steps, *, precision="fp32", compile=False, deferred=None, **flat):
    """Return `StepSettings` from settings of the optimizer and the loss side by side."""
    optim = {key: flat.pop(key) for key in list(flat) if key in OptimConfig.model_fields}
    return StepSettings(
        total_steps=total_steps,
        optim=OptimConfig(**optim),
        loss=LossConfig(**flat),
        precision=precision,
        compile=compile,
        deferred=deferred,
    )
