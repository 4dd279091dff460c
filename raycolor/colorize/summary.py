"""The end of a bulk job, reached or not: summary.json, the CSV files, the page and the table on the terminal."""

from __future__ import annotations

import bisect
import contextlib
import itertools
import json
import logging
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Final

import pyarrow as pa

from raycolor import __version__
from raycolor.colorize.config import ColorizeConfig
from raycolor.colorize.job_folder import ATTEMPTS, FOLDER
from raycolor.colorize.job_record import JobRecord
from raycolor.colorize.manifest import Manifest
from raycolor.colorize.messages import ShardReport
from raycolor.colorize.outcomes import Tally, read_tables, write_csvs
from raycolor.colorize.revisions import describe_revisions
from raycolor.errors import ConfigError, RaycolorError, StorageError, TooManyFailedError
from raycolor.progress import printable
from raycolor.sources import Reader, Source
from raycolor.storage import ObjectStore

logger = logging.getLogger(__name__)

DONE, FAILED_IMAGES = 0, 3
_MOST_POINTS: Final = 400
_WATCHED_FROM: Final = 500  # outcomes: before, a few bad ones in front would stop a job that is good as a whole


@dataclass
class Timing:
    """Wall-clock facts of this run."""

    begun: float = field(default_factory=time.time)
    first_image: float | None = None
    last_image: float | None = None
    images: int = 0
    pixels: int = 0
    failed: int = 0
    workers: int = 0
    device: str | None = None
    networks: int = 0
    _ended: list[tuple[float, int]] = field(default_factory=list)
    """(when it ended, images of it) of shards, in order of time; neighbors are joined when they are too many."""

    def add(self, report: ShardReport) -> None:
        """Take in a finished shard."""
        self.first_image = min(self.first_image or report.started, report.started)
        self.last_image = max(self.last_image or report.ended, report.ended)
        self.images += report.tally.total
        self.pixels += report.tally.pixels
        self.failed += report.tally.counts["failed"]
        # Reports need not come in the order in which shards ended.
        bisect.insort(self._ended, (report.ended, report.tally.total))
        if len(self._ended) > _MOST_POINTS:
            pairs = (self._ended[at : at + 2] for at in range(0, len(self._ended), 2))
            self._ended = [(pair[-1][0], sum(images for _, images in pair)) for pair in pairs]

    def timeline(self) -> list[tuple[float, int]]:
        """Return (seconds since the first photograph, photographs done by then), both growing; at most 400 points."""
        done = itertools.accumulate(images for _, images in self._ended)
        first = self.first_image or 0.0
        return [(round(ended - first, 2), images) for (ended, _), images in zip(self._ended, done, strict=True)]

    def rates(self) -> dict[str, float | None]:
        """Return the seconds from first to last image, what was done in each of them, and the time before the first."""
        if self.first_image is None or self.last_image is None:
            names = ("images_per_second", "megapixels_per_second", "startup_seconds", "colorizing_seconds")
            return dict.fromkeys(names)
        seconds = max(self.last_image - self.first_image, 1e-6)
        return {
            "images_per_second": round(self.images / seconds, 3),
            "megapixels_per_second": round(self.pixels / 1e6 / seconds, 3),
            "startup_seconds": round(self.first_image - self.begun, 3),
            "colorizing_seconds": round(seconds, 3),
        }


def warm_page() -> None:
    """Load in a thread what the page is made with: two seconds that need not be waited for at the end."""

    def load() -> None:
        from raycolor.colorize import page

        page.warm()

    threading.Thread(target=load, name="raycolor-page", daemon=True).start()


def finish(
    config: ColorizeConfig,
    record: JobRecord,
    dest: ObjectStore,
    source: Source,
    timing: Timing,
    limit: FailureLimit,
) -> int:
    """Write summary.json, the CSV files and report.html of a finished job, and count the failures against the limit."""
    # The page's codecs and compiled kernels take a second that no start has to wait.
    from raycolor.colorize.page import Selection, write_report

    selection = Selection()
    summary = summarize(config, record, dest, timing, selection.add)
    if not summary["complete"]:
        raise RaycolorError(
            f"{dest.uri}: {summary['images']} outcomes for {record.manifest.images} inputs: run the same command again"
        )
    # Every shard is done: marks that still stand are of workers that died.
    for info in list(dest.list(ATTEMPTS)):
        dest.delete(info.key)
    shards = selection.shards()
    manifest, reader = Manifest(dest, record.manifest), Reader(record.root or source.root, config.source_options())

    def original(key: str) -> bytes:
        return manifest.read(reader, key, shards[key])

    report = write_report(summary, selection, dest=dest, original=original)
    dest.put(FOLDER + "report.html", report.encode())
    print_summary(summary)
    failed, images = int(summary["counts"]["failed"]), int(summary["images"])
    if not limit.exceeded(failed, images):
        return DONE
    why = f"{limit.excess(failed, images)}: see {dest.uri}/{FOLDER}failed.csv, mend them or allow more"
    logger.error("%s", why, extra={"event": "too_many_failed", "fields": {"failed": failed, "images": images}})
    return FAILED_IMAGES


