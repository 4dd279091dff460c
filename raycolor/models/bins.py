"""Color as a distribution over a grid of ab, and the head that predicts it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from typing import Final, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from raycolor.color import scale
from raycolor.color.arrays import rgb_to_lab

_SAMPLES: Final = 64  # per channel of sRGB, to find the cells of the grid that colors lie in
_ROUNDING: Final = 0.5  # stored ab is rounded to whole Lab units
PRIOR_MIX: Final = 0.5  # Zhang et al. 2016, arXiv:1603.08511, equation 4: share of the uniform distribution
_USUAL_CHROMA: Final = 9.0  # Lab units in which the first guess of a color's frequency falls to 1/e
_PRIOR_PACE: Final = 0.01  # of the moving average of bin frequencies
_SMALL: Final = 1e-12  # a power of 0 has no slope
# Logits that a device reads at once, as float32: one photograph's at 256 x 256. What lies in a second-level cache of
# 48 MB (L4) does not go through memory between two passes, and a batch of 512 would need 34 GB.
_AT_ONCE_BYTES: Final = 32 << 20


class AbGrid(NamedTuple):
    """Nodes of a square grid around every color of sRGB."""

    centers: np.ndarray[tuple[int, int], np.dtype[np.float32]]
    """(K, 2) float32, network units."""
    numbers: np.ndarray[tuple[int, int], np.dtype[np.int64]]
    """Node numbers by (a, b) step; -1 where no color of sRGB lies next to the node."""
    origin: tuple[int, int]
    """Steps of numbers[0, 0]."""


@lru_cache
def ab_grid(spacing: float) -> AbGrid:
    """Return the nodes at multiples of `spacing` Lab units that are a corner of a cell with a color of sRGB in it."""
    levels = np.linspace(0.0, 1.0, _SAMPLES)
    rgb = np.stack(np.meshgrid(levels, levels, levels, indexing="ij"), axis=-1).reshape(-1, 3)
    ab = rgb_to_lab(rgb)[:, 1:]
    shifts = np.array([[i, j] for i in (-_ROUNDING, _ROUNDING) for j in (-_ROUNDING, _ROUNDING)])
    cells = _unique(np.floor((ab[:, None] + shifts) / spacing).astype(np.int64).reshape(-1, 2))
    nodes = _unique((cells[:, None] + np.array([[0, 0], [0, 1], [1, 0], [1, 1]])).reshape(-1, 2))
    low = nodes.min(axis=0)
    numbers = np.full(tuple(nodes.max(axis=0) - low + 1), -1, dtype=np.int64)
    numbers[tuple((nodes - low).T)] = np.arange(len(nodes))
    centers = np.asarray(scale.ab_to_net(nodes * spacing), dtype=np.float32)
    return AbGrid(centers, numbers, (int(low[0]), int(low[1])))


def _unique(pairs: np.ndarray) -> np.ndarray:
    """Return each pair of small integers once, in order; `np.unique` by rows takes half a second for ours."""
    offset = 1 << 20
    codes = np.unique((pairs[:, 0] + offset) * 2 * offset + pairs[:, 1] + offset)
    return np.stack([codes // (2 * offset) - offset, codes % (2 * offset) - offset], axis=1)


class BinTargets(NamedTuple):
    """Colors as shares of the four nodes around them."""

    node: Tensor
    """(4, B, H, W) int64, node numbers; 0 where the share is 0."""
    share: Tensor
    """(4, B, H, W) float32, sums to 1 over the nodes; all 0 for a color beyond the grid."""


class BinsHead(nn.Module):
    """Predicts a distribution over the nodes of a grid of ab for each pixel; color is its mean.

    A color between nodes is written as the four nodes around it, weighted as in bilinear interpolation: the mean of
    that distribution is the color again, so that the grid costs no precision.

    Args:
        inputs: channels of the features.
        spacing: of the grid, Lab units.
        temperature: below 1 the distribution is sharpened before its mean is taken (Zhang et al. 2016, equation 5):
            more vivid where several colors are possible, and further from the truth on average.
        rebalance: 0 takes the distribution as it is; 1 divides it by the frequency of each color in training
            photographs, mixed half and half with equal frequencies: rare, saturated colors come forward.
        saturation: factor on the color that is read.
        shrinkage: a color is multiplied by the length of the mean over the root mean square length of what it is the
            mean of, to this power: held back where the distribution is at odds with itself, and not where it agrees.
            With a saturation above 1 that errs less than other ways of the same chroma; see docs/results.md.
        pooling: side of the squares over which features are averaged before colors are read, but not in training: 2
            takes a quarter of the reading's time, which is a third of the network's.
    """

    prior: Tensor
    centers: Tensor
    _table: Tensor

    def __init__(
        self,
        inputs: int,
        spacing: float,
        temperature: float,
        rebalance: float,
        saturation: float = 1.0,
        shrinkage: float = 0.0,
        pooling: int = 1,
    ) -> None:
        super().__init__()
        grid = ab_grid(spacing)
        self.pooling = pooling
        self.spacing, self.temperature, self.rebalance = spacing, temperature, rebalance
        self.saturation, self.shrinkage = saturation, shrinkage
        self.count = len(grid.centers)
        self.conv = nn.Conv2d(inputs, self.count, 1)
        nn.init.normal_(self.conv.weight, std=1e-3)
        self.register_buffer("centers", torch.from_numpy(grid.centers), persistent=False)
        # From equal chances Adam would need a thousand updates to learn no more than that grays are common.
        guess = -scale.net_to_ab(self.centers).norm(dim=1) / _USUAL_CHROMA
        with torch.no_grad():
            self.conv.bias.copy_(guess)  # type: ignore[union-attr]
        self.register_buffer("prior", guess.softmax(dim=0))
        self.register_buffer("_table", torch.from_numpy(grid.numbers), persistent=False)
        self._origin = grid.origin

    def forward(self, features: Tensor) -> Tensor:
        """Return logits (B, K, H, W) for features (B, C, H, W)."""
        return self.conv(features)  # type: ignore[no-any-return]

    def at_reading(self, features: Tensor) -> Tensor:
        """Return the logits (B, K, H / pooling, W / pooling) that color is read of."""
        return self(nn.functional.avg_pool2d(features, self.pooling) if self.pooling > 1 else features)  # type: ignore[no-any-return]

    def targets(self, ab_net: Tensor) -> BinTargets:
        """Write colors (B, 2, H, W), network units, as shares of the nodes around them."""
        steps = scale.net_to_ab(ab_net.float()) / self.spacing
        base = steps.floor()
        part = steps - base
        a, b = ((base[:, axis].long() - self._origin[axis]) for axis in (0, 1))
        rows, columns = self._table.shape
        index, share = [], []
        for i in (0, 1):
            for j in (0, 1):
                inside = (a + i >= 0) & (a + i < rows) & (b + j >= 0) & (b + j < columns)
                node = self._table[(a + i).clamp(0, rows - 1), (b + j).clamp(0, columns - 1)]
                there = inside & (node >= 0)
                weight = (part[:, 0] if i else 1 - part[:, 0]) * (part[:, 1] if j else 1 - part[:, 1])
                index.append(torch.where(there, node, 0))
                share.append(torch.where(there, weight, 0.0))
        shares = torch.stack(share)
        return BinTargets(torch.stack(index), shares / shares.sum(dim=0, keepdim=True).clamp(min=1e-6))

    @torch.no_grad()
    def observe(self, targets: BinTargets) -> None:
        """Move the frequencies of the nodes towards those of a batch of training photographs."""
        node, share = targets.node.flatten(), targets.share.flatten()
        if _is_cpu(share):
            seen = torch.bincount(node, share, minlength=self.count)
        else:
            # bincount would wait for the GPU; float64, as the order in which a GPU adds up is not fixed.
            seen = share.new_zeros(self.count, dtype=torch.float64).index_add_(0, node, share.double())
        self.prior.lerp_((seen / seen.sum().clamp(min=1e-6)).to(self.prior.dtype), _PRIOR_PACE)

    def rarity(self) -> Tensor:
        """Return (K,) weights that rise with rarity; 1 on average over the pixels of training photographs."""
        weight = 1 / ((1 - PRIOR_MIX) * self.prior + PRIOR_MIX / self.count)
        return weight / (self.prior * weight).sum()

    def mean(self, logits: Tensor, *, plain: bool = False) -> Tensor:
        """Return color (B, 2, H, W), network units, float32: the mean of the distribution.

        Args:
            logits: (B, K, H, W).
            plain: leave out `temperature`, `rebalance`, `saturation` and `shrinkage`.
        """
        if not plain:
            return self._color(self._sharpened(logits).softmax(dim=-1))
        share = _by_pixel(logits).softmax(dim=-1)
        with torch.autocast(share.device.type, enabled=False):  # in bf16 the sum would be off by a Lab unit
            return (share @ self.centers).permute(0, 3, 1, 2)

    def read(self, logits: Tensor) -> tuple[Tensor, Tensor]:
        """Return color as `mean`, and confidence (B,) in 0..1.

        Confidence is one less the mean entropy, as a share of the largest, of the distributions that are read: those
        of `temperature`, without `rebalance`.
        """
        if _is_cpu(logits) and not logits.requires_grad:
            return self._read_compiled(logits)
        values = self._sharpened(logits)
        share = values.softmax(dim=-1)
        entropy = values.amax(dim=-1) - share.amax(dim=-1).log() - (share * values).sum(dim=-1)
        return self._color(share), self._confidence(entropy.mean(dim=(1, 2)))

    def _read_compiled(self, logits: Tensor) -> tuple[Tensor, Tensor]:
        """Return what `read` returns in a tenth of its time."""
        from raycolor.color.shares import read_shares  # compiled code only where colors are really read

        batch, count, height, width = logits.shape
        rows = logits.detach().permute(0, 2, 3, 1).reshape(-1, count)
        read = read_shares(rows, self.centers.numpy(), self._weights().numpy(), self.temperature)
        color = self._shrunk(torch.from_numpy(read.mean), torch.from_numpy(read.square))
        color = color.reshape(batch, height, width, 2).permute(0, 3, 1, 2)
        return color, self._confidence(torch.from_numpy(read.entropy).reshape(batch, -1).mean(dim=1))

    def _sharpened(self, logits: Tensor) -> Tensor:
        """Return logits divided by the temperature, as `_by_pixel` does; at 1 without another pass over them."""
        values = _by_pixel(logits)
        return values if self.temperature == 1 else values / self.temperature

    def _confidence(self, entropy: Tensor) -> Tensor:
        return 1 - entropy / math.log(self.count)

    def _weights(self) -> Tensor:
        """Return (K,) by which shares are multiplied for the mean."""
        if self.rebalance:
            return self.rarity() ** (self.rebalance / self.temperature)
        return torch.ones_like(self.prior)

    def _color(self, share: Tensor) -> Tensor:
        """Return the color (B, 2, H, W) that is read of shares (B, H, W, K)."""
        weights = self._weights()
        table = torch.stack([*self.centers.T, self.centers.square().sum(dim=1), torch.ones_like(weights)], dim=1)
        with torch.autocast(share.device.type, enabled=False):  # in bf16 the sum would be off by a Lab unit
            sums = share @ (table * weights[:, None])
            means = sums[..., :3] / sums[..., 3:]
            return self._shrunk(means[..., :2], means[..., 2]).permute(0, 3, 1, 2)

    def _shrunk(self, mean: Tensor, square: Tensor) -> Tensor:
        """Return the color (..., 2) to show for means (..., 2) and mean squared lengths (...)."""
        if not self.shrinkage:
            return mean * self.saturation
        agreement = (mean.square().sum(dim=-1) / square.clamp(min=_SMALL)).clamp(min=_SMALL)
        return mean * (self.saturation * agreement ** (self.shrinkage / 2))[..., None]


def read_features(heads: Sequence[BinsHead], features: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    """Return what the first head's `read` returns of the mean of all heads' logits.

    On a GPU, where no gradient is asked for, no more than a few photographs' logits are in its memory at a time.

    Args:
        heads: of one grid, read in one way.
        features: (B, C, H, W) for each head.

    Returns:
        Color (B, 2, H, W), network units, and confidence (B,).
    """
    first = features[0]
    if _is_cpu(first) or any(one.requires_grad for one in features):
        return heads[0].read(_mean_logits(heads, features))
    size = _photographs_at_once(first, heads[0].count)
    parts = [
        heads[0].read(_mean_logits(heads, [one[start : start + size] for one in features]))
        for start in range(0, len(first), size)
    ]
    colors, confidences = zip(*parts, strict=True)
    return torch.cat(colors), torch.cat(confidences)


def _is_cpu(tensor: Tensor) -> bool:
    return tensor.device.type == "cpu"


def _mean_logits(heads: Sequence[BinsHead], features: Sequence[Tensor]) -> Tensor:
    first, *others = (head.at_reading(one) for head, one in zip(heads, features, strict=True))
    return sum(others, first) / len(heads) if others else first


def _photographs_at_once(features: Tensor, bins: int) -> int:
    """Return a divisor of the batch: a last part of another size might be computed in another order."""
    batch, _, height, width = features.shape
    most = max(1, _AT_ONCE_BYTES // (4 * bins * height * width))
    return next(size for size in range(min(most, batch), 0, -1) if batch % size == 0)


def _by_pixel(logits: Tensor) -> Tensor:
    """Return (B, H, W, K) float32, a pixel's values side by side, as softmax is fastest."""
    return logits.float().permute(0, 2, 3, 1).contiguous()
