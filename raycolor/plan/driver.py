"""`raycolor plan`: list the source, look at a sample of it, and say what colorizing will take."""

from __future__ import annotations

import json
import logging
import time
from typing import Final

from raycolor.colorizer.config import ColorizerConfig
from raycolor.errors import ConfigError, ImageError
from raycolor.machine import cpu_count
from raycolor.models.card import say_license
from raycolor.plan.config import PlanConfig
from raycolor.plan.counts import Counts
from raycolor.plan.probe import Probed, Prober
from raycolor.plan.report import Looked, Start, begins, make_report
from raycolor.plan.sample import Drawn, Sample
from raycolor.plan.storage_classes import StorageClasses
from raycolor.plan.terminal import show
from raycolor.progress import Progress
from raycolor.sources import Reader, SkippedInputError, Source, open_source
from raycolor.storage.single import locate_own

logger = logging.getLogger(__name__)

_STEP: Final = 1000


def run(config: PlanConfig) -> int:
    """Say what an archive holds and what colorizing it will take; nothing is colorized or written, but for --json.

    Raises:
        ConfigError: settings or places that cannot work.
        CheckpointError: the checkpoint cannot be loaded.
        StorageError: the source cannot be listed, or the file of --json not be written.
    """
    source = open_source(config.source, root=config.root, archives=config.archives, options=config.source_options())
    target = None
    if config.json_file is not None:
        options = {"endpoint_url": config.endpoint_url}
        target = locate_own(config.json_file, "--json ", _is_plan, "is not a plan", **options)
    classes = StorageClasses()
    sample = Sample(config.sample, config.seed)
    if config.sample == 0:
        counts = _list(config, source, classes, sample)
        report = make_report(config, source, counts, [], [], None, start=Start(config.cpus or cpu_count()))
    else:
        # Loading comes first: a wrong checkpoint must not be found out after an hour of listing.
        colorizer = ColorizerConfig.model_validate(config, from_attributes=True)
        with Prober(colorizer, timeout_s=config.image_timeout_s) as prober:
            if prober.card is not None:
                say_license(prober.checkpoint.name, prober.card)
            begun = time.perf_counter()
            counts = _list(config, source, classes, sample)
            list_s = time.perf_counter() - begun
            population, drawn = sample.draw()
            looked = _look(
                config, Reader(source.root, config.source_options(), config.max_file_bytes), classes, prober, drawn
            )
            report = make_report(
                config,
                source,
                counts,
                population,
                looked,
                prober.checkpoint,
                start=begins(config, counts.total, list_s=list_s, worker_s=prober.start_s),
            )
    show(report)
    if target is not None:
        store, name = target
        store.put(name, json.dumps(report, indent=2, ensure_ascii=False).encode() + b"\n")
    return 0


def _list(config: PlanConfig, source: Source, classes: StorageClasses, sample: Sample) -> Counts:
    """List the source once: count all inputs and draw the sample."""
    # The store that is listed is the source's own affair; its answers tell what no listing of ours hands on.
    lister = source.reader.store()
    classes.watch(lister)
    counts = Counts()
    with Progress("list", None, "photographs") as progress:
        for info in source.inputs(None, config.include, config.exclude):
            counts.add(info.key, info.size, classes.listed(lister, info.object))
            sample.add(info)
            if counts.total.inputs % _STEP == 0:
                progress.update(_STEP)
        progress.update(counts.total.inputs - progress.done)
    if counts.total.inputs == 0:
        raise ConfigError(f"{config.source}: holds no files to colorize: check the path, --include and --exclude")
    return counts


def _look(
    config: PlanConfig, reader: Reader, classes: StorageClasses, prober: Prober, drawn: list[Drawn]
) -> list[Looked]:
    """Read and probe the sample, one photograph after the other."""
    looked = []
    failed = 0
    with Progress("sample", len(drawn), "photographs") as progress:
        for stratum, info in drawn:
            classes.watch(reader.store(info.location.uri))
            classes.read = None
            begun = time.perf_counter()
            size, read_s = info.size, None
            try:
                data = reader.get(reader.sized(info))
                size, read_s = len(data), time.perf_counter() - begun
                probed = prober.probe(data)
            except ImageError as exc:
                skipped = isinstance(exc, SkippedInputError)
                probed = Probed("skipped" if skipped else "failed", exc.reason, exc.detail)
            failed += probed.status == "failed"
            looked.append(Looked(stratum, info.key, size, classes.read, read_s, probed))
            progress.update(1, failed=failed)
    return looked


def _is_plan(data: bytes) -> bool:
    try:
        return "raycolor_plan" in json.loads(data)
    except (ValueError, TypeError):
        return False