def summarize(
    config: ColorizeConfig,
    record: JobRecord,
    dest: ObjectStore,
    timing: Timing,
    on_table: Callable[[pa.Table], None] = lambda table: None,
) -> dict[str, Any]:
    """Write summary.json and the CSV files from the outcomes that there are, of a finished or a stopped job.

    Outcomes are read once, many records at a time: they are counted, written as CSV and given to `on_table`.

    Raises:
        StorageError: the destination cannot be read or written.
    """
    tally = Tally()

    def tables() -> Iterator[pa.Table]:
        for table in read_tables(dest):
            tally.add_table(table)
            on_table(table)
            yield table

    write_csvs(dest, tables())
    run = {
        "seconds": round(time.time() - timing.begun, 3),
        **timing.rates(),
        "images_this_run": timing.images,
        "megapixels_this_run": round(timing.pixels / 1e6, 3),
        "timeline": timing.timeline(),
        "workers": timing.workers,
        "networks": timing.networks,
        "device": timing.device,
    }
    if timing.images == 0:
        # A run that found nothing to do tells no speed: that of the last one that did stays.
        run = {name: value for name, value in _earlier(dest).items() if name in run} or run
    summary: dict[str, Any] = {
        "complete": tally.total == record.manifest.images,
        "counts": {status: tally.counts[status] for status in ("colorized", "skipped", "failed")},
        "reasons": dict(sorted(tally.reasons.items())),
        "kinds": dict(sorted(tally.kinds.items())),
        "images": tally.total,
        "pages": tally.pages,
        "megapixels": round(tally.pixels / 1e6, 3),
        "input_bytes": tally.input_bytes,
        "output_bytes": tally.output_bytes,
        **run,
        "checkpoint": record.checkpoint,
        "source": record.source,
        "dest": dest.uri,
        "settings": record.config if config.redo else config.model_dump(mode="json"),
        "revisions": describe_revisions(record, tally.revisions),
        "shards": record.manifest.shards,
        "raycolor_version": __version__,
    }
    dest.put(FOLDER + "summary.json", json.dumps(summary, indent=2).encode() + b"\n")
    return summary


def _earlier(dest: ObjectStore) -> dict[str, Any]:
    """Return what an earlier run's summary.json says; nothing if there is none that can be read."""
    try:
        found = json.loads(dest.get(FOLDER + "summary.json"))
    except (StorageError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def print_summary(summary: dict[str, Any]) -> None:
    """Show the totals as a table on standard output, and where everything is."""
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    console = Console(highlight=False)
    table = Table(show_header=False, box=None, padding=(0, 2))
    for status, count in summary["counts"].items():
        table.add_row(status, f"{count:,}")
    for reason, count in summary["reasons"].items():
        table.add_row(f"  {reason}", f"{count:,}")
    if summary["pages"] > summary["counts"]["colorized"]:
        table.add_row("pages", f"{summary['pages']:,}")
    table.add_row("megapixels", f"{summary['megapixels']:,.1f}")
    if summary["images_per_second"] is not None:
        table.add_row("images per second", f"{summary['images_per_second']:,.2f}")
    table.add_row("seconds", f"{summary['seconds']:,.1f}")
    if summary["images_per_second"] is not None:
        table.add_row("  start-up", f"{summary['startup_seconds']:.1f}")
        table.add_row("  first to last", f"{summary['colorizing_seconds']:.1f}")
    name, weights = summary["checkpoint"]["name"], summary["checkpoint"]["weights_sha256"]
    license_ = summary["checkpoint"].get("license")
    about = f"{name} ({weights[:12]})" + (f", license {license_}" if license_ else "")
    table.add_row("checkpoint", escape(printable(about)))
    console.print(table)
    for line in next_steps(summary):
        console.print(line, soft_wrap=True, markup=False)


def next_steps(summary: dict[str, Any]) -> list[str]:
    """Return the lines that say where everything is and what to do next."""
    dest, failed = printable(summary["dest"]), int(summary["counts"]["failed"])
    records = f"{dest.rstrip('/')}/{FOLDER}"
    lines = [f"photographs  {dest}", f"page         {records}report.html"]
    if failed:
        lines += [
            f"failures     {records}failed.csv says why {failed:,} of {summary['images']:,} failed",
            "next         the same command with --retry-failed tries them again",
        ]
    else:
        lines += [
            f"list         {records}outcomes.csv says what became of each input",
            "next         the same command with --redo GLOB and other settings makes some of them again",
        ]
    return lines


@dataclass(frozen=True)
class FailureLimit:
    """How many failed images are still a success."""

    text: str
    count: int | None = None
    share: float = 0.0

    @classmethod
    def parse(cls, text: str) -> FailureLimit:
        """Read `12` as a count, `5%` or `0.05` as a share.

        Raises:
            ConfigError: neither.
        """
        with contextlib.suppress(ValueError):
            if text.endswith("%") or "." in text:
                share = float(text[:-1]) / 100 if text.endswith("%") else float(text)
                if 0 <= share <= 1:
                    return cls(text, share=share)
            elif int(text) >= 0:
                return cls(text, int(text))
        raise ConfigError(f"--max-failed {text}: must be a count (12) or a share (5% or 0.05)")

    def allowed(self, total: int) -> float:
        """Return how many of `total` may fail."""
        return self.share * total if self.count is None else self.count

    def exceeded(self, failed: int, total: int) -> bool:
        """Whether `failed` of `total` are too many."""
        return failed > self.allowed(total)

    def excess(self, failed: int, total: int) -> str:
        """Say that `failed` of `total` are too many."""
        allowed = int(self.allowed(total))
        return f"{failed:,} of {total:,} images failed, and --max-failed {self.text} allows {allowed:,}"

    def watch(self, failed: int, total: int, dest: str) -> None:
        """Stop a job in which too many images fail, once 500 have an outcome.

        Raises:
            TooManyFailedError: `failed` of the first `total` are too many.
        """
        if total >= _WATCHED_FROM and self.exceeded(failed, total):
            raise TooManyFailedError(
                f"stopped: {self.excess(failed, total)}: see {dest}/{FOLDER}failed.csv; fix that, or the same command "
                "with a higher --max-failed continues"
            )
