"""Metrics: their values per image, sums that merge over workers, floors and bootstrap intervals."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from raycolor.color.difference import delta_e00
from raycolor.color.lab import lab_to_rgb
from raycolor.color.scale import net_to_ab, net_to_L
from raycolor.errors import ConfigError, ShapeError

CHEAP: Final = ("mse", "accuracy_10", "psnr_db", "colorfulness")
FULL: Final = (
    *CHEAP[:2],
    "auc",
    "auc_rebalanced",
    "psnr_db",
    "ssim",
    "delta_e00",
    "farther_than_gray",
    "colorfulness",
    "delta_colorfulness",
)
AUC_LIMIT: Final = 150  # Lab units; Zhang et al. 2016, section 3.1
CELL: Final = 10  # Lab units: width of the ab cells that the rebalanced AUC counts as classes
CELLS: Final = 23  # cells on a side, centers -110..110: every color of sRGB falls inside
PSNR_CEILING_DB: Final = 100.0  # of equal pictures, whose ratio is infinite


def _distance(ab: Tensor, truth: Tensor) -> Tensor:
    """Euclidean distance in Lab units: (B, 2, H, W) twice -> (B, H, W)."""
    return (ab - truth).square().sum(1).sqrt()


def accuracy(distance: Tensor, limit: float = 10.0) -> Tensor:
    """Return the share of pixels, (B,), whose distance (B, H, W) in Lab units is at most `limit`."""
    return (distance <= limit).float().mean((1, 2))


def auc_of_distance(distance: Tensor) -> Tensor:
    """Return what one pixel adds to the area under the share-within-threshold curve.

    The curve is sampled at thresholds 0, 1, ..., 150 Lab units, integrated by trapezoids and divided by 150,
    so a perfect prediction has 1. A pixel's own curve steps from 0 to 1 at the first threshold >= distance,
    and the area of the mean curve is the mean of these areas.

    Args:
        distance: any shape, Lab units, not negative.

    Returns:
        Same shape, in [0, 1].

    Source: Zhang et al. 2016, arXiv:1603.08511, section 3.1.
    """
    first = distance.ceil()
    area = AUC_LIMIT + 0.5 - first - 0.5 * (first == 0)
    return area.clamp(min=0) / AUC_LIMIT


def psnr_db(rgb: Tensor, truth: Tensor) -> Tensor:
    """Return the peak signal-to-noise ratio of each picture, data range 1.

    Args:
        rgb: (B, 3, H, W) in [0, 1].
        truth: (B, 3, H, W) in [0, 1].

    Returns:
        (B,) in dB, at most 100 (equal pictures).
    """
    error = (rgb - truth).square().mean((1, 2, 3))
    return -10 * error.clamp(min=10 ** (-PSNR_CEILING_DB / 10)).log10()


def ssim(rgb: Tensor, truth: Tensor) -> Tensor:
    """Return the structural similarity of each picture, averaged over pixels and channels, data range 1.

    Gaussian window of 11 px, sigma 1.5, without padding: scikit-image's `structural_similarity` with
    `gaussian_weights=True, use_sample_covariance=False`.

    Args:
        rgb: (B, C, H, W) in [0, 1], H and W at least 11.
        truth: (B, C, H, W) in [0, 1].

    Returns:
        (B,), at most 1.

    Raises:
        ShapeError: smaller than the window.

    Source: Wang et al. 2004, doi:10.1109/TIP.2003.819861.
    """
    batch, channels, height, width = rgb.shape
    if min(height, width) < 11:
        raise ShapeError(f"ssim: picture of {width}x{height} px: at least 11x11 is needed")
    ticks = torch.arange(-5, 6, dtype=rgb.dtype, device=rgb.device)
    window = torch.exp(-0.5 * (ticks / 1.5) ** 2)
    window = window / window.sum()

    def blur(planes: Tensor) -> Tensor:
        flat = planes.reshape(batch * channels, 1, height, width)
        return F.conv2d(F.conv2d(flat, window.view(1, 1, 11, 1)), window.view(1, 1, 1, 11))

    mean_x, mean_y = blur(rgb), blur(truth)
    var_x = blur(rgb * rgb) - mean_x * mean_x
    var_y = blur(truth * truth) - mean_y * mean_y
    covariance = blur(rgb * truth) - mean_x * mean_y
    c1, c2 = 0.01**2, 0.03**2
    top = (2 * mean_x * mean_y + c1) * (2 * covariance + c2)
    bottom = (mean_x**2 + mean_y**2 + c1) * (var_x + var_y + c2)
    return (top / bottom).reshape(batch, -1).mean(1)


def colorfulness(rgb: Tensor) -> Tensor:
    """Return the colorfulness of each picture: 0 for gray, about 60 for quite colorful, 100 and more for vivid.

    Args:
        rgb: (B, 3, H, W), sRGB in [0, 1]; the measure itself is defined on 0..255.

    Returns:
        (B,), not negative.

    Source: Hasler & Suesstrunk 2003, doi:10.1117/12.477378, M3.
    """
    red, green, blue = (255 * rgb).unbind(1)
    red_green, yellow_blue = red - green, 0.5 * (red + green) - blue
    spread = (red_green.var((1, 2), correction=0) + yellow_blue.var((1, 2), correction=0)).sqrt()
    mean = (red_green.mean((1, 2)).square() + yellow_blue.mean((1, 2)).square()).sqrt()
    return spread + 0.3 * mean


def to_rgb(L: Tensor, ab: Tensor) -> Tensor:
    """Return the sRGB picture, clipped to [0, 1], of (B, 1, H, W) L and (B, 2, H, W) ab in Lab units."""
    return lab_to_rgb(torch.cat([L, ab], dim=1)).clamp(0, 1)


def to_pixels(L_net: Tensor, ab_net: Tensor) -> NDArray[np.uint8]:
    """Return pictures to show, (B, H, W, 3) uint8 sRGB, of (B, 1, H, W) and (B, 2, H, W) network units; NaN is gray."""
    rgb = to_rgb(net_to_L(L_net.float()), net_to_ab(torch.nan_to_num(ab_net.float())))
    return np.ascontiguousarray((rgb * 255).round().to(torch.uint8).permute(0, 2, 3, 1).cpu().numpy())


@dataclass(frozen=True)
class Compared:
    """A batch of predictions beside the truth.

    Attributes:
        predicted: (B, 2, H, W), network units.
        truth: (B, 2, H, W), network units.
        L: (B, 1, H, W), 0..100.
        ab: (B, 2, H, W), predicted, Lab units.
        ab_true: (B, 2, H, W), Lab units.
        rgb: (B, 3, H, W), predicted, 0..1.
        rgb_true: (B, 3, H, W), 0..1.
        distance: (B, H, W) between both ab, Lab units.
    """

    predicted: Tensor
    truth: Tensor
    L: Tensor
    ab: Tensor
    ab_true: Tensor
    rgb: Tensor
    rgb_true: Tensor
    distance: Tensor

    def delta_e00_of(self, ab: Tensor) -> Tensor:
        """Return the mean CIEDE2000 difference of such colors, (B, 2, H, W) in Lab units, from the truth: (B,)."""
        return delta_e00(torch.cat([self.L, ab], 1), torch.cat([self.L, self.ab_true], 1)).mean((1, 2))


MEASURES: Final[dict[str, Callable[[Compared], Tensor]]] = {
    "mse": lambda batch: (batch.predicted - batch.truth).square().mean((1, 2, 3)),
    "accuracy_10": lambda batch: accuracy(batch.distance),
    "psnr_db": lambda batch: psnr_db(batch.rgb, batch.rgb_true),
    "colorfulness": lambda batch: colorfulness(batch.rgb),
    "colorfulness_truth": lambda batch: colorfulness(batch.rgb_true),
    "auc": lambda batch: auc_of_distance(batch.distance).mean((1, 2)),
    "ssim": lambda batch: ssim(batch.rgb, batch.rgb_true),
    "delta_e00": lambda batch: batch.delta_e00_of(batch.ab),
    "delta_e00_gray": lambda batch: batch.delta_e00_of(torch.zeros_like(batch.ab)),
}
"""Name -> what measures it on each photograph of a batch: (B,)."""
_MEASURED_CHEAPLY: Final = (*CHEAP, "colorfulness_truth")


@dataclass
class MetricSums:
    """Metrics of some images: batches are added, sums of several workers merged.

    `values[name]` holds one number per image, in the order of `ids`. `class_area` and `class_pixels` hold, per image,
    the AUC and the pixels of each ab cell of the truth: the rebalanced AUC needs the frequencies over all images.

    Attributes:
        full: every metric of `FULL`, or only those of `CHEAP`.
    """

    full: bool = True
    ids: list[str] = field(default_factory=list)
    values: dict[str, list[float]] = field(default_factory=dict)
    class_area: list[NDArray[np.float32]] = field(default_factory=list)
    class_pixels: list[NDArray[np.float32]] = field(default_factory=list)

    @torch.no_grad()
    def add(
        self,
        L_net: Tensor,
        predicted: Tensor,
        truth: Tensor,
        ids: Sequence[str],
        gray_error: Sequence[float] | None = None,
    ) -> None:
        """Measure a batch.

        Args:
            L_net: (B, 1, H, W), network units.
            predicted: (B, 2, H, W), network units.
            truth: (B, 2, H, W), network units.
            ids: B names.
            gray_error: of each picture without color its `delta_e00`, where that was measured already.

        Raises:
            ShapeError: the shapes do not fit together.
        """
        size = (L_net.shape[0], 2, *L_net.shape[2:])
        if L_net.ndim != 4 or predicted.shape != size or truth.shape != size or len(ids) != size[0]:
            raise ShapeError(
                f"metrics: L {tuple(L_net.shape)}, predicted {tuple(predicted.shape)}, truth {tuple(truth.shape)}, "
                f"{len(ids)} ids: expected (B, 1, H, W), (B, 2, H, W) twice and B ids"
            )
        predicted, truth = predicted.float(), truth.float()
        L, ab, ab_true = net_to_L(L_net.float()), net_to_ab(predicted), net_to_ab(truth)
        distance = _distance(ab, ab_true)
        batch = Compared(predicted, truth, L, ab, ab_true, to_rgb(L, ab), to_rgb(L, ab_true), distance)
        wanted = MEASURES if self.full else {name: MEASURES[name] for name in _MEASURED_CHEAPLY}
        known = {} if gray_error is None else {"delta_e00_gray": list(gray_error)}
        found = {name: measure(batch).tolist() for name, measure in wanted.items() if name not in known}
        if self.full:
            self._count_classes(auc_of_distance(distance), ab_true)
        self.ids.extend(ids)
        for name, numbers in (found | known).items():
            self.values.setdefault(name, []).extend(numbers)

    def _count_classes(self, area: Tensor, ab_true: Tensor) -> None:
        """Sum the pixels' areas by the ab cell that their truth falls into."""
        half = CELLS // 2
        cell = ((ab_true / CELL).round().clamp(-half, half) + half).long()
        index = (cell[:, 0] * CELLS + cell[:, 1]).flatten(1).cpu()
        flat = area.flatten(1).double().cpu()
        for row, weights in zip(index, flat, strict=True):
            self.class_area.append(torch.bincount(row, weights, CELLS * CELLS).numpy().astype(np.float32))
            self.class_pixels.append(torch.bincount(row, minlength=CELLS * CELLS).numpy().astype(np.float32))

    def merge(self, other: MetricSums) -> MetricSums:
        """Append another worker's images and return self.

        Raises:
            ConfigError: one holds the full set, the other the cheap one.
        """
        if self.full != other.full:
            raise ConfigError("metrics: a full and a cheap set cannot be merged: measure both the same way")
        self.ids.extend(other.ids)
        for name, numbers in other.values.items():
            self.values.setdefault(name, []).extend(numbers)
        self.class_area.extend(other.class_area)
        self.class_pixels.extend(other.class_pixels)
        return self

    def sums(self) -> dict[str, float]:
        """Return the number of images as `n` and the sum of every per-image value, to be added up across workers."""
        return {"n": float(len(self.ids)), **{name: math.fsum(numbers) for name, numbers in self.values.items()}}

    def balance(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return per image the weighted area and the weight, pixels weighing 1 over their cell's smoothed frequency."""
        area = np.stack(self.class_area).astype(np.float64)
        pixels = np.stack(self.class_pixels).astype(np.float64)
        frequency = _smooth(pixels.sum(0) / pixels.sum())
        weight = 1 / frequency
        return area @ weight, pixels @ weight

    def result(self, *, seed: int = 0, rounds: int = 1000) -> dict[str, dict[str, float]]:
        """Return value and 95% bootstrap interval of every metric.

        Args:
            seed: of the bootstrap.
            rounds: resamplings of the images.

        Returns:
            name -> {"value", "low", "high"}; names as in `FULL` or `CHEAP`. `delta_colorfulness` is the absolute
            difference of the mean colorfulness from the truth's mean, `farther_than_gray` the share of photographs
            whose `delta_e00` is above that of no color at all.

        Raises:
            ConfigError: there are no images.
        """
        if not self.ids:
            raise ConfigError("metrics: no images: check the dataset")
        pick = _resamples(len(self.ids), rounds, seed)
        table: dict[str, dict[str, float]] = {}
        for name in FULL if self.full else CHEAP:
            if name == "auc_rebalanced":
                top, bottom = self.balance()
                value, draws = top.sum() / bottom.sum(), top[pick].sum(1) / bottom[pick].sum(1)
            elif name == "delta_colorfulness":
                gap = np.asarray(self.values["colorfulness"]) - np.asarray(self.values["colorfulness_truth"])
                value, draws = abs(gap.mean()), np.abs(gap[pick].mean(1))
            elif name == "farther_than_gray":
                farther = np.greater(self.values["delta_e00"], self.values["delta_e00_gray"])
                value, draws = farther.mean(), farther[pick].mean(1)
            else:
                numbers = np.asarray(self.values[name])
                value, draws = numbers.mean(), numbers[pick].mean(1)
            low, high = np.percentile(draws, [2.5, 97.5])
            table[name] = {"value": float(value), "low": float(low), "high": float(high)}
        return table


def _smooth(frequency: NDArray[np.float64]) -> NDArray[np.float64]:
    """Smooth the frequencies of the ab cells by a Gaussian of 5 Lab units, as Zhang et al. 2016, section 2.2.

    Without it a cell that holds three stray pixels would weigh as much as the sky.
    """
    centers = CELL * (np.arange(CELLS) - CELLS // 2)
    kernel = np.exp(-0.5 * ((centers[:, None] - centers[None, :]) / 5.0) ** 2)
    kernel /= kernel.sum(1, keepdims=True)
    smoothed = kernel @ frequency.reshape(CELLS, CELLS) @ kernel.T
    # A cell far from every true color has no pixels to weigh; any positive number will do.
    return np.maximum(smoothed.reshape(-1), 1e-12)


def _resamples(count: int, rounds: int, seed: int) -> NDArray[np.int64]:
    """Return (rounds, count) indices drawn with replacement."""
    return np.random.default_rng(seed).integers(0, count, size=(rounds, count))


def bootstrap_interval(values: Sequence[float], seed: int = 0, rounds: int = 1000) -> tuple[float, float]:
    """Return the 95% percentile bootstrap interval of the mean.

    Args:
        values: one number per image, at least one.
        seed: the same seed gives the same interval.
        rounds: resamplings.

    Raises:
        ConfigError: no values.
    """
    if not len(values):
        raise ConfigError("bootstrap interval: no values: check the dataset")
    numbers = np.asarray(values, dtype=np.float64)
    low, high = np.percentile(numbers[_resamples(len(numbers), rounds, seed)].mean(1), [2.5, 97.5])
    return float(low), float(high)


def constant_color(like: Tensor, ab_net: tuple[float, float] = (0.0, 0.0)) -> Tensor:
    """Predict one color everywhere: the floors `gray` (0, 0) and `mean color`.

    Args:
        like: (B, C, H, W), gives size, type and device.
        ab_net: the color, network units.

    Returns:
        (B, 2, H, W).
    """
    color = torch.tensor(ab_net, dtype=like.dtype, device=like.device).view(1, 2, 1, 1)
    return color.expand(like.shape[0], 2, *like.shape[2:])
