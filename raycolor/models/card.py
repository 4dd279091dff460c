"""The card of an imported network: what its file cannot say of inputs, sizes and outputs, and the built-in cards."""

from __future__ import annotations

import logging
import math
import re
from collections.abc import Sequence
from typing import Annotated, Final, Literal, Self

from pydantic import BeforeValidator, Field, model_validator

from raycolor.config import Frozen, validate
from raycolor.errors import CheckpointError, ConfigError

logger = logging.getLogger(__name__)

Dtype = Literal["float32", "float16", "uint8"]
METADATA_KEY: Final = "raycolor.card"
"""Where an ONNX file holds its card as JSON: in `metadata_props`."""


def _per_channel(value: object) -> object:
    """Accept one number where one per channel may stand."""
    return (value,) if isinstance(value, int | float) else value


PerChannel = Annotated[tuple[float, ...], BeforeValidator(_per_channel), Field(min_length=1, max_length=3)]


class ExtraInput(Frozen):
    """An input beside lightness: always the same number, or color hints."""

    name: str = Field(description="of the ONNX input")
    value: float = Field(0.0, description="that fills it, or where there is no hint")
    takes: Literal["constant", "ab", "mask"] = Field(
        "constant", description="ab: a and b of hints, Lab units; mask: 1 where there is one; constant: value alone"
    )
    scale: float = Field(1.0, description="of hints: the network gets value + scale * ab, or * 1")
    channels: int | None = Field(
        None,
        ge=1,
        le=64,
        description="of a plane (B, channels, H, W) of the lightness's size; None: the file's shape",
    )


class SizeRule(Frozen):
    """Which heights and widths, in pixels, a network takes."""

    fixed_px: int | None = Field(None, ge=8, le=4096, description="the only height and width; None: any that fits")
    multiple_of: int = Field(1, ge=1, le=1024, description="heights and widths are multiples of it")
    min_px: int = Field(64, ge=8, le=4096, description="smallest side that a user may ask for")
    max_px: int = Field(1024, ge=8, le=4096, description="largest side that a user may ask for")
    default_px: int = Field(256, ge=8, le=4096, description="side where nobody asks: what it was trained on")

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if not self.min_px <= self.default_px <= self.max_px and self.fixed_px is None:
            raise ValueError("default_px must lie within min_px and max_px")
        if self.default_px % self.multiple_of and self.fixed_px is None:
            raise ValueError(f"default_px must be a multiple of {self.multiple_of}")
        return self


