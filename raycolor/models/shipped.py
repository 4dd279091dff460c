"""The checkpoints that come with raycolor, and what each is for."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from raycolor.models.checkpoints import JSON_FILE, SHIPPED, Checkpoint, load, shipped_names

LICENSE: Final = "Apache-2.0"
_COMPARING: Final = "comparing: method {} of the 2022 report"
PURPOSES: Final[dict[str, str]] = {
    "default": "looking at: vivid colors",
    "accurate": "measuring: duller and safer colors, half as fast",
    "regression": _COMPARING.format(1),
    "autoencoder": _COMPARING.format(2),
    "gan": _COMPARING.format(3),
}
"""What each name is for; docs/model-card.md says more."""


@dataclass(frozen=True)
class ShippedCheckpoint:
    """What there is to know of a shipped checkpoint before it is loaded.

    Attributes:
        name: what `Colorizer`, `load_checkpoint` and `--checkpoint` take.
        purpose: what it is for.
        method: `regression`, `autoencoder`, `gan`, `unet` or `ensemble`.
        parameters: of its network.
        license: of the weights. Many photographs they were trained on state none: see docs/model-card.md.
    """

    name: str
    purpose: str
    method: str
    parameters: int
    license: str


def list_checkpoints() -> list[ShippedCheckpoint]:
    """Return the checkpoints that come with raycolor, sorted by name; no weights are read.

    Example:
        >>> from raycolor import list_checkpoints
        >>> for one in list_checkpoints():
        ...     print(one.name, one.method, one.license)
        accurate ensemble Apache-2.0
        autoencoder autoencoder Apache-2.0
        default unet Apache-2.0
        gan gan Apache-2.0
        regression regression Apache-2.0
    """
    found = []
    for name in shipped_names():
        described = json.loads((SHIPPED / name / JSON_FILE).read_bytes())
        parameters = int(described["weights"]["parameters"])
        found.append(ShippedCheckpoint(name, PURPOSES[name], described["method"], parameters, LICENSE))
    return found


def load_checkpoint(name_or_place: str | Path) -> Checkpoint:
    """Load and verify a checkpoint: a trained network and how it came to be.

    Args:
        name_or_place: a shipped name, a folder (of `raycolor train`, for example), or s3://bucket/prefix.

    Raises:
        CheckpointError: an unknown name, or a missing or damaged file.

    Example:
        >>> from raycolor import load_checkpoint
        >>> checkpoint = load_checkpoint("regression")
        >>> checkpoint.method, checkpoint.dataset["image_size"]
        ('regression', 256)
        >>> sum(weight.numel() for weight in checkpoint.model().parameters()) > 900_000
        True
    """
    return load(name_or_place)
