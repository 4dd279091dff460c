"""What a bulk job tells Prometheus through Ray: photographs by status, rate, megapixels.

Ray's agent on each node keeps the values and serves them (`ray start --metrics-export-port`); who scrapes nothing pays
a function call per finished shard and nothing per photograph. A series is written by the driver alone, which sees every
shard exactly once, also those of workers that died afterwards: summed over nodes it is the job's own count.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from ray.util.metrics import Counter, Gauge

# Ray puts `ray_` before these names.
IMAGES: Final = "raycolor_images_total"
REASONS: Final = "raycolor_reasons_total"
MEGAPIXELS: Final = "raycolor_megapixels_total"
EXPECTED: Final = "raycolor_images_expected"
IMAGES_RATE: Final = "raycolor_images_per_second"
MEGAPIXELS_RATE: Final = "raycolor_megapixels_per_second"


class ColorizeMetrics:
    """The metrics of one run of a bulk job; Ray must be connected.

    Args:
        dest: destination, the tag that tells jobs on one cluster apart.
        expected: images in the manifest.
    """

    def __init__(self, dest: str, expected: int) -> None:
        job = ("dest",)
        tags = {"dest": dest}
        self._images = Counter(IMAGES, "Images with an outcome, by status.", (*job, "status"))
        self._reasons = Counter(REASONS, "Images that were skipped or failed, by reason.", (*job, "reason"))
        self._megapixels = Counter(MEGAPIXELS, "Megapixels colorized.", job)
        self._expected = Gauge(EXPECTED, "Images in the manifest.", job)
        self._images_rate = Gauge(IMAGES_RATE, "Images per second from first to last image of this run.", job)
        self._megapixels_rate = Gauge(MEGAPIXELS_RATE, "Megapixels per second, likewise.", job)
        for metric in vars(self).values():
            metric.set_default_tags(tags)
        self._expected.set(expected)

    def add(
        self, counts: Mapping[str, int], reasons: Mapping[str, int], pixels: int, rates: Mapping[str, float | None]
    ) -> None:
        """Take in a finished shard (images by status, images by reason, pixels colorized) and the rates after it."""
        for status, count in counts.items():
            if count:
                self._images.inc(count, {"status": status})
        for reason, count in reasons.items():
            self._reasons.inc(count, {"reason": reason})
        if pixels:
            self._megapixels.inc(pixels / 1e6)
        self._images_rate.set(rates["images_per_second"] or 0.0)
        self._megapixels_rate.set(rates["megapixels_per_second"] or 0.0)

    def end(self) -> None:
        """Say that nothing is going on any more: a gauge keeps its last value as long as its process lives."""
        self._images_rate.set(0.0)
        self._megapixels_rate.set(0.0)