class Card(Frozen):
    """How raycolor talks to an ONNX network; docs/formats.md explains each field."""

    name: str = Field(max_length=100, description="of the network")
    input: Literal["L", "gray"] = Field(
        "L", description="L: lightness 0..100; gray: the neutral sRGB of that lightness, 0..1"
    )
    input_name: str | None = Field(None, description="of the ONNX input; default: the first that is not in `extra`")
    channels: Literal[1, 3] = Field(1, description="3: the same plane three times")
    scale: float = Field(1.0, description="the network gets (value * scale + offset - mean) / std")
    offset: float = Field(0.0, description="see scale")
    mean: PerChannel = Field((0.0,), description="see scale; one number, or one per channel")
    std: PerChannel = Field((1.0,), description="see scale; one number, or one per channel")
    dtype: Dtype = Field("float32", description="of the input; uint8 is rounded")
    extra: tuple[ExtraInput, ...] = Field((), max_length=16, description="other inputs and what they are given")
    size: SizeRule = Field(default_factory=SizeRule, description="heights and widths it takes")
    fit: Literal["stretch", "keep", "pad"] = Field(
        "stretch",
        description="stretch: to a square; keep: the photograph's aspect ratio; pad: that, filled up to a square",
    )
    output: Literal["ab", "rgb", "ab_logits"] = Field(
        "ab", description="ab: Lab units; rgb: 0..1, of which only chroma is kept; ab_logits: one channel per bin"
    )
    output_name: str | None = Field(None, description="of the ONNX output; default: the first but for `confidence`")
    output_scale: float = Field(1.0, description="ab or rgb is output * output_scale + output_offset")
    output_offset: float = Field(0.0, description="see output_scale")
    output_stride: int | None = Field(
        None, ge=1, le=64, description="height and width of the input over those of the output; None: not said"
    )
    bins: tuple[tuple[float, float], ...] = Field(
        (), max_length=4096, description="(a, b) of each channel of ab_logits, Lab units"
    )
    temperature: float = Field(1.0, gt=0, le=10, description="logits are divided by it before their softmax")
    confidence: str | None = Field(None, description="name of an output whose mean is the confidence, 0..1")
    batch: Literal[1, "dynamic"] = Field(1, description="photographs in one call; 1 is always right")
    license: str = Field("unknown", max_length=200, description="of the weights, as SPDX where there is one")
    source: str = Field("", max_length=500, description="project that publishes them, in words")
    citation: str = Field("", max_length=500, description="what to cite")

    @model_validator(mode="after")
    def _agrees(self) -> Self:
        for name in ("mean", "std"):
            if len(getattr(self, name)) not in (1, self.channels):
                raise ValueError(f"{name} must have 1 number or {self.channels}")
        if 0 in self.std:
            raise ValueError("std must not be 0")
        if (self.output == "ab_logits") != bool(self.bins):
            raise ValueError("bins are needed for output ab_logits, and for no other")
        if self.fit == "keep" and self.size.fixed_px is not None:
            raise ValueError("a fixed size keeps no aspect ratio: fit must be stretch or pad")
        return self

    def network_px(self, wanted: int | None) -> int:
        """Return the side at which the network sees photographs.

        Args:
            wanted: what the user asks for, or None.

        Raises:
            ConfigError: the network does not take it.
        """
        rule = self.size
        if rule.fixed_px is not None:
            if wanted not in (None, rule.fixed_px):
                raise ConfigError(
                    f"--network-size {wanted}: {self.name} takes {rule.fixed_px} px only: omit --network-size"
                )
            return rule.fixed_px
        if wanted is None:
            return rule.default_px
        if not rule.min_px <= wanted <= rule.max_px:
            raise ConfigError(
                f"--network-size {wanted}: {self.name} takes {rule.min_px} to {rule.max_px} px: give one of these"
            )
        if self.fit == "keep":
            return wanted  # height and width become multiples each for itself
        return max(rule.multiple_of, round(wanted / rule.multiple_of) * rule.multiple_of)

    def plane_shape(self, height: int, width: int, size_px: int) -> tuple[int, int]:
        """Return the size (h, w) of the lightness plane for a photograph, before padding; for `stretch` and `pad`."""
        if self.fit == "stretch":
            return size_px, size_px
        longer = max(height, width)
        return max(1, round(size_px * height / longer)), max(1, round(size_px * width / longer))

    @property
    def takes_hints(self) -> bool:
        """Whether the network takes color hints itself."""
        return any(one.takes == "ab" for one in self.extra)

    def input_of(self, names: Sequence[str]) -> str:
        """Return which of a file's inputs takes lightness; empty if none does."""
        extra = {one.name for one in self.extra}
        return self.input_name or next((name for name in names if name not in extra), "")

    def output_of(self, names: Sequence[str]) -> str:
        """Return which of a file's outputs is color; empty if none is."""
        return self.output_name or next((name for name in names if name != self.confidence), "")

    @property
    def output_channels(self) -> int:
        """Channels of the output that is color."""
        return {"ab": 2, "rgb": 3, "ab_logits": len(self.bins)}[self.output]

    @property
    def noncommercial(self) -> bool:
        """Whether the license forbids commercial use."""
        return re.search(r"\bNC\b|non-?commercial", self.license, re.IGNORECASE) is not None


