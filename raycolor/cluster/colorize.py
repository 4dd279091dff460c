"""The bulk job on Ray Data: shards of a fixed manifest through a pool of workers."""

from __future__ import annotations

import datetime
import json
import logging
import math
import pickle
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import ray

from raycolor import __version__
from raycolor.bulk import ShardReport, ShardSpec
from raycolor.checkpoints import Checkpoint, load
from raycolor.cluster import session
from raycolor.cluster.colorize_worker import ShardActor
from raycolor.config import ColorizeConfig
from raycolor.errors import ConfigError, RaycolorError, StorageError
from raycolor.lease import Lease
from raycolor.manifest import (
    FOLDER,
    JobRecord,
    Manifest,
    ManifestTotals,
    Tally,
    check_same_job,
    done_shards,
    failed_csv,
    read_job,
    read_outcomes,
    write_manifest,
)
from raycolor.options import ColorizerOptions
from raycolor.progress import Progress
from raycolor.sources import Reader, Source, open_source
from raycolor.storage import ObjectStore, open_store

logger = logging.getLogger(__name__)

DONE, FAILED_IMAGES = 0, 3


@dataclass
class Timing:
    """Wall-clock facts of this run."""

    begun: float = field(default_factory=time.time)
    first_image: float | None = None
    last_image: float | None = None
    images: int = 0
    pixels: int = 0
    workers: int = 0

    def add(self, report: ShardReport) -> None:
        """Take in a finished shard."""
        self.first_image = min(self.first_image or report.started, report.started)
        self.last_image = max(self.last_image or report.ended, report.ended)
        self.images += report.tally.total
        self.pixels += report.tally.pixels

    def rates(self) -> dict[str, float | None]:
        """Return the rates from first to last image, and the time before the first."""
        if self.first_image is None or self.last_image is None:
            return {"images_per_second": None, "megapixels_per_second": None, "startup_seconds": None}
        seconds = max(self.last_image - self.first_image, 1e-6)
        return {
            "images_per_second": round(self.images / seconds, 3),
            "megapixels_per_second": round(self.pixels / 1e6 / seconds, 3),
            "startup_seconds": round(self.first_image - self.begun, 3),
        }


def run(config: ColorizeConfig) -> int:
    """Colorize every photograph of a source; the same configuration over the same destination continues.

    Returns:
        0, or 3 if more images failed than `max_failed` allows.

    Raises:
        ConfigError: settings or places that cannot work.
        ManifestError: the destination belongs to another job.
        StorageError: the destination cannot be written.
    """
    limit = FailureLimit.parse(config.max_failed)
    source = open_source(config.source, root=config.root, archives=config.archives, options=config.source_options())
    dest = open_store(config.dest, **config.dest_options())
    source.check_dest(dest.uri)
    checkpoint = load(config.checkpoint)
    options = colorizer_options(config)
    timing = Timing()
    with Lease(dest):
        record = begin_or_continue(config, source, dest, checkpoint)
        todo = sorted(set(range(record.manifest.shards)) - done_shards(dest))
        if todo:
            spec = ShardSpec(
                source.root,
                dest.uri,
                record.manifest,
                options,
                config.image_timeout_s,
                config.source_options(),
                config.dest_options(),
            )
            with session.connect(config.address):
                _process(spec, todo, record, timing, config.workers)
        return finish(config, record, dest, source, timing, limit)


