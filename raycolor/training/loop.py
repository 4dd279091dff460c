"""Epochs, validation, early stopping and checkpoints, whoever supplies workers and data."""

from __future__ import annotations

import logging
import math
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from raycolor.errors import CheckpointError, ConfigError
from raycolor.models import checkpoints
from raycolor.models.metrics import CHEAP, MetricSums
from raycolor.training.config import TrainingConfig
from raycolor.training.context import TrainContext, TrainData
from raycolor.training.samples import sample_files
from raycolor.training.step import UpdateStep, learning_rate_factor

log = logging.getLogger(__name__)

VALIDATED = ("n", *CHEAP, "colorfulness_truth")


@dataclass
class Progress:
    """Where a training stands.

    Attributes:
        epoch: the epoch that is running, counted from 0.
        step: updates done in it.
        steps_done: updates done since the start.
        sums: sums of the losses over this epoch's photographs on every worker, and their number `n`.
        best_mse: lowest val mse so far.
        best_epoch: epoch it was reached in, counted from 0.
        curve: one row per finished epoch.
        finished: nothing is left to do.
    """

    epoch: int = 0
    step: int = 0
    steps_done: int = 0
    sums: dict[str, float] = field(default_factory=dict)
    best_mse: float = math.inf
    best_epoch: int = -1
    curve: list[dict[str, float]] = field(default_factory=list)
    finished: bool = False


@dataclass(frozen=True)
class About:
    """What a checkpoint says of its origin; JSON values."""

    method: str
    training: Mapping[str, Any]
    dataset: Mapping[str, Any]


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
        on_update: called on the first worker after each update, with where training stands.

    Returns:
        Progress at the end.

    Raises:
        TrainingError: a loss that is NaN or infinite.
        CheckpointError: a checkpoint that cannot be read or written.
        ConfigError: no batches, or a checkpoint that was taken with other settings.
    """
    if data.steps_per_epoch < 1:
        raise ConfigError("training: not one full batch of photographs: lower batch_size or the number of workers")
    progress = _resume(step, context, about)
    while not progress.finished:
        for batch in data.train_batches(progress.epoch, progress.step):
            # Seeded by position, so that a resumed update draws what the uninterrupted one drew on every worker.
            torch.manual_seed(hash((config.seed, context.rank, progress.steps_done)) & 0x7FFF_FFFF)
            L_net, ab_net = batch.L_net.to(context.device), batch.ab_net.to(context.device)
            losses = step.update(L_net, ab_net, batch.ids, progress.steps_done)
            count = len(batch.ids)
            for name, value in {"n": 1.0, **losses}.items():
                progress.sums[name] = progress.sums.get(name, 0.0) + value * count
            progress.step += 1
            progress.steps_done += 1
            if on_update is not None and context.rank == 0:
                on_update(progress)
            every = config.checkpoint_every
            if every and progress.step % every == 0 and progress.step < data.steps_per_epoch:
                # Sums are made global at each save: only the first worker's state is kept.
                progress.sums = _shared(progress.sums, context)
                _save(step, context, about, progress, {})
        row = _finish_epoch(step, data, context, config, about, progress)
        if on_epoch is not None and context.rank == 0:
            on_epoch(row)
    return progress


def _resume(step: UpdateStep, context: TrainContext, about: About) -> Progress:
    """Load the newest checkpoint into `step`."""
    folder = context.latest_checkpoint()
    if folder is None:
        return Progress()
    state = checkpoints.load_state(folder)
    old = state.get("training")
    longer = _is_extended(old, about.training)
    if old != dict(about.training) and not longer:
        raise ConfigError(
            f"{folder}: taken with other settings ({_differing(old, about.training)}): train into another folder"
        )
    try:
        step.load_state_dict(state["step"])
        progress = Progress(**state["progress"])
    except (KeyError, TypeError, ValueError, RuntimeError) as exc:
        raise CheckpointError(f"{folder}: does not fit this training: remove it to train from the start") from exc
    if longer:
        progress.finished = False
    if context.rank > 0:
        progress.sums = dict.fromkeys(progress.sums, 0.0)  # the first worker carries what all have summed so far
    log.info("resuming in epoch %d after %d updates", progress.epoch + 1, progress.steps_done)
    return progress


def _is_extended(old: object, new: Mapping[str, Any]) -> bool:
    """Whether two trainings differ in nothing but more epochs."""
    if not isinstance(old, dict) or not old.get("epochs", 0) < new.get("epochs", 0):
        return False
    length = ("epochs", "extended")
    return all(old.get(key) == new.get(key) for key in {*old, *new}.difference(length))


def _differing(old: object, new: Mapping[str, Any]) -> str:
    """Name the settings in which two trainings differ."""
    if not isinstance(old, dict):
        return "none recorded"
    keys = sorted(key for key in {*old, *new} if old.get(key) != new.get(key))
    return ", ".join(f"{key}: {old.get(key)!r}, now {new.get(key)!r}" for key in keys)


def _shared(sums: Mapping[str, float], context: TrainContext) -> dict[str, float]:
    """Add up the workers' sums; the first worker keeps the total, the others zeros."""
    names = sorted(sums)
    total = context.sum(torch.tensor([sums[name] for name in names], dtype=torch.float64)).tolist()
    return dict(zip(names, total, strict=True)) if context.rank == 0 else dict.fromkeys(names, 0.0)


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
        checkpoints.save(folder, step.predictor(), metrics=_val_metrics(last), state=state, **_origin(about))
        context.report(metrics, folder)


def _origin(about: About) -> dict[str, Any]:
    return {"method": about.method, "training": about.training, "dataset": about.dataset}


def _val_metrics(row: Mapping[str, float]) -> dict[str, float]:
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
    bf16 = step.settings.precision == "bf16"
    first: tuple[Tensor, Tensor, Tensor] | None = None
    for batch in data.val_batches():
        L_net = batch.L_net.to(context.device)
        with torch.no_grad(), torch.autocast(context.device.type, dtype=torch.bfloat16, enabled=bf16):
            predicted = network(L_net.contiguous(memory_format=torch.channels_last))
        first = first or (L_net, predicted, batch.ab_net)
        sums.add(L_net, predicted, batch.ab_net.to(context.device), batch.ids)
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
    names = sorted(progress.sums)
    total = context.sum(torch.tensor([progress.sums[name] for name in names], dtype=torch.float64)).tolist()
    sums = dict(zip(names, total, strict=True))
    count = sums.pop("n")
    measured, seen = validate(step, data, context)
    row: dict[str, float] = {
        "epoch": progress.epoch + 1,
        "step": progress.steps_done,
        "lr": step.settings.optim.lr * learning_rate_factor(progress.steps_done - 1, step.settings),
        **{f"train_{name}": value / count for name, value in sums.items()},
        **{f"val_{name}": value for name, value in measured.items()},
    }
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
            metrics = {**_val_metrics(row), "epoch": progress.epoch + 1}
            files |= checkpoints.to_files(step.predictor(), metrics=metrics, **_origin(about))
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
