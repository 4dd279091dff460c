"""One frozen model per job: every setting with its default, bounds and help."""

from __future__ import annotations

import math
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, field_validator

from raycolor.errors import Reason
from raycolor.storage import check_endpoint

_UNITS = {"k": 1e3, "kb": 1e3, "m": 1e6, "mb": 1e6, "mp": 1e6, "g": 1e9, "gb": 1e9}
_LARGEST = 10**15  # far over any count there is, and held exactly by every library


def _number(value: object) -> object:
    """Accept `250MP`, `2GB` or `2.5e8` beside plain numbers."""
    if isinstance(value, str):
        text = value.strip().lower()
        unit = next((unit for unit in sorted(_UNITS, key=len, reverse=True) if text.endswith(unit)), "")
        number = float(text.removesuffix(unit)) * _UNITS.get(unit, 1)
        if not math.isfinite(number):
            raise ValueError("must be a number such as 250MP")
        return int(number)
    return value


def _all(value: object) -> object:
    """Accept `all` for no limit."""
    return None if value == "all" else value


def _full(value: object) -> object:
    """Accept `full` for 0."""
    return 0 if value == "full" else value


def _without_credentials(value: str | None) -> str | None:
    return check_endpoint(value, "--endpoint-url")


def _named(value: object) -> object:
    """Accept a name where a group of settings with a name may stand, as in `scheduler: asha`."""
    return {"name": value} if isinstance(value, str) else value


def _several(value: object) -> object:
    """Accept one value where several may stand, as in `data: folder`."""
    return (value,) if isinstance(value, str) else value


