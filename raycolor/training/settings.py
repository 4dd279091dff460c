"""Settings of a training, completed and checked before anything starts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from raycolor.dataset.info import DatasetInfo
from raycolor.errors import ConfigError
from raycolor.models import checkpoints
from raycolor.models.blocks import shapes_alone
from raycolor.models.build import MODEL_NAMES, build_discriminator, build_model
from raycolor.training.config import ADVERSARIAL_BETA1, DEFAULT_BETA1, DEFAULT_PIXEL, METHOD_PIXEL, TrainingConfig
from raycolor.training.encoder import read_encoder_weights, read_weights

_Config = TypeVar("_Config", bound=TrainingConfig)
_ALONE = ("epochs", "batch_size", "crop_px", "seed", "patience", "precision", "compile", "checkpoint_every")


@dataclass(frozen=True)
class Start:
    """What a training starts from, read before anything starts; picklable.

    Attributes:
        encoder: weights of the regression encoder.
        weights: of the whole network, as far as they fit.
        teacher: to learn from.
        origin: setting -> SHA-256 or name of what was read, for run.json.
    """

    encoder: bytes | None
    weights: bytes | None
    teacher: checkpoints.Checkpoint | None
    origin: Mapping[str, str]


def resolve(config: _Config) -> _Config:
    """Complete a training by what depends on its method, and refuse settings that do not go together.

    Returns:
        The same with the whole `network`, its `discriminator` where the method trains against one, `optim.beta1` and
        `loss.pixel`.

    Raises:
        ConfigError: settings that cannot be used.
    """
    method, loss = config.method, config.loss
    if method not in MODEL_NAMES:
        raise ConfigError(f"method {method!r}: unknown: choose one of {', '.join(MODEL_NAMES)}")
    options = dict(config.network)
    discriminator = options.pop("discriminator", None)
    if loss.discriminator and method not in ("gan", "unet"):
        raise ConfigError(f"loss.discriminator = true: only unet takes one beside the gan, not {method}: leave it out")
    adversarial = method == "gan" or loss.discriminator
    if discriminator is not None and not adversarial:
        raise ConfigError(f"network.discriminator: {method} has none: leave it out")
    if adversarial:
        idle = [key for key in ("balance", "colorfulness", "perceptual", "distillation") if getattr(loss, key)]
        if idle or loss.chroma_gain != 1:
            named = (idle or ["chroma_gain"])[0]
            raise ConfigError(f"loss.{named}: a training against a discriminator does not take it: leave it out")
    if (config.teacher is None) != (loss.distillation == 0):
        raise ConfigError(
            f"loss.distillation = {loss.distillation:g}: needs a teacher, and a teacher needs it: give both"
        )
    if config.encoder_weights is not None and method != "regression":
        raise ConfigError(f"encoder_weights: only regression has a ResNet-18 encoder, not {method}: leave it out")
    network = build_model(method, options).config()
    if loss.balance and network.get("head") != "bins":
        raise ConfigError("loss.balance: only the bins head (unet with network.head=bins) takes it: leave it out")
    if adversarial:
        network = {**network, "discriminator": build_discriminator(discriminator).config()}
    beta1 = ADVERSARIAL_BETA1 if adversarial else DEFAULT_BETA1
    optim = config.optim if config.optim.beta1 is not None else config.optim.model_copy(update={"beta1": beta1})
    pixel = loss.pixel or METHOD_PIXEL.get(method, DEFAULT_PIXEL)
    chosen = {"network": network, "optim": optim, "loss": loss.model_copy(update={"pixel": pixel})}
    return config.model_copy(update=chosen)


def read_start(config: TrainingConfig) -> Start:
    """Read the weights that a training starts with, and its teacher.

    Raises:
        ConfigError: weights that do not fit the method.
        CheckpointError: a checkpoint is missing or damaged.
    """
    encoder = weights = teacher = None
    origin: dict[str, str] = {}
    if config.encoder_weights is not None:
        encoder, origin["encoder_weights"] = read_encoder_weights(config.encoder_weights)
    if config.init_from is not None:
        weights, origin["init_from"] = read_weights(config.init_from, config.method)
    if config.teacher is not None:
        teacher = checkpoints.load(config.teacher)
        origin["teacher"] = teacher.weights_sha256
    return Start(encoder, weights, teacher, origin)


def record(config: TrainingConfig, start: Start, dataset: DatasetInfo, workers: int) -> dict[str, Any]:
    """Return what decides a training, as run.json and checkpoints hold it; `config` is resolved."""
    network = dict(config.network)
    discriminator = network.pop("discriminator", None)
    return {
        "method": config.method,
        "network": network,
        "optim": config.optim.model_dump(),
        "loss": config.loss.model_dump(),
        **({} if discriminator is None else {"discriminator": discriminator}),
        **config.model_dump(include=set(_ALONE)),
        "workers": workers,
        "dataset": dataset.fingerprint,
        "augment": config.augment.model_dump(),
        **start.origin,
    }


def check_sizes(dataset: DatasetInfo, config: TrainingConfig, workers: int) -> None:
    """Refuse before anything starts what every worker would refuse; `config` is resolved.

    Raises:
        ConfigError: too few photographs for a batch, or a crop that the dataset or the network cannot give.
    """
    images, crop_px = int(dataset.counts.get("train", 0)), config.crop_px
    if images < config.batch_size * workers:
        raise ConfigError(
            f"batch_size = {config.batch_size} on {workers} workers: the dataset has {images} training photographs: "
            "lower one of them"
        )
    if crop_px > dataset.image_size:
        raise ConfigError(f"crop_px = {crop_px}: the dataset stores squares of {dataset.image_size} px: lower crop_px")
    options = {key: value for key, value in config.network.items() if key != "discriminator"}
    with shapes_alone():
        model = build_model(config.method, options, pretrained=False)
    if model.fixed_size_px not in (None, crop_px):
        raise ConfigError(f"crop_px = {crop_px}: {config.method} takes {model.fixed_size_px} only: use that")
    if crop_px % model.stride:
        raise ConfigError(f"crop_px = {crop_px}: {config.method} takes multiples of {model.stride}: choose one")
