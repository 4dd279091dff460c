"""The settings of every job: models with defaults, bounds and help, and how they are put together."""

from raycolor.config.models import (
    ColorizeConfig,
    EvaluateConfig,
    Frozen,
    PlanConfig,
    PrepareConfig,
    TrainConfig,
    TuneConfig,
)
from raycolor.config.resolve import load_config, validate

__all__ = [
    "ColorizeConfig",
    "EvaluateConfig",
    "Frozen",
    "PlanConfig",
    "PrepareConfig",
    "TrainConfig",
    "TuneConfig",
    "load_config",
    "validate",
]
