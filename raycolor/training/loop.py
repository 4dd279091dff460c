"""Epochs, validation, early stopping and checkpoints, whoever supplies workers and data."""

from __future__ import annotations

import logging
import math
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Final

import torch
from torch import Tensor

from raycolor.errors import ConfigError, TrainingError
from raycolor.models import checkpoints
from raycolor.models.metrics import CHEAP, MetricSums
from raycolor.training.config import TrainingConfig
from raycolor.training.context import TrainContext, TrainData
from raycolor.training.progress import About, Progress, resume
from raycolor.training.samples import sample_files
from raycolor.training.step import UpdateStep
from raycolor.training.trained import autocast, learning_rate_factor

log = logging.getLogger(__name__)

READ_EVERY: Final = 50  # updates on a GPU between two readings of their losses; a NaN is noticed no later
VALIDATED = ("n", *CHEAP, "colorfulness_truth")


def fit(
    step: UpdateStep,
    data: TrainData,
    context: TrainContext,
    config: TrainingConfig,
    about: About,
    on_epoch: Callable[[Mapping[str, float]], None] | None = None,
    on_update: Callable[[Progress], None] | None = None,
) -> Progress:
    """Train to the end, from the context's newest checkpoint if it has one.

    Stopping after any update and going on from the checkpoint taken there gives what never stopping gives.

    Args:
        step: one update per batch, its network on `context.device`.
        data: batches.
        context: workers, run folder, checkpoints.
        config: how long, and when to save.
        about: goes into checkpoints.
        on_epoch: called on the first worker with each new row of the curve.
        on_update: called on the first worker after each update, with where training stands; its sums may be those of
            some updates ago.

    Returns:
        Progress at the end.

    Raises:
        TrainingError: a loss that is NaN or infinite.
        CheckpointError: a checkpoint that cannot be read or written.
        ConfigError: no batches, or a checkpoint that was taken with other settings.
    """
    if data.steps_per_epoch < 1:
        raise ConfigError("training: not one full batch of photographs: lower batch_size or the number of workers")
    progress = resume(step, context, about, data.steps_per_epoch)
    unread = _Unread(step, context, progress)
    while not progress.finished:
        for batch in data.train_batches(progress.epoch, progress.step):
            # Seeded by position, so that a resumed update draws what the uninterrupted one drew on every worker.
            torch.manual_seed(hash((config.seed, context.rank, progress.steps_done)) & 0x7FFF_FFFF)
            # Out of pinned memory (`LabData`) a copy to a GPU waits for nothing; elsewhere this changes nothing.
            L_net, ab_net = (plane.to(context.device, non_blocking=True) for plane in (batch.L_net, batch.ab_net))
            unread.add(step.update(L_net, ab_net, batch.ids, progress.steps_done), len(batch.ids))
            progress.step += 1
            progress.steps_done += 1
            if on_update is not None and context.rank == 0:
                on_update(progress)
            every = config.checkpoint_every
            if every and progress.step % every == 0 and progress.step < data.steps_per_epoch:
                unread.read()
                # Sums are made global at each save: only the first worker's state is kept.
                total = _total(progress.sums, context)
                progress.sums = total if context.rank == 0 else dict.fromkeys(total, 0.0)
                _save(step, context, about, progress, {})
        unread.read()
        row = _finish_epoch(step, data, context, config, about, progress)
        if on_epoch is not None and context.rank == 0:
            on_epoch(row)
    return progress


class _Unread:
    """Losses of updates, on a GPU left there for a while: to read one is to wait for all that was asked of the GPU."""

    def __init__(self, step: UpdateStep, context: TrainContext, progress: Progress) -> None:
        self._step, self._context, self._progress = step, context, progress
        self._most = READ_EVERY if step.deferred else 1
        self._losses: list[tuple[dict[str, float | Tensor], int]] = []

    def add(self, losses: dict[str, float | Tensor], count: int) -> None:
        """Take the losses of an update over `count` photographs; every worker calls it."""
        self._losses.append((losses, count))
        if len(self._losses) >= self._most:
            self.read()

    def read(self) -> None:
        """Add up what has come since the last time.

        Raises:
            TrainingError: one of these updates was NaN or infinite, here or on another worker.
        """
        if self._step.deferred:
            self._check()
        sums = self._progress.sums
        for (losses, count), values in zip(self._losses, _numbers([losses for losses, _ in self._losses]), strict=True):
            for name, value in zip(["n", *losses], [1.0, *values], strict=True):
                sums[name] = sums.get(name, 0.0) + value * count
        self._losses = []

    def _check(self) -> None:
        problem: TrainingError | None = None
        try:
            self._step.check()
        except TrainingError as exc:
            problem = exc
        # With a scaled loss only the worker that has the photograph knows; all of them have to stop.
        if self._context.sum(torch.tensor([float(problem is not None)], dtype=torch.float64)).item():
            now = self._progress.steps_done
            raise problem or TrainingError(f"update {now} or one before: another worker's loss is NaN")


def _numbers(losses: Sequence[Mapping[str, float | Tensor]]) -> list[list[float]]:
    """Return the values of several updates, brought from a device in one piece."""
    values = [value for one in losses for value in one.values()]
    if not any(isinstance(value, Tensor) for value in values):
        return [[float(value) for value in one.values()] for one in losses]
    read = iter(torch.stack([value for value in values if isinstance(value, Tensor)]).tolist())
    return [[next(read) if isinstance(value, Tensor) else value for value in one.values()] for one in losses]


def _total(sums: Mapping[str, float], context: TrainContext) -> dict[str, float]:
    """Add up the workers' sums."""
    names = sorted(sums)
    total = context.sum(torch.tensor([sums[name] for name in names], dtype=torch.float64)).tolist()
    return dict(zip(names, total, strict=True))