def begin_or_continue(config: ColorizeConfig, source: Source, dest: ObjectStore, checkpoint: Checkpoint) -> JobRecord:
    """Return the job of a destination, after listing the source if there is none yet."""
    identity = {
        **config.identity(),
        "source": source.uri,
        "checkpoint": checkpoint.name,
        "weights_sha256": checkpoint.weights_sha256,
        "raycolor_version": __version__,
    }
    # Nobody else writes here while the lease is held: what looks half-written was left by a killed run.
    dest.sweep(older_than_s=0)
    record = read_job(dest)
    if record is not None:
        check_same_job(record, identity, dest.uri)
        logger.info("continuing the job in %s", dest.uri)
        return record
    with Progress("list", None, "photographs") as progress:
        inputs = source.inputs(dest.uri, config.include, config.exclude)
        totals = write_manifest(
            dest,
            inputs,
            images_per_shard=config.images_per_shard,
            on_progress=lambda images: progress.update(images - progress.done),
        )
        progress.update(totals.images - progress.done)
    for why, count in source.notes.items():
        logger.info("left out: %s (%s)", f"{count:,}", why)
    if totals.images == 0:
        raise ConfigError(f"{config.source}: holds no files to colorize: check the path, --include and --exclude")
    record = JobRecord(
        identity=identity,
        checkpoint={
            "name": checkpoint.name,
            "method": checkpoint.method,
            "weights_sha256": checkpoint.weights_sha256,
        },
        source=source.uri,
        config=config.model_dump(mode="json"),
        raycolor_version=__version__,
        manifest=totals,
        created=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
    )
    record.write(dest)
    return record


def _process(spec: ShardSpec, todo: list[int], record: JobRecord, timing: Timing, workers: int | None) -> None:
    """Run the unfinished shards through a pool of workers and show the progress."""
    timing.workers = min(session.worker_count(workers), len(todo))
    if workers is None:
        timing.workers = min(timing.workers, worthwhile_workers(record.manifest))
    shards = ray.data.from_items([{"shard": shard} for shard in todo], override_num_blocks=len(todo))
    reports = shards.map_batches(
        ShardActor,
        fn_constructor_kwargs={"spec": spec},
        batch_size=1,
        num_cpus=1,
        compute=ray.data.ActorPoolStrategy(size=timing.workers),
    )
    failed = 0
    with Progress("colorize", record.manifest.images, already=_images_before(record, spec, todo)) as progress:
        for report in _reports(reports):
            timing.add(report)
            failed += report.tally.counts["failed"]
            megapixels = timing.rates()["megapixels_per_second"] or 0.0
            progress.update(report.tally.total, MP_per_s=f"{megapixels:.1f}", failed=failed)


def worthwhile_workers(totals: ManifestTotals) -> int:
    """Return how many workers have more to do than it takes to start them (about 7 s of a CPU, most of it torch)."""
    return max(1, math.ceil(totals.images / 32), math.ceil(totals.bytes / 32e6))


def _images_before(record: JobRecord, spec: ShardSpec, todo: list[int]) -> int:
    """Count the images that earlier runs had finished; the manifest of the rest is shorter to read."""
    if len(todo) == record.manifest.shards:
        return 0
    return sum(
        1
        for _ in read_outcomes(
            open_store(spec.dest, **spec.dest_options), set(range(record.manifest.shards)) - set(todo)
        )
    )


def _reports(dataset: ray.data.Dataset) -> Iterator[ShardReport]:
    try:
        for row in dataset.iter_rows():
            report = pickle.loads(row["report"])
            if isinstance(report, RaycolorError):
                raise report
            yield report
    except (ray.exceptions.RayError, ray.exceptions.RayTaskError) as exc:
        lines = [line.strip() for line in str(exc).splitlines() if line.strip()]
        raise RaycolorError(
            f"Ray gave up: {lines[-1] if lines else exc}: run the same command again to continue"
        ) from exc


