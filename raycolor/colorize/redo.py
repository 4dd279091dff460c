"""A shard that was done before: which of its outcomes stand, and which inputs are done again."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import Final, Literal

from raycolor.colorize.memory_budget import MemoryBudget
from raycolor.colorize.outcomes import Outcome, find_shard
from raycolor.colorize.signatures import Signature, read_signatures, signature_of, states_of
from raycolor.sources import Input
from raycolor.sources.keys import matches
from raycolor.storage import ObjectStore, get_if_there

_THREADS = 8
WITHDRAWN: Final = "withdrawn"
"""Reason of an output that a review took back."""


@dataclass(frozen=True)
class Again:
    """Which inputs of shards that were done before are done again."""

    number: int = 0
    """Round; records that carry its number, or a later one, have their failures retried already. 0: none."""
    retry: bool = False
    reasons: tuple[str, ...] = ()
    """Reasons of the failures to retry; all if empty."""
    changed: bool = False
    """Inputs that are not what their outcome is about."""
    outputs: Literal["trusted", "there", "same"] = "trusted"
    """Outputs must be there, or have the bytes that were written."""
    revision: int = 0
    """What inputs are made by; but for a redo, only outcomes of this revision are looked at."""
    redo: tuple[str, ...] = ()
    """Globs of keys whose outcomes of other revisions are made again."""
    keys: frozenset[str] | None = None
    """Keys that a review has made again, those that it had withdrawn, too."""

    def wants(self, info: Input | None, outcome: Outcome, number: int) -> bool:
        """Whether an input is done again for itself, whatever its output is.

        Args:
            info: the input as the manifest names it now; None will do where `changed` is not asked for.
            outcome: what became of it.
            number: the round that its completion record carries.
        """
        if self.keys is not None:
            stands = outcome.status == "colorized" and outcome.revision == self.revision
            return number < self.number and not stands and outcome.key in self.keys
        if outcome.reason == WITHDRAWN:
            return False  # but for another review
        if self.redo:
            return number < self.number and outcome.revision != self.revision and matches(outcome.key, self.redo)
        if not self.concerns(outcome):
            return False
        if self.retries(outcome, number):
            return True
        return self.changed and info is not None and self.differs(info, outcome)

    @property
    def chosen(self) -> bool:
        """Whether it is about photographs that are to look otherwise, and not about what was missing."""
        return bool(self.redo) or self.keys is not None

    def concerns(self, outcome: Outcome) -> bool:
        """Whether an outcome would be made again as it was."""
        return outcome.revision == self.revision

    def retries(self, outcome: Outcome, number: int) -> bool:
        """Whether an outcome is a failure that is retried; `number` as for `wants`."""
        if not self.retry or number >= self.number or outcome.status != "failed":
            return False
        return not self.reasons or outcome.reason in self.reasons

    @staticmethod
    def differs(info: Input, outcome: Outcome) -> bool:
        """Whether an outcome is about something else than the input is now, as far as a listing tells."""
        if info.etag:
            return outcome.input_etag != info.etag
        return bool(info.size) and outcome.input_bytes != info.size


@dataclass(frozen=True)
class Standing:
    """What stays of an earlier completion record."""

    kept: dict[str, Outcome] = field(default_factory=dict)
    replaced: tuple[Outcome, ...] = ()
    found: Counter[str] = field(default_factory=Counter)
    """How many inputs are done again, by why: `asked for`, or the output is `missing` or has `changed`; and how many of
    them `stay` as they were."""
    round: int = 0
    """Number that the new record carries."""
    signatures: Mapping[str, Signature] = field(default_factory=dict)
    """Of the shard's outputs, by output key."""

    @property
    def owned(self) -> frozenset[str]:
        """Keys of outputs that may be replaced: an outcome of the job names them."""
        return frozenset(outcome.output_key for outcome in self.replaced if outcome.output_key is not None)

    def settle(self, made: Sequence[Outcome], again: Again | None) -> list[Outcome]:
        """Return the outcomes that are recorded of what was made again, with the revision that they are of.

        A photograph that a redo fails on keeps what it had: a colored one is not lost for a try at a better one.
        """
        before = {outcome.key: outcome for outcome in self.replaced}
        rows = []
        for outcome in made:
            old = before.get(outcome.key)
            stands = old is not None and (old.status == "colorized" or old.reason == WITHDRAWN)
            if again is not None and again.chosen and outcome.status == "failed" and old is not None and stands:
                self.found["stay"] += 1
                rows.append(old)
            else:
                rows.append(replace(outcome, revision=again.revision) if again is not None else outcome)
        return rows

    def drop_outputs(self, dest: ObjectStore, made: Sequence[Outcome]) -> None:
        """Remove outputs of replaced outcomes that have no new one at their key: no record says any more what they are.

        Before the new record is written: a kill in between leaves an output that is missing, and that is noticed.
        """
        now = {outcome.key: outcome for outcome in made}
        for outcome in self.replaced:
            new, key = now.get(outcome.key), outcome.output_key
            signature = signature_of(outcome, self.signatures)
            gone = key is not None and (new is None or new.output_key != key)
            # What somebody else has put there stays.
            if key is not None and gone and _problem(dest, outcome, signature, read=True) is None:
                dest.delete(key)
            if signature is not None and (gone or new is None or new.output_sha256 != signature.output_sha256):
                _drop_manifest(dest, signature)


