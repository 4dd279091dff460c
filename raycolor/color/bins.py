"""Bins of (a, b) for torch: centers, soft encoding, rebalancing weights and the annealed mean of Zhang et al. 2016."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from raycolor.errors import ShapeError

ANNEALED_T = 0.38  # Zhang, Isola and Efros 2016, section 2.3


@lru_cache
def _centers(spacing: int) -> tuple[tuple[int, int], ...]:
    """Round the (a, b) of all 2^24 8-bit colors to the grid, a plane of red at a time; 0.3 s, once a process."""
    from raycolor.color.kernels import rgb8_to_lab  # compiled code only where bins are really made

    reach = 128 // spacing
    seen = np.zeros((2 * reach + 1, 2 * reach + 1), dtype=np.bool_)
    plane = np.empty((256, 256, 3), np.uint8)
    plane[..., 1] = np.arange(256)[:, None]
    plane[..., 2] = np.arange(256)
    for red in range(256):
        plane[..., 0] = red
        _, a, b = rgb8_to_lab(plane)
        seen[np.rint(a / spacing).astype(np.int64) + reach, np.rint(b / spacing).astype(np.int64) + reach] = True
    return tuple((int(i - reach) * spacing, int(j - reach) * spacing) for i, j in np.argwhere(seen))


def ab_bins(spacing: int = 10) -> Tensor:
    """List the centers of the ab bins: multiples of `spacing` that are nearest to some 8-bit sRGB color.

    Args:
        spacing: Lab units between neighboring centers, 1..64.

    Returns:
        (Q, 2) float32, ordered by a, then b. Q is 261 at spacing 10. Published weights expect 313, another rule.

    Raises:
        ShapeError: spacing outside 1..64.
    """
    if not 1 <= spacing <= 64:
        raise ShapeError(f"spacing = {spacing}: must be within 1..64 Lab units")
    return torch.tensor(_centers(spacing), dtype=torch.float32)


def _check(ab: Tensor, bins: Tensor) -> None:
    if ab.ndim != 4 or ab.shape[1] != 2:
        raise ShapeError(f"ab has shape {tuple(ab.shape)}: expected (B, 2, H, W)")
    if bins.ndim != 2 or bins.shape[1] != 2:
        raise ShapeError(f"bins has shape {tuple(bins.shape)}: expected (Q, 2)")


def _squared_distances(ab: Tensor, bins: Tensor) -> Tensor:
    """Give (B * H * W, Q) squared distances of pixels to centers."""
    pixels = ab.permute(0, 2, 3, 1).reshape(-1, 1, 2)
    return ((pixels - bins.to(ab)) ** 2).sum(dim=-1)


def nearest_bin(ab: Tensor, bins: Tensor) -> Tensor:
    """Find the nearest bin of each pixel.

    Args:
        ab: (B, 2, H, W) float, Lab units.
        bins: (Q, 2) centers.

    Returns:
        (B, H, W) int64 in 0..Q-1.

    Raises:
        ShapeError: a shape other than these.
    """
    _check(ab, bins)
    return _squared_distances(ab, bins).argmin(dim=1).reshape(ab.shape[0], *ab.shape[2:])


def soft_encode(ab: Tensor, bins: Tensor, neighbors: int = 5, sigma: float = 5.0) -> Tensor:
    """Spread each pixel over its nearest bins by a Gaussian of the distance.

    Args:
        ab: (B, 2, H, W) float, Lab units.
        bins: (Q, 2) centers.
        neighbors: how many bins share a pixel.
        sigma: width of the Gaussian in Lab units.

    Returns:
        (B, Q, H, W), same dtype; sums to 1 over Q, at most `neighbors` of them above 0.

    Raises:
        ShapeError: a shape other than these, or more neighbors than bins.

    Source: Zhang, Isola and Efros 2016, section 2.2 (5 neighbors, sigma 5).
    """
    _check(ab, bins)
    if not 1 <= neighbors <= len(bins):
        raise ShapeError(f"neighbors = {neighbors}: must be within 1..{len(bins)}, the number of bins")
    nearest, index = _squared_distances(ab, bins).topk(neighbors, dim=1, largest=False)
    # The nearest distance is taken off first: far outside the bins every Gaussian would round to zero.
    shares = torch.softmax(-(nearest - nearest[:, :1]) / (2 * sigma**2), dim=1)
    encoded = torch.zeros(len(nearest), len(bins), dtype=ab.dtype, device=ab.device).scatter_(1, index, shares)
    batch, _, height, width = ab.shape
    return encoded.reshape(batch, height, width, -1).permute(0, 3, 1, 2).contiguous()


def count_bins(ab: Tensor, bins: Tensor) -> Tensor:
    """Count pixels by nearest bin: (Q,) float64, ready to be summed over batches. ShapeError as for `nearest_bin`."""
    return torch.bincount(nearest_bin(ab, bins).reshape(-1), minlength=len(bins)).to(torch.float64)


def rebalancing_weights(counts: Tensor, bins: Tensor, mix: float = 0.5, sigma: float = 5.0) -> Tensor:
    """Weigh bins so that rare colors count: 1 / ((1 - mix) p + mix / Q), scaled to a mean of 1 under p.

    Args:
        counts: (Q,) pixels by bin, as `count_bins` sums them.
        bins: (Q, 2) centers.
        mix: share of the uniform distribution, in [0, 1]; 1 gives every bin weight 1.
        sigma: width in Lab units of the Gaussian that smooths p over neighboring bins; 0 leaves p as counted.

    Returns:
        (Q,) float32, all positive; sum of p * weights is 1, p being the smoothed distribution.

    Raises:
        ShapeError: counts and bins differ in length, counts sum to 0, mix outside [0, 1], or an empty bin would get
            an infinite weight.

    Source: Zhang, Isola and Efros 2016, equation 4 (mix 0.5, sigma 5).
    """
    if counts.shape != bins.shape[:1]:
        raise ShapeError(f"counts has shape {tuple(counts.shape)}: expected ({len(bins)},), one for each bin")
    if not 0 <= mix <= 1:
        raise ShapeError(f"mix = {mix}: must be within [0, 1]")
    if counts.sum() <= 0:
        raise ShapeError("counts sum to 0: count some pixels first")
    prior = counts.to(torch.float64) / counts.sum()
    if sigma > 0:
        centers = bins.to(torch.float64)
        spread = torch.exp(-(torch.cdist(centers, centers) ** 2) / (2 * sigma**2))
        prior = (spread / spread.sum(dim=0)) @ prior
    mixed = (1 - mix) * prior + mix / len(bins)
    if bool((mixed <= 0).any()):
        raise ShapeError(f"mix = {mix} leaves {int((mixed <= 0).sum())} empty bins without a weight: take mix above 0")
    weights = 1 / mixed
    return (weights / (prior * weights).sum()).to(torch.float32)


def annealed_mean(logits: Tensor, bins: Tensor, temperature: float = ANNEALED_T) -> Tensor:
    """Average the bin centers under softmax(logits / temperature): between the mean (1) and the mode (towards 0).

    Args:
        logits: (B, Q, H, W) float.
        bins: (Q, 2) centers.
        temperature: above 0.

    Returns:
        (B, 2, H, W) in Lab units, same dtype.

    Raises:
        ShapeError: the second axis is not Q, or the temperature is not above 0.

    Source: Zhang, Isola and Efros 2016, equation 5 (temperature 0.38).
    """
    if logits.ndim != 4 or logits.shape[1] != len(bins):
        raise ShapeError(f"logits has shape {tuple(logits.shape)}: expected (B, {len(bins)}, H, W)")
    if not temperature > 0:
        raise ShapeError(f"temperature = {temperature}: must be above 0")
    shares = torch.softmax(logits / temperature, dim=1)
    return torch.einsum("bqhw,qc->bchw", shares, bins.to(logits))
