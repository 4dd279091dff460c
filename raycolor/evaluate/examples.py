"""Which photographs a report shows: the best, the median and the worst by each metric."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from raycolor.evaluate.measure import Measured
from raycolor.models.metrics import FULL, MetricSums
from raycolor.pages.tables import COLUMNS


@dataclass
class Pick:
    """One photograph to show.

    Attributes:
        index: its place in the split.
        id: its key.
        roles: metric -> `best`, `median` or `worst`; of colorfulness, which has no better, `most`, `median`, `least`.
        values: metric -> the value of each checkpoint on this photograph.
    """

    index: int
    id: str
    roles: dict[str, str] = field(default_factory=dict)
    values: dict[str, list[float]] = field(default_factory=dict)


def per_image(sums: MetricSums, st_lpips: Sequence[float] = ()) -> dict[str, NDArray[np.float64]]:
    """Return every metric of each photograph; the rebalanced AUC with the weights of all photographs together.

    `farther_than_gray`, a share of photographs, is for one of them the difference of its errors.
    """
    found = {name: np.asarray(numbers) for name, numbers in sums.values.items() if name in FULL}
    area, weight = sums.balance()
    found["auc_rebalanced"] = area / weight
    found["farther_than_gray"] = found["delta_e00"] - np.asarray(sums.values["delta_e00_gray"])
    found["delta_colorfulness"] = np.abs(found["colorfulness"] - np.asarray(sums.values["colorfulness_truth"]))
    if st_lpips:
        found["st_lpips"] = np.asarray(st_lpips)
    return found


def choose(measured: Measured) -> list[Pick]:
    """Choose the photographs of one dataset, each once, in the order of the metrics.

    The mean over the checkpoints decides, so that one photograph shows what they do alike and where they differ.

    Args:
        measured: all photographs of a dataset, in order, floors first.
    """
    rows = range(2, len(measured.sums))
    each = [per_image(measured.sums[row], measured.st_lpips[row] if measured.st_lpips else ()) for row in rows]
    ids = measured.sums[0].ids
    picks: dict[int, Pick] = {}
    for column in COLUMNS:
        if column.key not in each[0]:
            continue
        score = np.mean([values[column.key] for values in each], axis=0)
        order = np.argsort(score if column.better == "lower" else -score, kind="stable")
        names = ("best", "median", "worst") if column.better else ("most", "median", "least")
        for role, place in zip(names, (0, (len(ids) - 1) // 2, len(ids) - 1), strict=True):
            index = int(order[place])
            values = {name: [float(one[name][index]) for one in each] for name in each[0]}
            pick = picks.setdefault(index, Pick(index, ids[index], values=values))
            pick.roles.setdefault(column.key, role)  # of a single photograph that is all three, the first
    return list(picks.values())


def rank_correlation(sums: MetricSums, seed: int) -> dict[str, float]:
    """Correlate the ranks of confidence and mse over photographs (Spearman); below 0 the confidence tells something.

    Args:
        sums: with `confidence` among its values.
        seed: of the bootstrap.

    Returns:
        {"value", "low", "high"}; low and high end the 95% bootstrap interval.
    """
    from scipy.stats import spearmanr  # half a second to import

    confidence, error = np.asarray(sums.values["confidence"]), np.asarray(sums.values["mse"])
    rng = np.random.default_rng(seed)
    picks = rng.integers(0, len(confidence), (200, len(confidence)))
    draws = [float(spearmanr(confidence[pick], error[pick]).statistic) for pick in picks]
    low, high = np.nanpercentile(draws, [2.5, 97.5])
    return {"value": float(spearmanr(confidence, error).statistic), "low": float(low), "high": float(high)}
