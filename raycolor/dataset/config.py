"""Settings of augmentation."""

from __future__ import annotations

from pydantic import Field

from raycolor.config import Frozen


class AugmentConfig(Frozen):
    """How training photographs are varied beyond crops and flips."""

    zoom: float = Field(
        1.0,
        gt=0.1,
        le=1,
        description="smallest crop as a share of crop_px, the largest being the whole; 1: all of crop_px",
    )
    film: float = Field(
        0.0,
        ge=0,
        le=1,
        description="probability of computing lightness from another mix of channels, as other films do",
    )
    aging: float = Field(
        0.0, ge=0, le=1, description="probability of fading, grain, blur and JPEG artifacts, as in archival photographs"
    )

    @property
    def is_on(self) -> bool:
        """Whether anything is varied."""
        return self.zoom < 1 or self.film > 0 or self.aging > 0
