"""The checkpoints and datasets of a comparison, and the pixels that all rows of a table share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from raycolor.colorizer.photograph import usual_shape
from raycolor.errors import CheckpointError, ConfigError
from raycolor.models.checkpoints import Checkpoint, shipped_names
from raycolor.models.shipped import LICENSE

if TYPE_CHECKING:
    from raycolor.models.blocks import ColorNet

FLOORS: Final = ("gray", "mean color")
_DEFAULT_CROP_PX: Final = 224
_DEFAULT_PX: Final = 256  # at which `colorize` shows photographs to a network that says nothing of it


@dataclass(frozen=True)
class Subject:
    """One checkpoint of a comparison.

    Attributes:
        source: name or path that it was loaded from.
        method: `regression`, `autoencoder`, ...
        weights_sha256: of weights.safetensors or model.onnx.
        parameters: all of the network, frozen ones included; None where nobody can tell.
        crop_px: side of the squares it was trained on.
        stride: input sizes are multiples of it.
        fixed_size_px: the only input size it takes, or None.
        raycolor_version: that saved it.
        network_px: side to which crops are resized for it, if they are not small; None: it sees them as they are.
        is_own: whether it is one of raycolor's, which computes at the precision that was chosen.
        license: of an imported or shipped network.
    """

    source: str
    method: str
    weights_sha256: str
    parameters: int | None
    crop_px: int
    stride: int
    fixed_size_px: int | None
    raycolor_version: str
    network_px: int | None = None
    is_own: bool = True
    license: str | None = None

    def shown_px(self, crop_px: int) -> int:
        """Return the side of what it sees of a crop: as `colorize` shows it, or as it is cut."""
        if self.network_px is None:
            return crop_px
        if not self.is_own:
            return self.network_px
        return usual_shape(crop_px, crop_px, self.network_px, self.stride, None)[0]

    @property
    def described(self) -> str:
        """One line for the page: where it is from, and how it came to be."""
        about = f"{self.source} · {self.method} · weights {self.weights_sha256[:12]} · "
        about += f"license {self.license} · " if self.license else ""
        if self.network_px is not None:
            return about + f"sees photographs at {self.network_px} px"
        return about + f"trained on {self.crop_px} px by raycolor {self.raycolor_version}"


@dataclass(frozen=True)
class DatasetPlan:
    """One dataset of a comparison.

    Attributes:
        uri: folder or s3://bucket/prefix.
        split: `val` or `train`.
        images: the first so many photographs of the split are measured.
        sizes_px: side of the center crop that each checkpoint's network sees.
        measured_px: side of the center square that is measured, the same for every row: the smallest of `sizes_px`.
        mean_ab_net: the color of the floor `mean color`, network units.
    """

    uri: str
    split: str
    images: int
    sizes_px: tuple[int, ...]
    measured_px: int
    mean_ab_net: tuple[float, float] = (0.0, 0.0)


def subject(checkpoint: Checkpoint, network: ColorNet | None = None) -> Subject:
    """Describe a checkpoint.

    Args:
        checkpoint: what to describe.
        network: its network, where that is built already.

    Raises:
        CheckpointError: its weights do not fit its network.
    """
    if network is None:
        network = checkpoint.model()
    card = checkpoint.card
    shipped = LICENSE if checkpoint.source in shipped_names() else None
    return Subject(
        source=checkpoint.source,
        method=checkpoint.method,
        weights_sha256=checkpoint.weights_sha256,
        parameters=network.parameter_count(),
        crop_px=int(checkpoint.training.get("crop_px", _DEFAULT_CROP_PX)),
        stride=network.stride,
        fixed_size_px=network.fixed_size_px,
        raycolor_version=checkpoint.raycolor_version,
        network_px=_network_px(checkpoint, network),
        is_own=network.fusible,
        license=shipped if card is None else card.license,
    )


def _network_px(checkpoint: Checkpoint, network: ColorNet) -> int | None:
    """Return the side at which `colorize` shows photographs to a network of others, or to one of ours that has its own.

    The rest of ours see crops as large as those they were trained on, at the size they are stored in: None.
    """
    if network.fusible:
        return network.input_px
    if checkpoint.card is not None:
        return checkpoint.card.network_px(None)
    return max(1, round(_DEFAULT_PX / network.stride)) * network.stride


def input_sizes(subjects: Sequence[Subject], *, stored_px: int, wanted_px: int | None, dataset: str) -> tuple[int, ...]:
    """Choose the side of the center crop that each network sees.

    Args:
        subjects: the checkpoints.
        stored_px: side of the dataset's photographs.
        wanted_px: what the user asked for: 0 for all that is stored, None for what each of ours was trained on, and
            all that is stored for those of others.
        dataset: what messages call it.

    Raises:
        CheckpointError: a checkpoint does not take this size.
        ConfigError: the dataset's photographs are smaller, or too small for SSIM (11 px).
    """
    sizes = []
    for one in subjects:
        trained_px = stored_px if one.network_px else one.fixed_size_px or one.crop_px
        size = trained_px if wanted_px is None else wanted_px or stored_px
        fixed = one.fixed_size_px
        if fixed is not None and size != fixed:
            raise CheckpointError(
                f"{one.source}: takes {fixed} px only, not --network-size {size}: omit --network-size"
            )
        if size % one.stride and not one.network_px:
            below = size // one.stride * one.stride
            raise CheckpointError(
                f"{one.source}: takes multiples of {one.stride} px, not {size}: "
                f"give --network-size {below or one.stride}"
            )
        if size > stored_px:
            raise ConfigError(
                f"{dataset}: stores squares of {stored_px} px, fewer than the {size} for {one.source}: "
                "give a smaller --network-size, or prepare the dataset with a larger --size-px"
            )
        if size < 11:
            raise ConfigError(f"--network-size {size}: SSIM needs 11 px or more")
        sizes.append(size)
    return tuple(sizes)


def short_names(sources: Sequence[str], taken: Sequence[str] = ()) -> list[str]:
    """Return what a table calls each path: its last part, or as many parts as make it the only one of that name.

    Raises:
        ConfigError: a path is named twice.
    """
    twice = next((source for source in sources if sources.count(source) > 1), None)
    if twice is not None:
        raise ConfigError(f"{twice}: named twice: name each once")
    parts = [source.rstrip("/").split("/") for source in sources]
    depth = [1] * len(sources)
    while True:
        names = ["/".join(part[-count:]) for part, count in zip(parts, depth, strict=True)]
        clash = [
            at
            for at, name in enumerate(names)
            if (names.count(name) > 1 or name in taken) and depth[at] < len(parts[at])
        ]
        if not clash:
            # Paths that only differ in slashes at their end still have to be told apart.
            names = names if len(set(names)) == len(names) else list(sources)
            return [f"{name} (checkpoint)" if name in taken else name for name in names]
        for at in clash:
            depth[at] += 1
