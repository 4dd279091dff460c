"""One worker's whole training: its networks, where it starts, and the loop, whoever supplies workers and data."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch

from raycolor.dataset.info import DatasetInfo
from raycolor.models.build import build_discriminator, build_model
from raycolor.models.precision import choose_training_precision, without_tf32
from raycolor.training.config import TrainingConfig
from raycolor.training.context import TrainContext, TrainData
from raycolor.training.encoder import apply_weights
from raycolor.training.loop import fit
from raycolor.training.progress import About, Progress
from raycolor.training.settings import Start
from raycolor.training.step import GanStep, PixelStep, UpdateStep
from raycolor.training.trained import StepSettings


def run_training(
    config: TrainingConfig,
    start: Start,
    settings: Mapping[str, Any],
    dataset: DatasetInfo,
    data: TrainData,
    context: TrainContext,
    on_epoch: Callable[[Mapping[str, float]], None] | None = None,
    on_update: Callable[[Progress], None] | None = None,
) -> Progress:
    """Train to the end; see `fit`.

    Args:
        config: resolved.
        start: what it starts from.
        settings: as in run.json, for checkpoints.
        dataset: what dataset.json says.
        data: batches.
        context: workers, run folder, checkpoints.
        on_epoch: as in `fit`.
        on_update: as in `fit`.
    """
    step = build_step(config, start, context, data.steps_per_epoch)
    about = About(
        method=config.method,
        training={**settings, "precision_used": step.settings.precision, "device": context.device.type},
        dataset={"fingerprint": dataset.fingerprint, "image_size": dataset.image_size, "counts": dict(dataset.counts)},
    )
    return fit(step, data, context, config, about, on_epoch, on_update)


def build_step(config: TrainingConfig, start: Start, context: TrainContext, steps_per_epoch: int) -> UpdateStep:
    """Build the networks of a resolved training with seeded weights, ready for updates.

    Raises:
        ConfigError: settings that cannot be used.
    """
    precision = choose_training_precision(config.precision, context.device)
    if precision == "fp32":
        without_tf32()
    settings = StepSettings(
        total_steps=config.epochs * steps_per_epoch,
        optim=config.optim,
        loss=config.loss,
        precision=precision,
        compile=config.compile,
    )
    options = dict(config.network)
    discriminator = options.pop("discriminator", None)
    torch.manual_seed(config.seed)
    network = build_model(config.method, options)
    for weights in (start.encoder, start.weights):
        if weights is not None:
            apply_weights(network, weights)
    if discriminator is None:
        return PixelStep(network, settings, context.device, context.wrap, start.teacher)
    return GanStep(network, build_discriminator(discriminator), settings, context.device, context.wrap)