def standing(dest: ObjectStore, shard: int, inputs: Sequence[Input], again: Again, files: MemoryBudget) -> Standing:
    """Return what of the completion record of a shard stays; nothing if there is none.

    Args:
        dest: the job's destination.
        shard: number of the shard.
        inputs: its inputs as the manifest names them now.
        again: what is to be done again.
        files: bounds the outputs that are held at a time.

    Raises:
        StorageError: the destination cannot be read.
    """
    record = find_shard(dest, shard)
    if record is None:
        return Standing(round=again.number)
    before = {outcome.key: outcome for outcome in record.outcomes}
    signatures = read_signatures(dest, shard)
    kept, replaced, found = {}, [], Counter[str]()
    standing = [(info, before[info.key]) for info in inputs if info.key in before]
    with ThreadPoolExecutor(_THREADS, "outputs") as pool:

        def problem(pair: tuple[Input, Outcome]) -> str | None:
            info, outcome = pair
            if again.wants(info, outcome, record.round):
                return "asked for"
            if again.outputs == "trusted" or not again.concerns(outcome):
                return None
            signature = signature_of(outcome, signatures)
            with files.hold(max(states_of(outcome, signature).values())):
                return _problem(dest, outcome, signature, read=again.outputs == "same")

        problems = pool.map(problem, standing)
        for (_, outcome), trouble in zip(standing, problems, strict=True):
            if trouble is None:
                kept[outcome.key] = outcome
            else:
                replaced.append(outcome)
                found[trouble] += 1
    return Standing(kept, tuple(replaced), found, again.number or record.round, signatures)


def _problem(dest: ObjectStore, outcome: Outcome, signature: Signature | None, *, read: bool) -> str | None:
    """Return `missing` or `changed` for an output that is neither as it was made nor as it was signed.

    Looks at its bytes if `read`.
    """
    if outcome.output_key is None:
        return None
    if not read:
        return None if dest.stat(outcome.output_key) else "missing"
    data = get_if_there(dest, outcome.output_key)
    if data is None:
        return "missing"
    return None if hashlib.sha256(data).hexdigest() in states_of(outcome, signature) else "changed"


def _drop_manifest(dest: ObjectStore, signature: Signature) -> None:
    """Remove a detached manifest that tells of bytes that are no more, unless somebody else has put another there."""
    if signature.manifest_key is not None:
        data = get_if_there(dest, signature.manifest_key)
        if data is not None and hashlib.sha256(data).hexdigest() == signature.manifest_sha256:
            dest.delete(signature.manifest_key)
