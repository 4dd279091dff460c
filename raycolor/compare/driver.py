"""`raycolor compare`: what several jobs made of the same photographs, on one page beside the originals."""

from __future__ import annotations

import io
import logging
import random
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from functools import partial
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from raycolor.codecs.thumbnail import data_uri, photo_thumbnail
from raycolor.color.arrays import rgb_to_lab
from raycolor.colorize.finished import reader_of
from raycolor.colorize.job_record import JobRecord, read_job
from raycolor.colorize.manifest import Manifest
from raycolor.colorize.outcomes import Outcome, read_outcomes
from raycolor.compare.config import CompareConfig
from raycolor.errors import ConfigError, ImageError
from raycolor.pages.render import render
from raycolor.progress import Progress
from raycolor.sources.key_set import KeySet
from raycolor.sources.keys import matches
from raycolor.storage import open_store
from raycolor.storage.single import locate_own

logger = logging.getLogger(__name__)

_SIDE_PX: Final = 360
_MOST_JOBS: Final = 4
_SHOWN_ELSEWHERE: Final = ("_sha256", "checkpoint")
_MARK: Final = b'<meta name="generator" content="raycolor compare">'


class _Job:
    """One of the jobs that are compared."""

    def __init__(self, place: str, options: dict[str, Any]) -> None:
        self.dest = open_store(place, must_exist=True, **options)
        found = read_job(self.dest)
        if found is None:
            raise ConfigError(f"{place}: holds no job of `raycolor colorize`: give its DEST")
        self.record: JobRecord = found
        self.chosen: dict[str, Outcome] = {}
        self.colorized = 0


def run(config: CompareConfig) -> int:
    """Write a page of what jobs made of a sample of the photographs that all of them colorized.

    Memory does not grow with their number. Nothing in the destinations is changed.

    Returns:
        0.

    Raises:
        ConfigError: a place without a job, no photograph in all of them, or a page that is somebody else's.
        StorageError: a place cannot be read, or the page not be written.
    """
    if not 2 <= len(config.out) <= _MOST_JOBS:
        raise ConfigError(f"OUT: {len(config.out)} given: compare two to {_MOST_JOBS} destinations")
    options = {"endpoint_url": config.endpoint_url}
    store, name = locate_own(config.page, "--page ", lambda data: _MARK in data[:4096], "is no comparison", **options)
    jobs = [_Job(place, options) for place in config.out]
    common = _choose(jobs, config)
    if not common:
        raise ConfigError(f"{' '.join(config.out)}: no photograph was colorized in all: check them and --include")
    keys = sorted(jobs[0].chosen)
    with Progress("compare", len(keys), "photographs") as progress:
        rows = []
        manifest = Manifest(jobs[0].dest, jobs[0].record.manifest)
        reader = reader_of(jobs[0].record, config.endpoint_url)
        for key in keys:
            row = _row(key, jobs, partial(manifest.read, reader))
            if row is not None:
                rows.append(row)
            progress.update(1)
    rows.sort(key=lambda row: (-row["difference"], row["key"]))
    page = render(
        "compare/page.html",
        title="Colorized side by side",
        jobs=[_about(job, jobs[0]) for job in jobs],
        rows=rows,
        common=common,
        gone=len(keys) - len(rows),
    )
    store.put(name, page.encode())
    logger.info("%d of %s photographs in all of them: %s", len(rows), f"{common:,}", config.page)
    return 0


def _choose(jobs: Sequence[_Job], config: CompareConfig) -> int:
    """Draw the sample, and give each job its outcomes of it; return how many photographs are in all jobs."""
    generator = random.Random(config.seed)
    with ExitStack() as books:
        there = [books.enter_context(KeySet()) for _ in jobs[1:]]
        for job, keys in zip(jobs[1:], there, strict=True):
            for outcome in read_outcomes(job.dest):
                if outcome.output_key is not None:
                    keys.add(outcome.key)
                    job.colorized += 1
        common, drawn = 0, list[Outcome]()
        for outcome in read_outcomes(jobs[0].dest):
            if outcome.output_key is None:
                continue
            jobs[0].colorized += 1
            wanted = not config.include or matches(outcome.key, config.include)
            if not wanted or not all(outcome.key in keys for keys in there):
                continue
            common += 1
            if len(drawn) < config.photographs:
                drawn.append(outcome)
            elif (place := generator.randrange(common)) < config.photographs:
                drawn[place] = outcome
    jobs[0].chosen = {outcome.key: outcome for outcome in drawn}
    for job in jobs[1:]:
        job.chosen = {outcome.key: outcome for outcome in read_outcomes(job.dest) if outcome.key in jobs[0].chosen}
    return common


def _row(key: str, jobs: Sequence[_Job], original: Callable[[str], bytes]) -> dict[str, Any] | None:
    """Return the pictures of one photograph; None where one of them has gone."""
    try:
        before = photo_thumbnail(original(key), _SIDE_PX)
        made = [photo_thumbnail(job.dest.get(str(job.chosen[key].output_key)), _SIDE_PX) for job in jobs]
    except ImageError as exc:
        logger.warning("%s is left out: %s", key, exc)
        return None
    colors = [_ab(jpeg) for jpeg in made]
    apart = [float(np.hypot(*np.moveaxis(one - colors[0], -1, 0)).mean()) for one in colors[1:]]
    return {
        "key": key,
        "before": data_uri(before),
        "made": [
            {"picture": data_uri(jpeg), "revision": job.chosen[key].revision}
            for jpeg, job in zip(made, jobs, strict=True)
        ],
        "difference": max(apart),
    }


def _ab(jpeg: bytes) -> NDArray[np.float64]:
    """Return a and b of a small picture, (64, 64, 2) in Lab units."""
    picture = Image.open(io.BytesIO(jpeg)).convert("RGB").resize((64, 64), Image.Resampling.BOX)
    return np.asarray(rgb_to_lab(np.asarray(picture, np.float64) / 255), np.float64)[..., 1:]


def _about(job: _Job, first: _Job) -> dict[str, Any]:
    """Return what the page says of a job: how it was made, in what else than the first."""
    own, others = job.record.identity, first.record.identity
    names = sorted(own.keys() | others.keys())
    differing = [name for name in names if own.get(name) != others.get(name) and not name.endswith(_SHOWN_ELSEWHERE)]
    return {
        "place": job.dest.uri,
        "checkpoint": job.record.checkpoint,
        "colorized": job.colorized,
        "revisions": len(job.record.revisions),
        "differences": {name: own.get(name) for name in differing},
    }
