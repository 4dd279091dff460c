"""`raycolor sign`: Content Credentials for every colorized output of a finished job."""

from __future__ import annotations

import datetime
import hashlib
import json
import logging
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Final

from raycolor import __version__
from raycolor.colorize.finished import finished_job, finished_shards, originals_of
from raycolor.colorize.job_record import JobRecord
from raycolor.colorize.manifest import Manifest
from raycolor.colorize.memory_budget import MemoryBudget
from raycolor.colorize.outcomes import Outcome, ShardOutcomes
from raycolor.colorize.signatures import (
    SIGNED_SUMMARY,
    Signature,
    read_signatures,
    signature_of,
    write_signatures,
)
from raycolor.errors import ImageError
from raycolor.progress import Progress, printable
from raycolor.sign.certificate import Identity, load_identity
from raycolor.sign.config import SignConfig
from raycolor.sign.credentials import MANIFEST_SUFFIX, Made, Signed, Signer, SigningError
from raycolor.sources import Input, Reader
from raycolor.storage import ObjectStore, get_if_there, open_store
from raycolor.storage.lease import Lease

logger = logging.getLogger(__name__)

_THREADS: Final = 8
_HELD_BYTES: Final = 256 * 2**20
_SHOWN: Final = 20


def run(config: SignConfig) -> int:
    """Sign the outputs of a job; the same command goes on with what was stopped, and signs nothing twice.

    Returns:
        0, or 1 if an output could not be signed.

    Raises:
        ConfigError: the certificate or the key cannot be used, or the originals are not there.
        ManifestError: there is no finished job, its records are damaged, or it is being written.
        StorageError: the destination cannot be read or written.
    """
    identity = load_identity(config.certificate, config.key)
    signer = Signer(identity)
    dest = open_store(config.dest, must_exist=True, endpoint_url=config.endpoint_url)
    # Before the lease is written into a place that is no job's.
    why = "what is signed names the SHA-256 of every original"
    originals = originals_of(finished_job(dest), config.endpoint_url, why)
    with Lease(dest):
        record = finished_job(dest)
        # Nobody else writes here: what looks half-written was left by a killed run.
        dest.sweep(older_than_s=0)
        work = _Pass(dest, record, originals, identity, signer, config.detached)
        work.sign_all()
        work.write_summary()
    done = work.counts
    logger.info(
        "%s: %s signed now (%s embedded, %s detached), %s before; signed by %s, until %s", dest.uri,
        *(f"{n:,}" for n in (done["embedded"] + done["detached"], done["embedded"], done["detached"], done["before"])),
        printable(identity.subject), f"{identity.ends:%Y-%m-%d}",
        extra={"event": "signed", "fields": dict(done)},
    )  # fmt: skip
    if done["problem"]:
        logger.error("%s could not be signed: mend them and run the same command again", f"{done['problem']:,}")
    return 1 if done["problem"] else 0


_Ready = tuple[Signature, Signed]
"""One output with its signature, not written yet."""