_DEOLDIFY: Final = {
    "input": "gray", "channels": 3, "output": "rgb", "fit": "stretch",
    "size": {"multiple_of": 32, "min_px": 64, "max_px": 1024, "default_px": 256},
    "license": "MIT", "source": "DeOldify by Jason Antic, on GitHub",
    "citation": "Antic, DeOldify, 2019",
}  # fmt: skip

BUILT_IN: Final[dict[str, Card]] = {
    card.name: card
    for card in (
        Card(
            name="ddcolor", input="gray", channels=3, fit="stretch", output="ab",
            size=SizeRule(multiple_of=32, min_px=64, max_px=1024, default_px=512),
            license="Apache-2.0", source="DDColor by Kang et al., on GitHub",
            citation="Kang et al., DDColor, ICCV 2023, arXiv:2212.11613",
        ),
        Card.model_validate({"name": "deoldify", **_DEOLDIFY}),
        Card.model_validate({"name": "deoldify-255", **_DEOLDIFY, "scale": 255.0, "output_scale": 1 / 255}),
        Card(
            name="eccv16", input="L", fit="stretch", output="ab", size=SizeRule(multiple_of=8, default_px=256),
            license="BSD-2-Clause", source="colorization by Zhang et al., on GitHub",
            citation="Zhang, Isola and Efros, Colorful Image Colorization, ECCV 2016, arXiv:1603.08511",
        ),
        Card(
            name="siggraph17", input="L", fit="stretch", output="ab", size=SizeRule(multiple_of=8, default_px=256),
            license="BSD-2-Clause", source="colorization by Zhang et al., on GitHub",
            citation="Zhang et al., Real-Time User-Guided Image Colorization, SIGGRAPH 2017, arXiv:1705.02999",
        ),
        Card(
            name="colorformer", input="gray", channels=3, fit="stretch", output="ab",
            size=SizeRule(multiple_of=32, default_px=256),
            license="BSD-3-Clause-like (source)", source="ColorFormer by Ji et al., on GitHub",
            citation="Ji et al., ColorFormer, ECCV 2022",
        ),
        Card(
            name="raycolor", input="L", fit="keep", output="ab",
            size=SizeRule(multiple_of=32, default_px=256), batch="dynamic",
            license="Apache-2.0", source="raycolor", citation="raycolor",
        ),
    )
}  # fmt: skip


def read_card(values: object, where: str) -> Card:
    """Validate a card.

    Raises:
        ConfigError: an unknown key or a value out of bounds; one line that begins with `where`.
    """
    if not isinstance(values, dict) or not all(isinstance(key, str) for key in values):
        raise ConfigError(f"{where}: is no card: it must hold `key: value` lines")
    return validate(Card, values, dict.fromkeys(["", *values], where))


def stored_card(values: object, source: str) -> Card:
    """Read the card of a checkpoint.

    Raises:
        CheckpointError: a field is wrong.
    """
    try:
        return read_card(values, f"{source}: the card in checkpoint.json")
    except ConfigError as exc:
        raise CheckpointError(f"{exc}: import the network again") from exc


def say_license(name: str, card: Card) -> None:
    """Say before anything runs whose network it is and under which license; warn if that forbids commercial use."""
    logger.info("imported network %s (card %s), license %s", name, card.name, card.license)
    if card.noncommercial:
        logger.warning("the license of %s forbids commercial use: %s", name, card.license)


def padded_shape(card: Card, height: int, width: int) -> tuple[int, int]:
    """Return the smallest (height, width) that a network takes and that holds a plane; a square for `pad`."""
    rule = card.size
    if rule.fixed_px is not None:
        return rule.fixed_px, rule.fixed_px
    if card.fit == "pad":
        height = width = max(height, width)
    return tuple(math.ceil(side / rule.multiple_of) * rule.multiple_of for side in (height, width))  # type: ignore[return-value]