class Frozen(BaseModel):
    """A model that refuses unknown keys by name and never changes."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    @field_validator("*")
    @classmethod
    def _fits_a_machine(cls, value: Any) -> Any:
        """Refuse numbers that libraries cannot hold, before one of them says so in its own words."""
        if isinstance(value, int) and abs(value) > _LARGEST:
            raise ValueError(f"must be at most {_LARGEST:,}")
        return value


class ClusterConfig(Frozen):
    """Where a job runs: settings that change nothing in its results."""

    address: str | None = Field(None, description="Ray cluster to join; without it a local Ray is started")
    workers: int | None = Field(None, ge=1, description="worker processes; default: as many as fit")
    scale_to: int | None = Field(
        None, ge=1, description="ask an autoscaling cluster for room for so many workers, and wait up to 10 minutes"
    )


class ColoringConfig(Frozen):
    """What colorizing a SOURCE and planning to do so have in common."""

    checkpoint: str = Field("default", description="checkpoint: a shipped name, a folder, or s3://bucket/prefix")
    on_color: Literal["skip", "recolor", "copy"] = Field(
        "skip", description="what to do with photographs that are already in color"
    )
    jpeg_luma: Literal["exact", "reencode"] = Field(
        "exact", description="exact: keep the JPEG's own luma coefficients and add chroma only"
    )
    upsampling: Literal["guided", "bilinear"] = Field(
        "guided", description="how color is enlarged: guided follows the photograph's own edges"
    )
    tta: Literal["none", "flip"] = Field(
        "none", description="flip: average with the color of the mirrored photograph; the network runs twice"
    )
    max_pixels: Annotated[int, BeforeValidator(_number)] = Field(
        250_000_000, ge=1, description="largest input, checked before decoding (250MP is understood)"
    )
    max_file_bytes: Annotated[int, BeforeValidator(_number)] = Field(
        2_000_000_000, ge=1, le=_LARGEST, description="largest file, checked before reading (2GB is understood)"
    )
    precision: Literal["auto", "fp32", "bf16"] = Field(
        "auto", description="auto: bf16 where the device computes it natively, fp32 elsewhere"
    )
    include: tuple[str, ...] = Field((), description="glob of keys to take, for example '*.jpg'; repeatable")
    exclude: tuple[str, ...] = Field((), description="glob of keys to leave out; repeatable")
    archives: bool = Field(True, description="take .tar, .tar.gz, .tgz and .zip apart, member by member")
    root: str | None = Field(None, description="folder or s3://bucket/prefix that the keys of a list are relative to")
    requester_pays: bool = Field(False, description="pay for reading from requester-pays buckets")
    endpoint_url: Annotated[str | None, AfterValidator(_without_credentials)] = Field(
        None, description="S3 server other than AWS; default: AWS_ENDPOINT_URL"
    )

    def source_options(self) -> dict[str, Any]:
        """What an S3 store is opened with for reading."""
        return {"endpoint_url": self.endpoint_url, "requester_pays": self.requester_pays}


class ColorizeConfig(ClusterConfig, ColoringConfig):
    """Settings of `raycolor colorize`."""

    source: str = Field(
        description="folder, file or s3://bucket/prefix of photographs, or a list of them (CSV, Parquet, S3 "
        "Inventory's manifest.json, an earlier job's failed.csv)"
    )
    dest: str = Field(description="folder or s3://bucket/prefix for the colorized photographs and _raycolor/")
    jpeg_quality: int = Field(92, ge=1, le=100, description="quality of JPEG planes that have to be encoded")
    max_failed: str = Field("5%", description="failed images allowed before exit code 3: a count or a share")
    network_size: int | None = Field(
        None,
        ge=64,
        le=1024,
        description="side in pixels of what the network sees; default: the size of the photographs it was trained on",
    )
    saturation: float = Field(1.0, ge=0, le=3, description="factor on the predicted chroma")
    shape: Literal["auto", "fused", "staged"] = Field(
        "auto",
        description="fused: the network in every worker; staged: in workers of its own, on GPUs where there are any; "
        "auto: staged where there are GPUs",
    )
    gpus: int | None = Field(
        None, ge=1, description="GPUs for the network (--scale-to asks for them, too); default: all that are there"
    )
    gpu_batch: int = Field(32, ge=1, le=1024, description="planes in each batch of a GPU; decides colors' last digits")
    sse_kms_key_id: str | None = Field(None, description="encrypt outputs in S3 with this KMS key (SSE-KMS)")
    images_per_shard: int = Field(64, ge=1, le=10_000, description="images in one unit of work, retry and resume")
    image_timeout_s: float = Field(600.0, gt=0, description="seconds after which one image is given up")
    patience: float = Field(
        600.0,
        ge=0,
        description="seconds to wait for a place that does not answer (expired credentials, a store that is down) "
        "before the job stops",
    )
    retry_failed: bool = Field(False, description="try the failed images of the job in DEST again")
    retry_reason: tuple[Reason, ...] = Field(
        (), description="retry those alone that failed for this reason, for example access_denied; repeatable"
    )
    add_new: bool = Field(
        False, description="take files that came to SOURCE since into the job in DEST, and color changed ones again"
    )
    verify: bool = Field(
        False, description="read every output of the job in DEST; make those anew that are missing or have changed"
    )

    def identity(self) -> dict[str, Any]:
        """The settings that decide which bytes come out: a job is continued only under the same ones."""
        same = {
            "address",
            "workers",
            "scale_to",
            "dest",
            "max_failed",
            "image_timeout_s",
            "patience",
            "retry_failed",
            "retry_reason",
            "add_new",
            "verify",
            "checkpoint",
            "shape",
            "gpus",
        }
        same |= {"requester_pays", "endpoint_url", "sse_kms_key_id"}
        return self.model_dump(mode="json", exclude=same)

    def dest_options(self) -> dict[str, Any]:
        """What an S3 store is opened with for writing."""
        return {**self.source_options(), "kms_key_id": self.sse_kms_key_id}


class PlanConfig(ColoringConfig):
    """Settings of `raycolor plan`: those of colorizing that decide how long it takes, and what to assume."""

    source: str = Field(description="what `raycolor colorize` would read: folder, file, s3://bucket/prefix, or a list")
    sample: int = Field(32, ge=0, le=2000, description="photographs to read and colorize in memory; 0: list only")
    seed: int = Field(0, ge=0, description="seed of the sample")
    cpus: int | None = Field(None, ge=1, description="CPUs of the cluster, all nodes together; default: this machine's")
    price_per_hour: float | None = Field(None, ge=0, description="price of the whole cluster per hour, any currency")
    # A field named `json` would hide a method of every model.
    json_file: str | None = Field(None, alias="json", description="file or s3://bucket/key to write the plan to")
    network_size: int | None = Field(None, ge=64, le=1024, description="side in pixels of what the network sees")
    image_timeout_s: float = Field(120.0, gt=0, description="seconds after which a sampled photograph is given up")


class PrepareConfig(ClusterConfig):
    """Settings of `raycolor prepare`."""

    source: str = Field(description="folder, tar file or s3://bucket/prefix of color photographs")
    dataset: str = Field(description="folder or s3://bucket/prefix for the Lab-converted Parquet shards")
    train: Annotated[int | None, BeforeValidator(_all)] = Field(
        2500, ge=0, description="photographs to train on, or 'all'"
    )
    val: Annotated[int | None, BeforeValidator(_all)] = Field(
        500, ge=0, description="photographs to validate on, or 'all'"
    )
    size_px: int = Field(256, ge=32, le=2048, description="side of the stored square photographs, in pixels")
    seed: int = Field(0, ge=0, description="seed of the split")
    keep_splits: bool = Field(False, description="keep the train/ and val/ folders that SOURCE has")
    min_colorfulness: float = Field(
        0.0, ge=0, description="drop photographs duller than this (Hasler and Suesstrunk; 15 is a usual choice)"
    )
    max_file_bytes: Annotated[int, BeforeValidator(_number)] = Field(
        2_000_000_000, ge=1, le=_LARGEST, description="largest file, checked before reading (2GB is understood)"
    )
    image_timeout_s: float = Field(600.0, gt=0, description="seconds after which one file is given up")


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


class AugmentConfig(Frozen):
    """How training photographs are varied beyond crops and flips."""

    zoom: float = Field(1.0, gt=0.1, le=1, description="smallest crop as a share of crop_px; the largest is the whole")
    film: float = Field(0.0, ge=0, le=1, description="probability of lightness by another film: a mix of channels")
    aging: float = Field(0.0, ge=0, le=1, description="probability of fading, grain, blur, JPEG, as archives have them")


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


class SchedulerConfig(Frozen):
    """Which trials of a sweep are stopped early."""

    name: Literal["asha", "none"] = Field("none", description="asha: asynchronous successive halving")
    metric: str | None = Field(None, description="objective that decides; default: the first one")
    grace_epochs: int = Field(1, ge=1, description="epochs that every trial gets")
    reduction_factor: float = Field(3.0, gt=1, description="one in so many trials goes on at each rung")


class BestConfig(Frozen):
    """The rule that chooses a sweep's best trial."""

    rule: Literal["first", "within", "nearest_ideal"] = Field(
        "first",
        description="first: the first objective alone; within: the second objective among the trials near the best "
        "first one; nearest_ideal: nearest to the best of each objective, scaled over the Pareto front",
    )
    tolerance: float = Field(0.05, ge=0, description="how near, for `within`: a share of the best first objective")


