"""Settings of `raycolor train`."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from raycolor.cluster.config import ClusterConfig
from raycolor.dataset.config import AugmentConfig
from raycolor.training.config import LossConfig, OptimConfig


class TrainConfig(ClusterConfig):
    """Settings of `raycolor train`."""

    method: str = Field(description="regression, autoencoder, gan or unet")
    data: str = Field(description="dataset made by `raycolor prepare`")
    out: str = Field(description="run folder or s3://bucket/prefix: checkpoint, curve, training state")
    epochs: int = Field(10, ge=1, description="passes over the training photographs")
    batch_size: int = Field(16, ge=1, description="photographs per step and worker; the global batch is this x workers")
    crop_px: int = Field(224, ge=32, description="side of the random crops")
    seed: int = Field(0, ge=0, description="seed of weights, order and crops")
    patience: int | None = Field(None, ge=1, description="epochs without a better val mse before stopping")
    precision: Literal["auto", "fp32", "bf16"] = Field("auto", description="bf16 where the device computes it natively")
    checkpoint_every: int = Field(0, ge=0, description="updates between checkpoints within an epoch; 0: none")
    compile: bool = Field(False, description="torch.compile the network")
    use_gpu: bool | None = Field(None, description="default: GPUs if the cluster has any")
    encoder_weights: str | None = Field(None, description="file of ResNet-18 weights for the regression encoder")
    init_from: str | None = Field(None, description="checkpoint whose weights training starts with, as far as they fit")
    teacher: str | None = Field(None, description="checkpoint with bins heads to learn from, by loss.distillation")
    network: dict[str, Any] = Field(default_factory=dict, description="network options (--set network.KEY=VALUE)")
    augment: AugmentConfig = Field(default_factory=AugmentConfig)
    optim: OptimConfig = Field(default_factory=OptimConfig)
    loss: LossConfig = Field(default_factory=LossConfig)