def _save(
    step: UpdateStep, context: TrainContext, about: About, progress: Progress, metrics: Mapping[str, float]
) -> None:
    """Report a checkpoint from which training goes on after the last update."""
    if context.rank > 0:
        context.report(metrics, None)
        return
    state = {"training": dict(about.training), "step": step.state_dict(), "progress": asdict(progress)}
    with tempfile.TemporaryDirectory(prefix="raycolor-") as name:
        folder = Path(name)
        last = progress.curve[-1] if progress.curve else {}
        checkpoints.save(folder, step.predictor(), metrics=val_metrics(last), state=state, **vars(about))
        context.report(metrics, folder)


def val_metrics(row: Mapping[str, float]) -> dict[str, float]:
    """Return the metrics on val of a row of a curve, and their number of photographs `n`."""
    return {key.removeprefix("val_"): value for key, value in row.items() if key.startswith("val_")}


def validate(
    step: UpdateStep, data: TrainData, context: TrainContext
) -> tuple[dict[str, float], tuple[Tensor, Tensor, Tensor] | None]:
    """Measure the cheap metrics of the predictor over all workers' validation photographs.

    Returns:
        n, mse, accuracy_10, psnr_db, colorfulness and delta_colorfulness, empty without photographs; and of this
        worker's first batch L_net, what was predicted, and ab_net.
    """
    network = step.predictor()
    context.copy_from_first(network)
    sums = MetricSums(full=False)
    first: tuple[Tensor, Tensor, Tensor] | None = None
    for batch in data.val_batches():
        L_net = batch.L_net.to(context.device, non_blocking=True)
        with torch.no_grad(), autocast(context.device, step.settings.precision):
            predicted = network(L_net.contiguous(memory_format=torch.channels_last))
        first = first or (L_net, predicted, batch.ab_net)
        sums.add(L_net, predicted, batch.ab_net.to(context.device, non_blocking=True), batch.ids)
    mine = sums.sums()
    total = context.sum(torch.tensor([mine.get(name, 0.0) for name in VALIDATED], dtype=torch.float64)).tolist()
    count = total[0]
    if not count:
        return {}, first
    found = {name: value / count for name, value in zip(VALIDATED[1:], total[1:], strict=True)}
    found["delta_colorfulness"] = abs(found["colorfulness"] - found.pop("colorfulness_truth"))
    return {"n": count, **found}, first


def _finish_epoch(
    step: UpdateStep,
    data: TrainData,
    context: TrainContext,
    config: TrainingConfig,
    about: About,
    progress: Progress,
) -> dict[str, float]:
    """Validate, extend the curve, keep the best, save; return the new row."""
    sums = _total(progress.sums, context)
    count = sums.pop("n")
    measured, seen = validate(step, data, context)
    row: dict[str, float] = {
        "epoch": progress.epoch + 1,
        "step": progress.steps_done,
        "lr": step.settings.optim.lr * learning_rate_factor(progress.steps_done - 1, step.settings),
        **{f"train_{name}": value / count for name, value in sums.items()},
        **{f"val_{name}": value for name, value in measured.items()},
    }
    if about.training.get("workers_before"):
        row["workers"] = context.world_size
    progress.curve.append(row)
    # Without validation photographs the newest is the best.
    mse = measured.get("mse", -math.inf)
    better = mse < progress.best_mse or not measured
    if better:
        progress.best_mse, progress.best_epoch = mse, progress.epoch
    if context.rank == 0:
        files = {"curve.csv": curve_csv(progress.curve)}
        if seen is not None:
            files |= sample_files(progress.epoch + 1, *seen)
        if better:
            metrics = {**val_metrics(row), "epoch": progress.epoch + 1}
            files |= checkpoints.to_files(step.predictor(), metrics=metrics, **vars(about))
        # Before the report: if this worker dies in between, the epoch is done again and publishes the same bytes.
        context.publish(files)
    progress.epoch += 1
    progress.step = 0
    progress.sums = {}
    stale = progress.epoch - 1 - progress.best_epoch
    stopped = config.patience is not None and stale >= config.patience
    progress.finished = progress.epoch >= config.epochs or stopped
    _save(step, context, about, progress, {key.replace("_", "/", 1): value for key, value in row.items()})
    log.info("epoch %d/%d %s", progress.epoch, config.epochs, describe_row(row))
    return row


def describe_row(row: Mapping[str, float]) -> str:
    """Return a row of the curve as one line."""
    parts = [f"train {row['train_loss']:.5f}"]
    for name, form in [("mse", ".5f"), ("accuracy_10", ".3f"), ("psnr_db", ".2f"), ("colorfulness", ".1f")]:
        if f"val_{name}" in row:
            parts.append(f"val/{name} {row[f'val_{name}']:{form}}")
    return " | ".join(parts)


def curve_csv(curve: Sequence[Mapping[str, float]]) -> bytes:
    """Return the curve as CSV: one row per epoch; the same curve gives the same bytes."""
    if not curve:
        return b""
    names = list(curve[0])
    lines = [",".join(names)]
    lines += [",".join(f"{row[name]:.9g}" for name in names) for row in curve]
    return ("\n".join(lines) + "\n").encode()


def parse_curve(data: bytes) -> list[dict[str, float]]:
    """Return the rows of a curve as `curve_csv` writes it.

    Raises:
        ValueError: it is no such CSV.
    """
    lines = data.decode().splitlines()
    names = lines[0].split(",") if lines else []
    return [dict(zip(names, map(float, line.split(",")), strict=True)) for line in lines[1:]]