class TuneConfig(ClusterConfig):
    """Settings of `raycolor tune`: a sweep file, and where it reads and writes."""

    data: str = Field(description="dataset made by `raycolor prepare`")
    out: str = Field(description="sweep folder or s3://bucket/prefix: a run folder per trial, and report/")
    base: dict[str, Any] = Field(description="train configuration that all trials share")
    space: dict[str, Any] = Field(description="dotted keys of the train configuration, each with its distribution")
    objectives: dict[str, Literal["min", "max"]] = Field(min_length=1, description="metrics on val: min or max")
    best: BestConfig = Field(default_factory=BestConfig)
    trials: int | None = Field(None, ge=1, le=10_000, description="trainings; default 10, for a grid its points")
    epochs: int | None = Field(None, ge=1, description="epochs of a trial that is not stopped early; default: base's")
    search: Literal["random", "grid", "tpe"] = Field("random", description="how points are chosen; tpe needs Optuna")
    scheduler: Annotated[SchedulerConfig, BeforeValidator(_named)] = Field(default_factory=SchedulerConfig)
    seed: int = Field(0, ge=0, description="seed of the points; base.seed is that of the trainings")
    focus: str | None = Field(
        None, description="hyperparameter whose median and extremes the report pictures; default: the first of numbers"
    )
    workers: int = Field(1, ge=1, description="Ray Train workers of each trial")
    resources: dict[str, float] = Field(
        default_factory=dict,
        description="what a trial occupies, its workers together; default: a CPU or GPU per worker",
    )
    use_gpu: bool | None = Field(None, description="default: GPUs if the cluster has any")
    max_concurrent: int | None = Field(None, ge=1, description="trials at once; default: as many as fit")
    max_failures: int = Field(1, ge=0, description="how often dead workers of a trial are replaced")
    resume: bool = Field(False, description="go on with a sweep; refuse to start a new one")
    retry_failed: bool = Field(False, description="try failed trials again")


class EvaluateConfig(ClusterConfig):
    """Settings of `raycolor evaluate`."""

    checkpoint: Annotated[tuple[str, ...], BeforeValidator(_several)] = Field(
        min_length=1, description="checkpoints: shipped names, folders or s3://bucket/prefix"
    )
    data: Annotated[tuple[str, ...], BeforeValidator(_several)] = Field(
        min_length=1, description="dataset made by `raycolor prepare`; repeatable, each gets rows of its own"
    )
    out: str = Field(description="folder or s3://bucket/prefix for index.html, table.csv and table.md")
    split: Literal["val", "train"] = Field("val", description="photographs to measure on")
    network_size: Annotated[int | None, BeforeValidator(_full)] = Field(
        None,
        ge=0,
        description="side in pixels of the center crop that networks see, or 'full' for all that is stored; "
        "default: what each was trained on",
    )
    images: int | None = Field(None, ge=1, description="at most this many photographs of each dataset; default: all")
    precision: Literal["auto", "fp32", "bf16"] = Field(
        "auto", description="auto: bf16 where the device computes it natively, fp32 elsewhere"
    )
    tta: Literal["none", "flip"] = Field(
        "none", description="flip: average with the color of the mirrored photographs, as `colorize --tta flip` does"
    )
    use_gpu: bool | None = Field(None, description="default: GPUs if the cluster has any")
    seed: int = Field(0, ge=0, description="seed of the bootstrap intervals")
