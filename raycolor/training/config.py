"""Settings of the optimizer and the loss."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from raycolor.config import Frozen


class OptimConfig(Frozen):
    """How weights are updated."""

    lr: float = Field(1e-3, gt=0, description="peak learning rate")
    beta1: float | None = Field(None, ge=0, lt=1, description="Adam's first decay; default 0.9, for the GAN 0.5")
    discriminator_lr: float = Field(2e-4, gt=0, description="learning rate of the GAN's discriminator")
    weight_decay: float = Field(0.0, ge=0, description="decoupled weight decay (AdamW) if above 0")
    schedule: Literal["constant", "cosine", "onecycle"] = Field("onecycle", description="learning-rate schedule")
    clip_norm: float | None = Field(1.0, gt=0, description="largest gradient norm; null for no clipping")
    ema: float = Field(0.0, ge=0, lt=1, description="decay of the weights' moving average; 0 for none")


class LossConfig(Frozen):
    """What is minimized."""

    pixel: Literal["mse", "l1", "huber"] | None = Field(
        None, description="pixel loss on ab; default: squared error, for the GAN L1, for the U-Net Huber"
    )
    lambda_pixel: float = Field(100.0, ge=0, description="weight of the pixel loss beside the adversarial one (GAN)")
    adversarial: Literal["lsgan", "minimax"] = Field("lsgan", description="adversarial form (GAN)")
    discriminator: bool = Field(
        False, description="unet: train against a discriminator, as the GAN does; briefly, and after init_from"
    )
    classes: float = Field(0.1, ge=0, description="weight of the cross-entropy of the U-Net's bins head")
    balance: float = Field(0.0, ge=0, le=1, description="how far rare colors weigh more in it: 0 not, 1 by frequency")
    colorfulness: float = Field(0.0, ge=0, description="weight of the gap in colorfulness to the truth")
    perceptual: float = Field(0.0, ge=0, description="weight of the distance in features of a pretrained network")
    chroma_gain: float = Field(1.0, ge=0.5, le=2, description="factor on the true color that is learned from")
    distillation: float = Field(
        0.0, ge=0, le=1, description="share of the cross-entropy that learns from the teacher instead of the truth"
    )
