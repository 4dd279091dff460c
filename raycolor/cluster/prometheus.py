"""What a bulk job tells Prometheus through Ray: photographs by status, rate, megapixels.

Ray's agent on each node keeps the values and serves them (`ray start --metrics-export-port`); who scrapes nothing pays
a few function calls a second and nothing per photograph. A series is written by the driver alone, which sees every
shard exactly once, also those of workers that died afterwards: summed over nodes it is the job's own count.
"""

from __future__ import annotations

import collections
import time
from collections.abc import Mapping
from typing import Final

from ray.util.metrics import Counter, Gauge

EVERY_S: Final = 1.0  # Ray collects every ten seconds; a call a shard took a seventh of the driver's time
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
        self._new_images, self._new_reasons = collections.Counter[str](), collections.Counter[str]()
        self._new_pixels, self._told = 0, -EVERY_S

    def add(
        self, counts: Mapping[str, int], reasons: Mapping[str, int], pixels: int, rates: Mapping[str, float | None]
    ) -> None:
        """Take in a finished shard (images by status, images by reason, pixels colorized) and the rates after it."""
        self._new_images.update(counts)
        self._new_reasons.update(reasons)
        self._new_pixels += pixels
        if time.monotonic() - self._told >= EVERY_S:
            self._tell(rates)

    def end(self) -> None:
        """Say that nothing is going on any more: a gauge keeps its last value as long as its process lives."""
        self._tell({"images_per_second": 0.0, "megapixels_per_second": 0.0})

    def _tell(self, rates: Mapping[str, float | None]) -> None:
        for counter, name, new in (
            (self._images, "status", self._new_images),
            (self._reasons, "reason", self._new_reasons),
        ):
            for value, count in new.items():
                if count:
                    counter.inc(count, {name: value})
            new.clear()
        if self._new_pixels:
            self._megapixels.inc(self._new_pixels / 1e6)
        self._new_pixels, self._told = 0, time.monotonic()
        self._images_rate.set(rates["images_per_second"] or 0.0)
        self._megapixels_rate.set(rates["megapixels_per_second"] or 0.0)
