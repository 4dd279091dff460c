"""Several trained networks that answer as one: the mean of their colors is nearer to the truth than any of them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, ClassVar, cast

from pydantic import Field
from torch import Tensor, nn

from raycolor.models.blocks import ColorNet, NetworkConfig


class MemberConfig(NetworkConfig):
    """One network of an ensemble."""

    name: str = Field(description="what `build_model` calls it")
    config: dict[str, Any] = Field(description="the network's own configuration")


class EnsembleConfig(NetworkConfig):
    """Configuration of an ensemble."""

    members: list[MemberConfig] = Field(min_length=2, max_length=16, description="the networks, all of equal weight")


class Ensemble(ColorNet):
    """The mean of several networks' colors; it costs what they cost together. It is put together, not trained.

    Args:
        settings: names and configurations of the members.
        members: the networks built from them, in this order.
    """

    name: ClassVar[str] = "ensemble"

    def __init__(self, settings: EnsembleConfig, members: Sequence[ColorNet]) -> None:
        super().__init__(settings)
        self.members = nn.ModuleList(members)
        self.stride = math.lcm(*(member.stride for member in members))
        self.fixed_size_px = next((member.fixed_size_px for member in members if member.fixed_size_px), None)
        # Halves are only averaged with halves.
        if all(member.last_doublings for member in members):
            self.last_doublings = tuple(
                f"members.{i}.{name}" for i, member in enumerate(members) for name in member.last_doublings
            )

    def config(self) -> dict[str, Any]:
        """See `ColorNet.config`."""
        return {"members": [{"name": member.name, "config": member.config()} for member in self._networks()]}

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
        """See `ColorNet.color`; the confidence is the mean of the members', if all of them have one."""
        self.check_input(L_net)
        colors, sure = zip(*(member.color(L_net) for member in self._networks()), strict=True)
        ab_net = sum(color.float() for color in colors) / len(colors)
        return ab_net, None if None in sure else sum(sure) / len(sure)

    def _networks(self) -> list[ColorNet]:
        return [cast(ColorNet, member) for member in self.members]
