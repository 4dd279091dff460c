"""What driver and worker of the bulk job tell each other; small, picklable, and imported without torch."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Protocol

from raycolor.colorize.manifest import ManifestTotals
from raycolor.colorize.outcomes import Tally
from raycolor.colorize.redo import Again
from raycolor.colorizer.config import ColorizerConfig
from raycolor.colorizer.hint_list import HintList
from raycolor.errors import RaycolorError
from raycolor.sources.never_list import NeverList

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from raycolor.colorizer.predict import Predicted

WORKER_START_S: Final = 7.0
"""Of a CPU, until a worker colorizes: most of it imports torch (`benchmarks/startup.py`)."""
RAY_START_S: Final = 13.0
"""From a command's start until a local Ray takes work, without that of its workers (`benchmarks/startup.py`)."""
TRIES_WHEN_BROKEN: Final = 3


class Network(Protocol):
    """What computes color on one device: a `Predictor`, or in tests what takes as long as one."""

    places: int
    """Planes in a pass."""
    ahead: int
    """Passes to begin before the first is waited for."""

    def begin(self, planes: Sequence[NDArray[np.float32]], /) -> Callable[[], list[Predicted]]:
        """See `predict.Begin`."""
        ...


class NetworkGoneError(RaycolorError):
    """The network in another process does not answer; no photograph caused this, so the job stops."""


class PassFailedError(RaycolorError):
    """The network in another process hung, died or failed over a photograph, also over it alone."""


class BrokenWorkerError(RaycolorError):
    """A worker cannot colorize its own test photograph: failures in it are not those of photographs."""

    def __init__(self, message: str, attempts: int) -> None:
        super().__init__(message)
        self.attempts = attempts
        """How often its shard was begun."""

    def __reduce__(self) -> tuple[type[BrokenWorkerError], tuple[str, int]]:
        return type(self), (str(self), self.attempts)


class GivenBack(NamedTuple):
    """Shards that a worker did not begin, because its node would make other bytes: it came after the job had begun."""

    shards: list[int]
    node: str
    """Its id to Ray."""
    name: str
    why: str


@dataclass(frozen=True)
class ShardSpec:
    """What a worker needs to process any shard of one job; picklable."""

    source: str
    """Store of the inputs whose manifest row has no location."""
    dest: str
    totals: ManifestTotals
    colorizer: ColorizerConfig
    image_timeout_s: float = 600.0
    max_file_bytes: int = 2_000_000_000
    """Larger inputs are not read."""
    never: NeverList | None = None
    """What must not be colorized."""
    hints: HintList = field(default_factory=HintList)
    """What is known of colors."""
    run: str = ""
    """Names this run of the driver."""
    source_options: Mapping[str, Any] = field(default_factory=dict)
    """For S3, as `open_store` takes them."""
    dest_options: Mapping[str, Any] = field(default_factory=dict)
    computed_with: str = ""
    """Instruction set of CPUs, or model of the GPU, that the job settled on."""
    device: str = "cpu"
    """Where the network runs."""
    made_of: Mapping[str, str | None] = field(default_factory=dict)
    """Code and libraries of the driver, which a worker must have, too."""
    again: Again | None = None
    """Set where shards may have been done before."""

    images_per_shard: int = 64
    """At most."""

    @property
    def longest_s(self) -> float:
        """Longest that a shard may rightly take: each of its photographs hangs, and then a place is waited for."""
        return self.images_per_shard * self.image_timeout_s + self.patience_s

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
    worker: str = ""
    """The process that did it, as `host:pid`."""


def reports_of(rows: Iterable[list[ShardReport | RaycolorError]]) -> Iterator[ShardReport]:
    """Yield the reports of rows of shards as workers answer them.

    Raises:
        RaycolorError: what ended a row; the reports of the shards before it have been yielded.
    """
    for row in rows:
        for found in row:
            if isinstance(found, RaycolorError):
                raise found
            yield found


def worthwhile_workers(images: int, size: int) -> int:
    """Return how many workers have more to do than it takes to start them.

    Args:
        images: images to do.
        size: their bytes.
    """
    return max(1, math.ceil(work_s(images, size) / WORKER_START_S))


def work_s(images: int, size: int) -> float:
    """Estimate the seconds that one CPU takes for some images, from what a job knows before it has read any.

    32 images, or 32 MB of them, count as much as the start of a worker: on CPUs that multiply bf16 they take a quarter
    of it, on others, and with a heavier network, all of it (`benchmarks/end_to_end.py`).
    """
    return WORKER_START_S * max(images / 32, size / 32e6)
