"""Settings of augmentation."""

from __future__ import annotations

from pydantic import Field

from raycolor.config import Frozen


class AugmentConfig(Frozen):
    """How training photographs are varied beyond crops and flips."""

    zoom: float = Field(1.0, gt=0.1, le=1, description="smallest crop as a share of crop_px; the largest is the whole")
    film: float = Field(0.0, ge=0, le=1, description="probability of lightness by another film: a mix of channels")
    aging: float = Field(0.0, ge=0, le=1, description="probability of fading, grain, blur, JPEG, as archives have them")

    @property
    def is_on(self) -> bool:
        """Whether anything is varied."""
        return self.zoom < 1 or self.film > 0 or self.aging > 0
