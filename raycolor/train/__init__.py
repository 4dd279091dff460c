"""`raycolor train`: one network on Ray Train, or in one process."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from raycolor.train.config import TrainConfig
    from raycolor.train.run_folder import TrainResult


def train(
    config: TrainConfig, *, ray: bool = True, on_epoch: Callable[[Mapping[str, float]], None] | None = None
) -> TrainResult:
    """Train a network, as `raycolor train` does; over an unfinished run of the same settings, go on with it.

    Args:
        config: `raycolor.train.config.TrainConfig(method="unet", data="dataset", out="run")`.
        ray: join or start Ray. False: train in this process as one worker would, with the same bytes.
        on_epoch: called with each new row of the curve.

    Returns:
        Run folder, metrics of the best epoch, curve.

    Raises:
        RaycolorError: one line: what, which value, how to mend it.
    """
    if ray:
        from raycolor.train import driver

        return driver.train(config, on_epoch)
    from raycolor.train.one_process import train_here

    return train_here(config, on_epoch)
