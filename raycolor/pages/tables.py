"""Tables of metrics: the metrics that can stand in one, its heads and its cells."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal


@dataclass(frozen=True)
class Column:
    """A metric of the table.

    Attributes:
        key: its name in files.
        title: its name to readers.
        better: which end of the scale is; empty where neither is.
        meaning: one or two sentences.
    """

    key: str
    title: str
    better: Literal["lower", "higher", ""]
    meaning: str


COLUMNS: Final = (
    Column("mse", "mse", "lower", "Mean squared error of a and b divided by 110, over pixels and both channels."),
    Column(
        "accuracy_10", "accuracy 10", "higher",
        "Share of pixels whose (a, b) lies within 10 Lab units of the photograph's.",
    ),
    Column(
        "auc", "AUC", "higher",
        "Area under the curve of the share of pixels within a threshold, for thresholds of 0 to 150 Lab units.",
    ),
    Column(
        "auc_rebalanced", "AUC rebalanced", "higher",
        "The same with every color weighing alike: a pixel weighs one over the frequency of its color. Dull guesses, "
        "which the plain AUC rewards, lose here.",
    ),
    Column("psnr_db", "PSNR dB", "higher", "Peak signal-to-noise ratio on sRGB. Alone it picks the dullest network."),
    Column("ssim", "SSIM", "higher", "Structural similarity on sRGB. All rows share the photograph's own lightness."),
    Column("delta_e00", "ΔE00", "lower", "CIEDE2000 color difference, mean over pixels; 1 is just noticeable."),
    Column(
        "farther_than_gray", "farther than gray", "lower",
        "Share of photographs whose ΔE00 is worse than without any color; of one photograph, by how much it is.",
    ),
    Column(
        "colorfulness", "colorfulness", "",
        "Hasler and Süsstrunk's measure: 0 is gray, about 60 quite colorful. Compare it with the photographs' own.",
    ),
    Column(
        "delta_colorfulness", "Δ colorfulness", "lower",
        "How far the mean colorfulness is from the photographs' own; of one photograph, the difference on it.",
    ),
    Column(
        "st_lpips", "ST-LPIPS", "lower",
        "Shift-tolerant learned perceptual similarity (AlexNet; Ghildyal and Liu 2022). It is not LPIPS.",
    ),
)  # fmt: skip


@dataclass(frozen=True)
class TableCell:
    """One cell: its text, what it is sorted by, whether it is the best of its column, and smaller text below."""

    text: str
    sort: str | float
    best: bool = False
    hint: str = ""
    below: str = ""


@dataclass(frozen=True)
class TableHead:
    """One column: its title, which end is the better one, and whether it holds numbers."""

    title: str
    better: str = ""
    number: bool = True