def finish(
    config: ColorizeConfig,
    record: JobRecord,
    dest: ObjectStore,
    source: Source,
    timing: Timing,
    limit: FailureLimit,
) -> int:
    """Write summary.json, failed.csv and report.html from the outcomes, and judge the failures."""
    tally = Tally()
    for outcome in read_outcomes(dest):
        tally.add(outcome)
    if tally.total != record.manifest.images:
        raise RaycolorError(
            f"{dest.uri}: {tally.total} outcomes for {record.manifest.images} inputs: run the same command again"
        )
    summary: dict[str, Any] = {
        "counts": {status: tally.counts[status] for status in ("colorized", "skipped", "failed")},
        "reasons": dict(sorted(tally.reasons.items())),
        "kinds": dict(sorted(tally.kinds.items())),
        "images": tally.total,
        "megapixels": round(tally.pixels / 1e6, 3),
        "input_bytes": tally.input_bytes,
        "output_bytes": tally.output_bytes,
        "seconds": round(time.time() - timing.begun, 3),
        **timing.rates(),
        "images_this_run": timing.images,
        "workers": timing.workers,
        "checkpoint": record.checkpoint,
        "source": record.source,
        "dest": dest.uri,
        "settings": config.model_dump(mode="json"),
        "shards": record.manifest.shards,
        "raycolor_version": __version__,
    }
    dest.put(FOLDER + "failed.csv", failed_csv(read_outcomes(dest)))
    # The page asks for originals by key alone.
    originals = _Originals(Manifest(dest, record.manifest), Reader(source.root, config.source_options()))
    from raycolor.pages.colorize import write_report  # codecs and compiled kernels: a second that no start has to wait

    page = write_report(summary, dest=dest, source=originals)
    dest.put(FOLDER + "report.html", page.encode())
    dest.put(FOLDER + "summary.json", json.dumps(summary, indent=2).encode() + b"\n")
    print_summary(summary)
    return FAILED_IMAGES if limit.exceeded(tally.counts["failed"], tally.total) else DONE


class _Originals:
    """Reads inputs by their key, wherever the manifest says that they are."""

    def __init__(self, manifest: Manifest, reader: Reader) -> None:
        self._manifest, self._reader = manifest, reader

    def get(self, key: str) -> bytes:
        """Return the bytes of one input.

        Raises:
            StorageError: it is not in the manifest, or cannot be read.
        """
        info = self._manifest.find(key)
        if info is None:
            raise StorageError("not_found", f"{key}: not in the manifest")
        return self._reader.get(info)


def print_summary(summary: dict[str, Any]) -> None:
    """Show the totals as a table on standard output, and where everything is."""
    from rich.console import Console
    from rich.table import Table

    console = Console(highlight=False)
    table = Table(show_header=False, box=None, padding=(0, 2))
    for status, count in summary["counts"].items():
        table.add_row(status, f"{count:,}")
    for reason, count in summary["reasons"].items():
        table.add_row(f"  {reason}", f"{count:,}")
    table.add_row("megapixels", f"{summary['megapixels']:,.1f}")
    if summary["images_per_second"] is not None:
        table.add_row("images per second", f"{summary['images_per_second']:.2f}")
    table.add_row("seconds", f"{summary['seconds']:.1f}")
    table.add_row("checkpoint", f"{summary['checkpoint']['name']} ({summary['checkpoint']['weights_sha256'][:12]})")
    console.print(table)
    console.print(f"photographs  {summary['dest']}", soft_wrap=True)
    console.print(f"page         {summary['dest'].rstrip('/')}/{FOLDER}report.html", soft_wrap=True)


@dataclass(frozen=True)
class FailureLimit:
    """How many failed images are still a success."""

    count: int | None
    share: float | None

    @classmethod
    def parse(cls, text: str) -> FailureLimit:
        """Read `12` as a count, `5%` or `0.05` as a share.

        Raises:
            ConfigError: neither.
        """
        try:
            if text.endswith("%"):
                share = float(text[:-1]) / 100
            elif "." in text:
                share = float(text)
            else:
                count = int(text)
                if count >= 0:
                    return cls(count, None)
                raise ValueError
            if 0 <= share <= 1:
                return cls(None, share)
            raise ValueError
        except ValueError as exc:
            raise ConfigError(f"--max-failed {text}: must be a count (12) or a share (5% or 0.05)") from exc

    def exceeded(self, failed: int, total: int) -> bool:
        """Whether `failed` of `total` are too many."""
        if self.count is not None:
            return failed > self.count
        return failed > (self.share or 0.0) * total


def colorizer_options(config: ColorizeConfig) -> ColorizerOptions:
    """Return the part of a configuration that a worker needs."""
    return ColorizerOptions(
        checkpoint=config.checkpoint,
        network_size=config.network_size,
        saturation=config.saturation,
        precision=config.precision,
        on_color=config.on_color,
        jpeg_luma=config.jpeg_luma,
        jpeg_quality=config.jpeg_quality,
        max_pixels=config.max_pixels,
    )
