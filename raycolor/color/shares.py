"""Means, spreads and entropies of distributions over colors: compiled, one thread, the lock released."""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from raycolor.color._input_loops import summing
from raycolor.errors import ShapeError

_ROWS: Final = 1024  # so many distributions at a time stay in the second-level cache
f32 = np.float32
LOG2_E = f32(1.4426950408889634)
FAINTEST = f32(-126)  # 2 to this power is the smallest float32 that is computed fast
# 2^x = 2^floor(x + 1/2) times this polynomial of the rest: Taylor's, 3e-6 off at its ends.
P1, P2, P3, P4, P5 = (f32(np.log(2.0) ** n / f) for n, f in ((1, 1), (2, 2), (3, 6), (4, 24), (5, 120)))


class Read(NamedTuple):
    """What is read of N distributions, float32."""

    mean: NDArray[np.float32]
    """(N, 2), weighted means."""
    square: NDArray[np.float32]
    """(N,), weighted means of the squared distance from 0."""
    entropy: NDArray[np.float32]
    """(N,), in nats, of the distributions without weights."""


@summing
def _read(values: Any, largest: Any, table: Any, mean: Any, square: Any, entropy: Any) -> None:
    """Fill `mean`, `square` and `entropy` for each row of `values`, whose maxima are `largest`."""
    count, size = values.shape
    rest = np.empty(size, np.float32)
    bits = np.empty(size, np.int32)
    whole = bits.view(np.float32)  # the bits of an exponent are the power of two itself
    for i in range(count):
        row, top = values[i], largest[i]
        for j in range(size):
            x = (row[j] - top) * LOG2_E
            x = FAINTEST if x < FAINTEST else x  # NaN stays NaN
            steps = np.floor(x + f32(0.5))
            x -= steps
            rest[j] = ((((P5 * x + P4) * x + P3) * x + P2) * x + P1) * x + f32(1)
            bits[j] = (np.int32(steps) + np.int32(127)) << np.int32(23)
        total, moment, first, second, length, weight = f32(0), f32(0), f32(0), f32(0), f32(0), f32(0)
        for j in range(size):
            share = rest[j] * whole[j]
            total += share
            moment += share * (row[j] - top)
            first += share * table[0, j]
            second += share * table[1, j]
            length += share * table[2, j]
            weight += share * table[3, j]
        mean[i, 0], mean[i, 1], square[i] = first / weight, second / weight, length / weight
        entropy[i] = np.log(total) - moment / total


def read_shares(
    logits: Tensor, centers: NDArray[np.float32], weights: NDArray[np.float32], temperature: float = 1.0
) -> Read:
    """Read many distributions over the same colors.

    Args:
        logits: (N, K) of any float type, on the CPU, without gradient; the distribution is their softmax.
        centers: (K, 2), the colors.
        weights: (K,) above 0, by which shares are multiplied for the mean.
        temperature: above 0; logits are divided by it, as float32.

    Returns:
        What is read, all within 1e-5 of float64. Of a distribution with a NaN among its logits it is NaN.

    Raises:
        ShapeError: shapes that do not fit.
    """
    count, size = logits.shape
    if centers.shape != (size, 2) or weights.shape != (size,):
        raise ShapeError(f"{size} logits, centers {centers.shape}, weights {weights.shape}: one of each per color")
    squares = np.square(centers).sum(axis=1)
    table = np.concatenate([centers.T * weights, [squares * weights, weights]]).astype(np.float32)
    read = Read(np.empty((count, 2), np.float32), np.empty(count, np.float32), np.empty(count, np.float32))
    buffer = torch.empty(min(_ROWS, count), size)
    for start in range(0, count, _ROWS):
        part = slice(start, start + _ROWS)
        values = buffer[: len(read.mean[part])].copy_(logits[part])
        if temperature != 1:
            values /= temperature
        _read(values.numpy(), values.amax(dim=1).numpy(), table, *(filled[part] for filled in read))
    return read
