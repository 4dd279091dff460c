"""`raycolor train`: settings in, a run folder and its curve out."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from raycolor.cluster import session
from raycolor.storage import absolute
from raycolor.train.config import TrainConfig
from raycolor.train.driver import train
from raycolor.training.loop import describe_row

logger = logging.getLogger(__name__)


def train_options(config: TrainConfig) -> dict[str, Any]:
    """Return what `train` takes beside the method."""
    return {
        "data": absolute(config.data),
        "out": absolute(config.out),
        "network": config.network,
        "optim": config.optim.model_dump(),
        "loss": config.loss.model_dump(),
        "augment": config.augment.model_dump(),
        **config.model_dump(
            include={
                "epochs", "batch_size", "crop_px", "seed", "patience", "precision", "compile", "workers", "use_gpu",
                "encoder_weights", "checkpoint_every", "init_from", "teacher",
            }
        ),
    }  # fmt: skip


def run(config: TrainConfig) -> int:
    """Train; see `raycolor.train.driver.train` for what is raised."""

    def show(row: Mapping[str, float]) -> None:
        extra = {"event": "epoch", "fields": dict(row)}
        logger.info("train: epoch %d/%d | %s", row["epoch"], config.epochs, describe_row(row), extra=extra)

    def tell(now: Mapping[str, float]) -> None:
        logger.info(
            "train: epoch %d/%d | step %d/%d | loss %.5f | %.1f img/s",
            now["epoch"], now["epochs"], now["step"], now["steps"], now["loss"], now["images_per_second"],
            extra={"event": "progress", "fields": {"title": "train", **now}},
        )  # fmt: skip

    with session.connect(config.address, scale_to=config.scale_to, gpu=bool(config.use_gpu)):
        result = train(config.method, **train_options(config), on_epoch=show, on_progress=tell)
    best = ", ".join(f"{name} {value:.4g}" for name, value in result.metrics.items())
    logger.info("best epoch: %s", best)
    logger.info(
        "trained by %d %s worker(s), global batch %d, in %.0f s: %s",
        result.workers, result.device, result.global_batch_size, result.seconds, result.out,
    )  # fmt: skip
    return 0
