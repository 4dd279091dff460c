"""Several trained networks whose answers are averaged."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, ClassVar, cast

from pydantic import Field
from torch import Tensor, nn

from raycolor.models.bins import BinsHead, read_features
from raycolor.models.blocks import ColorNet, NetworkConfig, Upsample
from raycolor.models.unet import UNet


class MemberConfig(NetworkConfig):
    """One network of an ensemble."""

    name: str = Field(description="what `build_model` calls it")
    config: dict[str, Any] = Field(description="the network's own configuration")


class EnsembleConfig(NetworkConfig):
    """Configuration of an ensemble."""

    members: list[MemberConfig] = Field(min_length=2, max_length=16, description="the networks, all of equal weight")
    mirror: bool = Field(False, description="every second network sees photographs mirrored, left to right")


class Ensemble(ColorNet):
    """The mean of what several networks say; it costs what they cost together. It is put together, not trained.

    Networks that predict distributions over the same colors, read in the same way, are averaged before their color is
    read: the mean of their logits, which is the geometric mean of the distributions. A color must be likely to all of
    them, which errs less at the same chroma than the mean of their colors (docs/results.md). Of other networks the
    colors are averaged. With `mirror` they differ in what they see, too, at no price.

    Args:
        settings: names and configurations of the members.
        members: the networks built from them, in this order.
    """

    name: ClassVar[str] = "ensemble"

    def __init__(self, settings: EnsembleConfig, members: Sequence[ColorNet]) -> None:
        super().__init__(settings)
        self.members = nn.ModuleList(members)
        self._mirrored = [settings.mirror and number % 2 == 1 for number in range(len(members))]
        self.stride = math.lcm(*(member.stride for member in members))
        self.fixed_size_px = next((member.fixed_size_px for member in members if member.fixed_size_px), None)
        self.input_px = next((member.input_px for member in members if member.input_px), None)
        # Halves are only averaged with halves.
        last = [member.get_submodule(name) for member in members for name in member.last_doublings]
        if all(member.last_doublings for member in members) and len({cast(Upsample, one).factor for one in last}) == 1:
            self.last_doublings = tuple(
                f"members.{i}.{name}" for i, member in enumerate(members) for name in member.last_doublings
            )

    def config(self) -> dict[str, Any]:
        """See `ColorNet.config`."""
        members = [{"name": member.name, "config": member.config()} for member in self._networks()]
        return {"members": members, **({"mirror": True} if any(self._mirrored) else {})}

    def forward(self, L_net: Tensor) -> Tensor:
        """Predict color.

        Args:
            L_net: (B, 1, H, W) in [-1, 1], H and W multiples of `stride`.

        Returns:
            (B, 2, H, W), network units.

        Raises:
            ShapeError: the input has another shape.
        """
        return self.color(L_net)[0]

    def color(self, L_net: Tensor) -> tuple[Tensor, Tensor | None]:
        """See `ColorNet.color`; of colors that are averaged, the confidence is the members' mean, if all have one."""
        self.check_input(L_net)
        members = self._networks()
        if (alike := _of_one_reading(members)) is not None:
            heads = [cast(BinsHead, member.head) for member in alike]
            features = [member.features(seen) for member, seen in zip(alike, self._seen(L_net), strict=True)]
            ab_net, confidence = read_features(heads, self._upright(features))
            return alike[0].resize(ab_net), confidence
        found = [member.color(seen) for member, seen in zip(members, self._seen(L_net), strict=True)]
        colors, confidences = zip(*found, strict=True)
        first, *others = (color.float() for color in self._upright(colors))
        ab_net = sum(others, first) / len(colors)
        return ab_net, None if None in confidences else sum(confidences) / len(confidences)

    def _seen(self, L_net: Tensor) -> list[Tensor]:
        """Return what each network sees."""
        return [L_net.flip(3) if mirrored else L_net for mirrored in self._mirrored]

    def _upright(self, planes: Sequence[Tensor]) -> list[Tensor]:
        """Return planes of what each network saw as those of the photograph."""
        return [plane.flip(3) if mirrored else plane for plane, mirrored in zip(planes, self._mirrored, strict=True)]

    def _networks(self) -> list[ColorNet]:
        return [cast(ColorNet, member) for member in self.members]


def _of_one_reading(members: Sequence[ColorNet]) -> list[UNet] | None:
    """Return the members if all have bins heads of one grid, read in one way; else None."""
    ways = set()
    for member in members:
        # Rebalancing goes by each network's own frequencies.
        if not isinstance(member, UNet) or not isinstance(member.head, BinsHead) or member.head.rebalance:
            return None
        head = member.head
        ways.add((head.spacing, head.temperature, head.saturation, head.shrinkage, head.pooling * member.output_stride))
    return cast(list[UNet], list(members)) if len(ways) == 1 else None
