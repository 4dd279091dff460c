"""`raycolor verify`: whether outputs are what outcomes and signatures say, and what else lies beside them."""

from __future__ import annotations

import hashlib
import logging
import tempfile
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final, Literal, NamedTuple

from raycolor.colorize.finished import finished_job, finished_shards, sha256_of
from raycolor.colorize.job_record import JobRecord
from raycolor.colorize.memory_budget import MemoryBudget
from raycolor.colorize.outcomes import Outcome
from raycolor.colorize.signatures import Signature, is_signed, read_signatures, signature_of, states_of
from raycolor.progress import Progress, printable
from raycolor.sign import credentials
from raycolor.sources.csv_cells import csv_rows, guard
from raycolor.sources.key_set import KeySet
from raycolor.storage import ObjectStore, get_if_there, open_store
from raycolor.storage.base import RECORDS
from raycolor.storage.single import locate_own
from raycolor.verify.config import VerifyConfig

logger = logging.getLogger(__name__)

_THREADS: Final = 8
_HELD_BYTES: Final = 256 * 2**20
_SHOWN: Final = 20

Kind = Literal["missing", "changed", "foreign"]


class Problem(NamedTuple):
    """One file that is not what the records say; the fields are the columns of `--csv`."""

    key: str
    """Where the file lies, or should lie, in DEST."""
    problem: Kind
    detail: str


def run(config: VerifyConfig) -> int:
    """Check the outputs of a job and their signatures; returns 0, or 1 if any is missing or has changed.

    Changes nothing in DEST.

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
        with csv_rows(path, Problem._fields) as writer:
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
        logger.info(
            "outputs: make them again by the command of the job with --verify; signatures: run `raycolor sign` again"
        )
    return 1 if problems else 0


def check(dest: ObjectStore, record: JobRecord) -> Iterator[Problem | None]:
    """Yield for each output what is wrong with it, None if nothing is, and then each file that is no output.

    Memory grows neither with the number of outputs nor with their size; a signature alone is checked in memory.

    Raises:
        ManifestError: a record is damaged, or an input has no outcome.
        StorageError: the destination cannot be read.
    """
    signed = is_signed(dest)
    readable = signed and credentials.can_read()
    if signed and not readable:
        logger.warning("signatures are compared with their records alone: `pip install 'raycolor[sign]'` reads them")
    made_by_network = with_signature = 0
    look = _Look(dest, MemoryBudget(_HELD_BYTES), readable)
    with (
        KeySet() as known,
        Progress("verify", record.manifest.images) as progress,
        ThreadPoolExecutor(_THREADS, "verify") as pool,
    ):
        for shard in finished_shards(dest, record):
            made = [outcome for outcome in shard.outcomes if outcome.output_key is not None]
            signatures = read_signatures(dest, shard.shard) if signed else {}
            pairs = [(outcome, signature_of(outcome, signatures)) for outcome in made]
            made_by_network += sum(outcome.status == "colorized" for outcome in made)
            with_signature += sum(signature is not None for _, signature in pairs)
            for outcome, signature in pairs:
                known.add(str(outcome.output_key))
                if signature is not None and signature.manifest_key is not None:
                    known.add(signature.manifest_key)
            yield from pool.map(look.problem, pairs)
            progress.update(len(shard.outcomes))
        for there in dest.list():
            if not there.key.startswith(RECORDS) and there.key not in known:
                yield Problem(there.key, "foreign", "the job did not make it")
    if signed:
        logger.info("signed: %s of %s colorized photographs", f"{with_signature:,}", f"{made_by_network:,}")


class _Look(NamedTuple):
    """Looks at outputs, from several threads."""

    dest: ObjectStore
    budget: MemoryBudget
    reads_signatures: bool

    def problem(self, pair: tuple[Outcome, Signature | None]) -> Problem | None:
        """Return what is wrong with one output or its signature."""
        outcome, signature = pair
        key, states = str(outcome.output_key), states_of(outcome, signature)
        there = self.dest.stat(key)
        if there is None:
            return Problem(key, "missing", f"output of {outcome.key}")
        if there.size not in states.values():
            sizes = " or ".join(f"{size:,}" for size in states.values())
            return Problem(key, "changed", f"{there.size:,} bytes instead of {sizes}{self._by_whom(key, there.size)}")
        sha256 = sha256_of(self.dest, key, there.size)
        if sha256 not in states:
            return Problem(key, "changed", "other bytes of the same number")
        return None if signature is None else self._signature_problem(signature, sha256, there.size)

    def _signature_problem(self, signature: Signature, sha256: str, size: int) -> Problem | None:
        """Return what is wrong with the signature of an output whose bytes are right."""
        key, manifest = signature.output_key, None
        if signature.manifest_key is not None:
            key = signature.manifest_key
            manifest = get_if_there(self.dest, key)
            if manifest is None:
                return Problem(key, "missing", f"signature of {signature.output_key}")
            if hashlib.sha256(manifest).hexdigest() != signature.manifest_sha256:
                return Problem(key, "changed", f"another signature of {signature.output_key} than was made")
        elif sha256 != signature.signed_sha256:
            return Problem(key, "missing", "its signature: the output is as it was before it was signed")
        if not self.reads_signatures:
            return None
        with self.budget.hold(2 * size):
            why = credentials.problem_of(self.dest.get(signature.output_key), manifest)
        return None if why is None else Problem(key, "changed", f"its signature is not valid: {why}")

    def _by_whom(self, key: str, size: int) -> str:
        """Return who else has signed an output, for a message; nothing where that cannot be said."""
        if not self.reads_signatures:
            return ""
        with self.budget.hold(2 * size):
            other = credentials.signer_of(self.dest.get(key))
        return "" if other is None else f"; signed by {printable(other)}, not as the records say"
