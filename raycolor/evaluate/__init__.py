"""`raycolor evaluate`: checkpoints compared on the same photographs."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from raycolor.evaluate.config import EvaluateConfig
    from raycolor.evaluate.report import EvaluateResult


def evaluate(config: EvaluateConfig, *, on_progress: Callable[[int, int], None] | None = None) -> EvaluateResult:
    """Compare checkpoints, as `raycolor evaluate` does: join or start Ray, measure, and write the report.

    Args:
        config: `raycolor.evaluate.config.EvaluateConfig(checkpoint=["run", "default"], data="dataset", out="report")`.
        on_progress: called with photographs done and in all.

    Returns:
        Rows of the table, notes on it, and where the page lies.

    Raises:
        RaycolorError: one line: what, which value, how to mend it.
    """
    from raycolor.evaluate import driver

    return driver.evaluate(config, on_progress)
