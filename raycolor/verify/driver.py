"""`raycolor verify`: whether the outputs of a job are what its outcomes say, and what else lies beside them."""

from __future__ import annotations

import csv
import logging
import tempfile
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Final, Literal, NamedTuple

from raycolor.colorize.finished import finished_job, finished_shards, sha256_of
from raycolor.colorize.job_record import JobRecord
from raycolor.colorize.outcomes import Outcome
from raycolor.progress import Progress
from raycolor.sources.csv_cells import guard
from raycolor.sources.key_set import KeySet
from raycolor.storage import ObjectStore, open_store
from raycolor.storage.base import RECORDS
from raycolor.storage.single import locate_own
from raycolor.verify.config import VerifyConfig

logger = logging.getLogger(__name__)

_THREADS: Final = 8
_SHOWN: Final = 20

Kind = Literal["missing", "changed", "foreign"]


class Problem(NamedTuple):
    """One file that is not what the outcomes say; the fields are the columns of `--csv`."""

    key: str
    """Where the file lies, or should lie, in DEST."""
    problem: Kind
    detail: str


def run(config: VerifyConfig) -> int:
    """Check the outputs of a job; returns 0, or 1 if any is missing or has changed. Changes nothing in DEST.

    Raises:
        ManifestError: there is no finished job, or its records are damaged.
        StorageError: the destination cannot be read.
    """
    dest = open_store(config.dest, must_exist=True, endpoint_url=config.endpoint_url)
    target = None
    if config.csv_file is not None:
        header, options = ",".join(Problem._fields).encode(), {"endpoint_url": config.endpoint_url}
        target = locate_own(
            config.csv_file, "--csv ", lambda data: data.startswith(header), "is no list of problems", **options
        )
    record = finished_job(dest)
    counts = Counter[str]()
    with tempfile.TemporaryDirectory(prefix="raycolor-verify-") as folder:
        path = Path(folder) / "problems.csv"
        with path.open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(Problem._fields)
            for found in check(dest, record):
                counts["outputs"] += 1
                if found is None:
                    continue
                counts[found.problem] += 1
                writer.writerow([guard(cell) for cell in found])
                if counts["missing"] + counts["changed"] + counts["foreign"] <= _SHOWN:
                    logger.warning("%s: %s (%s)", found.key, found.problem, found.detail)
        if target is not None:
            target[0].put_file(target[1], path)
    problems = counts["missing"] + counts["changed"]
    shown = counts["outputs"] - counts["foreign"]
    logger.info(
        "%s: %s outputs, %s as recorded, %s missing, %s changed; %s other files",
        dest.uri,
        *(f"{n:,}" for n in (shown, shown - problems, counts["missing"], counts["changed"], counts["foreign"])),
    )
    if problems:
        logger.info("make them again: the command of the job with --verify")
    return 1 if problems else 0


def check(dest: ObjectStore, record: JobRecord) -> Iterator[Problem | None]:
    """Yield for each output what is wrong with it, None if nothing is, and then each file that is no output.

    Memory grows neither with the number of outputs nor with their size.

    Raises:
        ManifestError: a record is damaged, or an input has no outcome.
        StorageError: the destination cannot be read.
    """
    with (
        KeySet() as known,
        Progress("verify", record.manifest.images) as progress,
        ThreadPoolExecutor(_THREADS, "verify") as pool,
    ):
        for shard in finished_shards(dest, record):
            made = [outcome for outcome in shard.outcomes if outcome.output_key is not None]
            for outcome in made:
                known.add(str(outcome.output_key))
            yield from pool.map(partial(_problem, dest), made)
            progress.update(len(shard.outcomes))
        for there in dest.list():
            if not there.key.startswith(RECORDS) and there.key not in known:
                yield Problem(there.key, "foreign", "the job did not make it")


def _problem(dest: ObjectStore, outcome: Outcome) -> Problem | None:
    """Return what is wrong with one output."""
    key = str(outcome.output_key)
    there = dest.stat(key)
    if there is None:
        return Problem(key, "missing", f"output of {outcome.key}")
    if there.size != outcome.output_bytes:
        return Problem(key, "changed", f"{there.size:,} bytes instead of {outcome.output_bytes or 0:,}")
    if sha256_of(dest, key, there.size) != outcome.output_sha256:
        return Problem(key, "changed", "other bytes of the same number")
    return None
