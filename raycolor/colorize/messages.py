"""What driver and worker of the bulk job tell each other; small, picklable, and imported without torch."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from raycolor.colorize.manifest import ManifestTotals
from raycolor.colorize.outcomes import Outcome, Tally
from raycolor.colorizer.options import ColorizerOptions
from raycolor.errors import RaycolorError
from raycolor.storage import Located, ObjectInfo


class NetworkGoneError(RaycolorError):
    """The network that runs elsewhere does not answer: no photograph's fault, so that the job stops."""


class BrokenWorkerError(RaycolorError):
    """A worker cannot colorize its own test picture: what fails in it is no photograph's fault."""

    def __init__(self, message: str, attempts: int) -> None:
        super().__init__(message)
        self.attempts = attempts
        """How often its shard was begun."""

    def __reduce__(self) -> tuple[type[BrokenWorkerError], tuple[str, int]]:
        return type(self), (str(self), self.attempts)


class UnfitNodeError(RaycolorError):
    """A node that would make other bytes than the job's: it came after the job had begun."""


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

    def wants(self, info: ObjectInfo | Located | None, outcome: Outcome, number: int) -> bool:
        """Whether an input is done again for itself, whatever its output is.

        Args:
            info: the input as the manifest names it now; None will do where `changed` is not asked for.
            outcome: what became of it.
            number: the round that its completion record carries.
        """
        if self.retries(outcome, number):
            return True
        return self.changed and info is not None and self.differs(info, outcome)

    def retries(self, outcome: Outcome, number: int) -> bool:
        """Whether an outcome is a failure that is retried; `number` as for `wants`."""
        if not self.retry or number >= self.number or outcome.status != "failed":
            return False
        return not self.reasons or outcome.reason in self.reasons

    @staticmethod
    def differs(info: ObjectInfo | Located, outcome: Outcome) -> bool:
        """Whether an outcome is about something else than the input is now, as far as a listing tells."""
        if info.etag:
            return outcome.input_etag != info.etag
        return bool(info.size) and outcome.input_bytes != info.size


@dataclass(frozen=True)
class ShardSpec:
    """What a worker needs to process any shard of one job; picklable."""

    source: str
    """Store of the inputs whose manifest row has no location."""
    dest: str
    totals: ManifestTotals
    options: ColorizerOptions
    image_timeout_s: float = 600.0
    max_file_bytes: int = 2_000_000_000
    """Larger inputs are not read."""
    run: str = ""
    """Names this run of the driver."""
    source_options: Mapping[str, Any] = field(default_factory=dict)
    """For S3, as `open_store` takes them."""
    dest_options: Mapping[str, Any] = field(default_factory=dict)
    computed_with: str = ""
    """Instruction set of CPUs, or model of the GPU, that the job settled on."""
    device: str = "cpu"
    """Where the network runs."""
    again: Again | None = None
    """Set where shards may have been done before."""

    @property
    def patience_s(self) -> float:
        """Longest wait for a place that does not answer."""
        return float(self.dest_options.get("patience_s", 0.0))


@dataclass
class ShardReport:
    """What a worker tells the driver about a finished shard: small, whatever the photographs' size."""

    shard: int
    tally: Tally
    started: float
    """Unix time at which its first image was begun."""
    ended: float
    """Unix time at which its last image was written."""
    images: int = 0
    """Images it was about: those that were done, and those whose outputs were looked at."""
    found: Counter[str] = field(default_factory=Counter)
    """Of these, how many outputs of an earlier run were `missing` or had `changed`."""


def worthwhile_workers(images: int, size: int) -> int:
    """Return how many workers have more to do than it takes to start them (about 7 s of a CPU, most of it torch).

    Args:
        images: images to do.
        size: their bytes.
    """
    return max(1, math.ceil(images / 32), math.ceil(size / 32e6))