@dataclass
class _Pass:
    """One run over the outputs of a job."""

    dest: ObjectStore
    record: JobRecord
    reader: Reader
    identity: Identity
    signer: Signer
    detached: bool
    counts: Counter[str] = field(default_factory=Counter)
    """How many outputs were signed `embedded` or `detached` now, or `before`, and how many are a `problem`."""

    def __post_init__(self) -> None:
        self._budget = MemoryBudget(_HELD_BYTES)
        self._manifest = Manifest(self.dest, self.record.manifest)

    def sign_all(self) -> None:
        """Sign shard by shard; memory grows neither with the number of outputs nor with their size together."""
        with Progress("sign", self.record.manifest.images) as progress, ThreadPoolExecutor(_THREADS, "sign") as pool:
            for shard in finished_shards(self.dest, self.record):
                self._sign_shard(shard, pool)
                progress.update(len(shard.outcomes))

    def _sign_shard(self, shard: ShardOutcomes, pool: ThreadPoolExecutor) -> None:
        # What was copied as it came has no color of a network.
        colorized = [one for one in shard.outcomes if one.output_key is not None and one.status == "colorized"]
        before = read_signatures(self.dest, shard.shard)
        rows = {key: row for one in colorized if (row := signature_of(one, before)) for key in [row.output_key]}
        done = list(pool.map(lambda one: self._is_done(one, rows), colorized))
        todo = [one for one, is_done in zip(colorized, done, strict=True) if not is_done]
        self.counts["before"] += len(colorized) - len(todo)
        if not todo:
            return
        inputs = {info.key: info for info in self._manifest.shard(shard.shard)}
        for some in _groups(todo):
            ready = list(self._prepare(some, inputs, before, pool))
            rows.update({row.output_key: row for row, _ in ready})
            # First what may be found in DEST, then what is: a kill in between leaves nothing that no record knows.
            write_signatures(self.dest, shard.shard, [rows[key] for key in sorted(rows)])
            self.counts.update(pool.map(self._put, ready))

    def _is_done(self, outcome: Outcome, rows: dict[str, Signature]) -> bool:
        """Whether an output stands as it was signed, by size: `raycolor verify` reads."""
        row = signature_of(outcome, rows)
        if row is None:
            return False
        if row.manifest_key is None:
            there = self.dest.stat(row.output_key)
            return there is not None and there.size == row.signed_bytes != outcome.output_bytes
        there = self.dest.stat(row.manifest_key)
        return there is not None and there.size == row.manifest_bytes and self.dest.stat(row.output_key) is not None

    def _prepare(
        self,
        outcomes: Sequence[Outcome],
        inputs: dict[str, Input],
        before: dict[str, Signature],
        pool: ThreadPoolExecutor,
    ) -> Iterator[_Ready]:
        """Sign outputs in memory; what cannot be signed is told, and left out."""
        # Members of a packed archive are unpacked from its front, one after the other.
        packed = any(self.reader.in_order(inputs[one.key]) for one in outcomes if one.key in inputs)

        def sign(one: Outcome) -> _Ready | str:
            with self._budget.hold(one.input_bytes + 3 * (one.output_bytes or 0)):
                try:
                    return self._sign(one, inputs.get(one.key), before.get(str(one.output_key)))
                except (ImageError, SigningError) as exc:
                    return str(exc)

        for outcome, made in zip(outcomes, map(sign, outcomes) if packed else pool.map(sign, outcomes), strict=True):
            if not isinstance(made, str):
                yield made
                continue
            self.counts["problem"] += 1
            if self.counts["problem"] <= _SHOWN:
                logger.warning("%s: not signed: %s", printable(str(outcome.output_key)), printable(made))

    def _sign(self, outcome: Outcome, info: Input | None, before: Signature | None) -> _Ready:
        """Sign one output.

        Raises:
            ImageError: the original cannot be read.
            SigningError: the output or the original is another than was colorized, or somebody's file is in the way.
        """
        key = str(outcome.output_key)
        data = get_if_there(self.dest, key)
        if data is None or hashlib.sha256(data).hexdigest() != outcome.output_sha256:
            what = "is missing" if data is None else "has changed since it was made"
            raise SigningError(f"the output {what}: make it again by the command of the job with --verify")
        original = self._original(outcome, info)
        point = self.record.made_by(outcome.revision)
        made = Made(
            key,
            str(outcome.output_sha256),
            outcome.key,
            hashlib.sha256(original).hexdigest(),
            original,
            point.checkpoint,
            self.record.raycolor_version,
            point.created,
        )
        signed = self.signer.sign(data, made, detached=self.detached)
        manifest_key = None if signed.manifest is None else key + MANIFEST_SUFFIX
        if manifest_key is not None:
            self._check_free(manifest_key, before)
        row = Signature(
            key,
            made.output_sha256,
            len(signed.data),
            hashlib.sha256(signed.data).hexdigest(),
            manifest_key,
            None if signed.manifest is None else len(signed.manifest),
            None if signed.manifest is None else hashlib.sha256(signed.manifest).hexdigest(),
            made.original_sha256,
            self.identity.sha256,
            _now(),
        )
        return row, signed

    def _original(self, outcome: Outcome, info: Input | None) -> bytes:
        if info is None:
            raise SigningError("its original is not in the manifest")
        data = self.reader.get_any(self.reader.sized(info))
        if len(data) != outcome.input_bytes:
            raise SigningError(
                f"its original has {len(data):,} bytes instead of {outcome.input_bytes:,}: colorize it again, --add-new"
            )
        return data

    def _check_free(self, key: str, before: Signature | None) -> None:
        """Refuse to replace a file that no record names."""
        there = get_if_there(self.dest, key)
        if there is None or (before is not None and hashlib.sha256(there).hexdigest() == before.manifest_sha256):
            return
        raise SigningError(f"{key} exists already, and this job did not make it: move it away")

    def _put(self, ready: _Ready) -> str:
        """Write one output, or its manifest; return which."""
        row, (data, manifest) = ready
        if manifest is None:
            self.dest.put(row.output_key, data)
            return "embedded"
        self.dest.put(str(row.manifest_key), manifest)
        return "detached"

    def write_summary(self) -> None:
        """Say at last what was done, for people."""
        summary = {
            "raycolor_version": __version__,
            "ended": _now(),
            "complete": not self.counts["problem"],
            "counts": {name: self.counts[name] for name in ("embedded", "detached", "before", "problem")},
            "certificate": {
                "subject": self.identity.subject,
                "sha256": self.identity.sha256,
                "valid_until": self.identity.ends.isoformat(timespec="seconds"),
            },
        }
        self.dest.put(SIGNED_SUMMARY, json.dumps(summary, indent=2).encode() + b"\n")


def _groups(outcomes: Sequence[Outcome]) -> Iterator[list[Outcome]]:
    """Cut a shard into parts whose signed outputs fit into memory together."""
    some, held = list[Outcome](), 0
    for one in outcomes:
        if some and held + (one.output_bytes or 0) > _HELD_BYTES:
            yield some
            some, held = [], 0
        some.append(one)
        held += one.output_bytes or 0
    if some:
        yield some


def _now() -> str:
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
