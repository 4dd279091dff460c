"""The same few photographs of val after every epoch, as the network colors them: a row of squares as one JPEG."""

from __future__ import annotations

from typing import Final

import numpy as np
from torch import Tensor

from raycolor.codecs.thumbnail import thumbnail
from raycolor.models.metrics import constant_color, to_pixels

PHOTOGRAPHS: Final = 6
SIDE_PX: Final = 128
INPUT, TRUTH = "samples/input.jpg", "samples/photograph.jpg"


def sample_name(epoch: int) -> str:
    """Return the name, in the run folder, of the row after an epoch, which counts from 1."""
    return f"samples/epoch-{epoch:04}.jpg"


def sample_files(epoch: int, L_net: Tensor, predicted: Tensor, ab_net: Tensor) -> dict[str, bytes]:
    """Return the rows of one epoch by name: what the network saw, what it answered, and the truth.

    Args:
        epoch: that has ended, counted from 1.
        L_net: (B, 1, H, W), network units.
        predicted: (B, 2, H, W), network units; NaN is shown as gray.
        ab_net: (B, 2, H, W), network units.
    """
    few = slice(0, PHOTOGRAPHS)
    L, ab, truth = L_net[few].cpu(), predicted[few].cpu(), ab_net[few].cpu()
    files = {sample_name(epoch): _row(L, ab)}
    if epoch == 1:
        files |= {INPUT: _row(L, constant_color(truth)), TRUTH: _row(L, truth)}
    return files


def _row(L_net: Tensor, ab_net: Tensor) -> bytes:
    squares = to_pixels(L_net, ab_net)
    return thumbnail(np.ascontiguousarray(np.concatenate(list(squares), axis=1)), SIDE_PX * len(squares))
