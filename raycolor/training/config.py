"""Settings of a training: the optimizer, the loss, and how long and on what."""

from __future__ import annotations

from typing import Any, ClassVar, Final, Literal

from pydantic import Field

from raycolor.config import ADVANCED, Frozen, Group
from raycolor.dataset.config import AugmentConfig

PixelLoss = Literal["mse", "l1", "huber"]
DEFAULT_PIXEL: Final = "mse"
METHOD_PIXEL: Final[dict[str, PixelLoss]] = {"gan": "l1", "unet": "huber"}
DEFAULT_BETA1, ADVERSARIAL_BETA1 = 0.9, 0.5  # pix2pix takes 0.5 for both networks of a GAN


class OptimConfig(Frozen):
    """How weights are updated."""

    lr: float = Field(1e-3, gt=0, description="peak learning rate")
    beta1: float | None = Field(None, ge=0, lt=1, description="Adam's first decay; default 0.9, for the GAN 0.5")
    discriminator_lr: float = Field(2e-4, gt=0, description="learning rate of the GAN's discriminator")
    weight_decay: float = Field(0.0, ge=0, description="decoupled weight decay (AdamW) if above 0")
    schedule: Literal["constant", "cosine", "onecycle"] = Field("onecycle", description="learning-rate schedule")
    clip_norm: float | None = Field(1.0, gt=0, description="largest gradient norm; null for no clipping")
    ema: float = Field(0.0, ge=0, lt=1, description="decay of the weights' moving average; 0 for none")

    @property
    def betas(self) -> tuple[float, float]:
        """Adam's decays."""
        return DEFAULT_BETA1 if self.beta1 is None else self.beta1, 0.999


class LossConfig(Frozen):
    """What is minimized."""

    pixel: PixelLoss | None = Field(
        None, description="pixel loss on ab; default: squared error, for the GAN L1, for the U-Net Huber"
    )
    lambda_pixel: float = Field(100.0, ge=0, description="weight of the pixel loss beside the adversarial one (GAN)")
    adversarial: Literal["lsgan", "minimax"] = Field("lsgan", description="adversarial form (GAN)")
    discriminator: bool = Field(
        False, description="unet: train against a discriminator, as the GAN does; for a short stage after init_from"
    )
    classes: float = Field(0.1, ge=0, description="weight of the cross-entropy of the U-Net's bins head")
    balance: float = Field(
        0.0, ge=0, le=1, description="how much more rare colors weigh in the cross-entropy: 0 none, 1 by frequency"
    )
    colorfulness: float = Field(0.0, ge=0, description="weight of the difference in colorfulness from the truth")
    perceptual: float = Field(0.0, ge=0, description="weight of the distance between features of a pretrained network")
    chroma_gain: float = Field(1.0, ge=0.5, le=2, description="factor on the chroma of the true color in the loss")
    distillation: float = Field(
        0.0, ge=0, le=1, description="share of the cross-entropy that learns from the teacher instead of the truth"
    )

    @property
    def pixel_loss(self) -> PixelLoss:
        """The pixel loss, or the default if none is set."""
        return self.pixel or DEFAULT_PIXEL


class TrainingConfig(Frozen):
    """One training, wherever it runs; `raycolor.training.settings.resolve` fills in what depends on the method."""

    help_group: ClassVar = Group.TRAINING

    method: str = Field(description="regression, autoencoder, gan or unet")
    epochs: int = Field(10, ge=1, description="passes over the training photographs")
    batch_size: int = Field(
        16, ge=1, description="photographs per update and worker; the global batch is this times workers"
    )
    crop_px: int = Field(224, ge=32, description="side of the random crops, in pixels")
    seed: int = Field(0, ge=0, description="seed of weights, order and crops")
    patience: int | None = Field(None, ge=1, description="stop after this many epochs without a better val mse")
    precision: Literal["auto", "fp32", "bf16"] = Field(
        "auto",
        description="auto: bf16 where the device computes it natively (GPUs before it: fp16), fp32 elsewhere",
        json_schema_extra=ADVANCED,
    )
    checkpoint_every: int = Field(
        0, ge=0, description="updates between checkpoints within an epoch; 0: none within", json_schema_extra=ADVANCED
    )
    compile: bool = Field(False, description="torch.compile the network", json_schema_extra=ADVANCED)
    encoder_weights: str | None = Field(
        None, description="file of ResNet-18 weights for the regression encoder", json_schema_extra=ADVANCED
    )
    init_from: str | None = Field(None, description="checkpoint whose weights training starts with, where they fit")
    teacher: str | None = Field(
        None,
        description="checkpoint with bins heads (unet or ensemble) to learn from; needs loss.distillation",
        json_schema_extra=ADVANCED,
    )
    network: dict[str, Any] = Field(
        default_factory=dict, description="options of the network; --print-config shows them"
    )
    augment: AugmentConfig = Field(default_factory=AugmentConfig)
    optim: OptimConfig = Field(default_factory=OptimConfig)
    loss: LossConfig = Field(default_factory=LossConfig)
