"""Settings of a training, completed and checked before anything starts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from raycolor.dataset.info import DatasetInfo
from raycolor.errors import ConfigError
from raycolor.models.blocks import shapes_alone
from raycolor.models.build import MODEL_NAMES, build_discriminator, build_model
from raycolor.training.encoder import read_encoder_weights

OPTIM_DEFAULTS: dict[str, Any] = {
    "lr": 1e-3,
    "discriminator_lr": 2e-4,
    "beta1": 0.9,
    "weight_decay": 0.0,
    "schedule": "onecycle",
    "clip_norm": 1.0,
    "ema": 0.0,
}
LOSS_DEFAULTS: dict[str, Any] = {
    "pixel": None,
    "lambda_pixel": 100.0,
    "adversarial": "lsgan",
    "discriminator": False,
    "classes": 0.1,
    "balance": 0.0,
    "colorfulness": 0.0,
    "perceptual": 0.0,
    "chroma_gain": 1.0,
    "distillation": 0.0,
}


def resolve(
    method: str,
    network: Mapping[str, Any] | None,
    optim: Mapping[str, Any] | None,
    loss: Mapping[str, Any] | None,
    encoder_weights: str | None,
) -> tuple[dict[str, Any], bytes | None]:
    """Complete and check what describes network and updates; return it with the encoder's first weights.

    Raises:
        ConfigError: settings that cannot be used.
    """
    if method not in MODEL_NAMES:
        raise ConfigError(f"method {method!r}: unknown: choose one of {', '.join(MODEL_NAMES)}")
    options = dict(network or {})
    judge = options.pop("discriminator", None)
    chosen_loss = known("loss", LOSS_DEFAULTS, loss)
    if chosen_loss["discriminator"] and method not in ("gan", "unet"):
        raise ConfigError(f"loss.discriminator = true: only unet takes one beside the gan, not {method}: leave it out")
    adversarial = method == "gan" or chosen_loss["discriminator"]
    if judge is not None and not adversarial:
        raise ConfigError(f"network.discriminator: {method} has none: leave it out")
    if adversarial:
        idle = [key for key in ("balance", "colorfulness", "perceptual", "distillation") if chosen_loss[key]]
        if idle or chosen_loss["chroma_gain"] != 1:
            named = (idle or ["chroma_gain"])[0]
            raise ConfigError(f"loss.{named}: a training against a discriminator does not take it: leave it out")
    chosen_optim = known("optim", {**OPTIM_DEFAULTS, **({"beta1": 0.5} if adversarial else {})}, optim)
    if chosen_loss["pixel"] is None:
        chosen_loss["pixel"] = {"gan": "l1", "unet": "huber"}.get(method, "mse")
    model = build_model(method, options)
    if chosen_loss["balance"] and model.config().get("head") != "bins":
        raise ConfigError("loss.balance: only the bins head (unet with network.head=bins) takes it: leave it out")
    settings: dict[str, Any] = {
        "method": method,
        "network": model.config(),
        "optim": chosen_optim,
        "loss": chosen_loss,
    }
    if adversarial:
        settings["discriminator"] = build_discriminator(judge).config()
    initial = None
    if encoder_weights is not None:
        if method != "regression":
            raise ConfigError(f"encoder_weights: only regression has a ResNet-18 encoder, not {method}: leave it out")
        initial, settings["encoder_weights"] = read_encoder_weights(encoder_weights)
    return settings, initial


def known(group: str, defaults: Mapping[str, Any], given: Mapping[str, Any] | None) -> dict[str, Any]:
    """Merge a group of settings over its defaults.

    Raises:
        ConfigError: an unknown key.
    """
    for key in given or {}:
        if key not in defaults:
            raise ConfigError(f"{group}: unknown key {key!r}: known keys are {', '.join(sorted(defaults))}")
    # None means "not said": the method's own default stays, but for clip_norm, where it means no clipping.
    said = {key: value for key, value in (given or {}).items() if value is not None or key == "clip_norm"}
    return {**defaults, **said}


def check_sizes(dataset: DatasetInfo, batch_size: int, workers: int, crop_px: int, settings: Mapping[str, Any]) -> None:
    """Refuse before anything starts what every worker would refuse.

    Raises:
        ConfigError: too few photographs for a batch, or a crop that the dataset or the network cannot give.
    """
    images = int(dataset.counts.get("train", 0))
    if images < batch_size * workers:
        raise ConfigError(
            f"batch_size = {batch_size} on {workers} workers: the dataset has {images} training photographs: "
            "lower one of them"
        )
    if crop_px > dataset.image_size:
        raise ConfigError(f"crop_px = {crop_px}: the dataset stores squares of {dataset.image_size} px: lower crop_px")
    method = settings["method"]
    with shapes_alone():
        model = build_model(method, settings["network"], pretrained=False)
    if model.fixed_size_px not in (None, crop_px):
        raise ConfigError(f"crop_px = {crop_px}: {method} takes {model.fixed_size_px} only: use that")
    if crop_px % model.stride:
        raise ConfigError(f"crop_px = {crop_px}: {method} takes multiples of {model.stride}: choose one")
