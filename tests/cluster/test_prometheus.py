"""Laws of the metrics: what a bulk job counts is what Prometheus would scrape."""

import json
import re
import time
import urllib.request
import uuid
from collections import Counter
from pathlib import Path

import pytest

from raycolor.colorize.outcomes import Outcome, Tally

pytestmark = pytest.mark.ray
RATES = ("images_per_second", "megapixels_per_second")


def scrape(dest):
    """Return series (name, and status or reason) -> value of one destination, from every node's port."""
    import ray

    found = {}
    for node in ray.nodes():
        address = f"http://{node['NodeManagerAddress']}:{node['MetricsExportPort']}/metrics"
        try:
            text = urllib.request.urlopen(address, timeout=10).read().decode()
        except OSError:
            continue
        for name, labels, value in re.findall(r"^(ray_raycolor_\w+)\{(.*)\} (\S+)$", text, re.MULTILINE):
            tags = dict(re.findall(r'(\w+)="([^"]*)"', labels))
            if tags["dest"] == dest:
                found[" ".join([name, *(tags[key] for key in ("status", "reason") if key in tags)])] = float(value)
    return found


def test_counts_and_rates_are_scraped(ray_local, monkeypatch):
    """Images by status, reasons, megapixels and rates arrive under the documented names, summed over shards."""
    from raycolor.cluster import prometheus
    from raycolor.cluster.prometheus import ColorizeMetrics

    monkeypatch.setattr(prometheus, "EVERY_S", 0.0)
    dest = f"s3://colored/{uuid.uuid4().hex}"
    metrics = ColorizeMetrics(dest, 10)
    for count in (3, 4):
        tally = Tally()
        for k in range(count):
            tally.add(Outcome(f"{k}", "colorized", width=1000, height=500))
        tally.add(Outcome("bad", "failed", reason="truncated"))
        metrics.add(
            tally.counts, tally.reasons, tally.pixels, {"images_per_second": 2.5, "megapixels_per_second": 1.25}
        )
    expected = {
        "ray_raycolor_images_total colorized": 7.0,
        "ray_raycolor_images_total failed": 2.0,
        "ray_raycolor_reasons_total truncated": 2.0,
        "ray_raycolor_megapixels_total": 3.5,
        "ray_raycolor_images_expected": 10.0,
        "ray_raycolor_images_per_second": 2.5,
        "ray_raycolor_megapixels_per_second": 1.25,
    }
    # Ray collects every ten seconds.
    deadline = time.monotonic() + 90
    while scrape(dest) != expected and time.monotonic() < deadline:
        time.sleep(1)
    assert scrape(dest) == expected


def test_many_shards_in_a_second_are_told_together(monkeypatch):
    """Metrics are called once for many shards, and after the end every photograph has been counted."""
    from raycolor.cluster import prometheus

    told = []

    class Metric:
        def __init__(self, name, about, tags):
            self.name = name

        def set_default_tags(self, tags):
            pass

        def inc(self, count, tags=None):
            told.append((self.name, count))

        def set(self, value):
            pass

    monkeypatch.setattr(prometheus, "Counter", Metric)
    monkeypatch.setattr(prometheus, "Gauge", Metric)
    monkeypatch.setattr(prometheus.time, "monotonic", lambda: 5.0)
    metrics = prometheus.ColorizeMetrics("out", 300)
    for _ in range(100):
        metrics.add({"colorized": 2, "failed": 1}, {"truncated": 1}, 10_000, {}.fromkeys(RATES))
    assert len(told) == 4
    metrics.end()
    assert len(told) == 8
    sums = Counter()
    for name, count in told:
        sums[name] += count
    assert sums == {prometheus.IMAGES: 300, prometheus.REASONS: 100, prometheus.MEGAPIXELS: pytest.approx(1.0)}


def test_the_dashboard_asks_for_what_is_exported():
    """docs/grafana.json names every metric by the name under which Ray exports it, by its tags, and no other."""
    from raycolor.cluster import prometheus

    board = json.loads((Path(__file__).resolve().parents[2] / "docs/grafana.json").read_text(encoding="utf-8"))
    exported = {f"ray_{value}" for name, value in vars(prometheus).items() if name.isupper() and isinstance(value, str)}
    asked = [target["expr"] for panel in board["panels"] for target in panel["targets"]]
    asked.append(board["templating"]["list"][1]["query"])
    assert set(re.findall(r"ray_\w+", " ".join(asked))) == exported
    assert set(re.findall(r"by \((\w+)\)", " ".join(asked))) == {"dest", "status", "reason"}
    assert len({panel["id"] for panel in board["panels"]}) == len(board["panels"])
