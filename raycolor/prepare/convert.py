"""One shard of a dataset: read its photographs, convert them, write it."""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray

from raycolor.child_process import Ask, Child, ChildDiedError, Work
from raycolor.color.tone import classify_tone
from raycolor.dataset.planes import colorfulness, planes_of, square_rgb
from raycolor.dataset.shards import encode_shard
from raycolor.errors import ImageError
from raycolor.prepare.config import PrepareConfig
from raycolor.sources.location import Input
from raycolor.sources.reader import Reader
from raycolor.storage import ObjectStore
from raycolor.storage.patience import local_store

Square = NDArray[np.uint8] | NDArray[np.uint16]
"""(S, S, 3) RGB, as `square_rgb` returns it."""

_READS_AT_ONCE: Final = 16  # an S3 GET waits some 30 to 100 ms for its first byte, a conversion takes 3


@dataclass
class ShardResult:
    """What became of the candidates of one shard."""

    seen: int = 0
    """Candidates looked at: all of them, or as many as it took to fill the limit."""
    rows: int = 0
    bytes: int = 0
    """Size of the Parquet file; 0 if there was no row to write."""
    sha256: str = ""
    dropped: list[dict[str, Any]] = field(default_factory=list)
    bad: list[dict[str, Any]] = field(default_factory=list)
    kinds: dict[str, int] = field(default_factory=lambda: {"gray": 0, "toned": 0, "color": 0})
    """How many rows look gray, toned, or in color."""


def convert_shard(
    reader: Reader,
    inputs: Sequence[Input],
    dataset: ObjectStore,
    path: str,
    config: PrepareConfig,
    *,
    limit: int | None = None,
    square: Callable[[bytes, int], Square] = square_rgb,
) -> ShardResult:
    """Convert candidates in their order and write those that are good as one shard.

    Args:
        reader: reads the candidates.
        inputs: the candidates of this shard.
        dataset: where the shard goes.
        path: its key there.
        config: side of the stored squares and least colorfulness: above 0, gray and toned photographs are left out too.
        limit: stop after so many rows.
        square: decodes a photograph to a square; `IsolatedSquares` outlives decoders that die.

    Raises:
        StorageError: the shard cannot be written. A photograph that cannot be read is listed in `bad` instead.
    """
    cv2.setNumThreads(1)  # one worker process per CPU already
    size_px = config.size_px
    limit = len(inputs) if limit is None else min(limit, len(inputs))
    ids: list[str] = []
    L = np.empty((limit, size_px, size_px), np.uint8)
    ab = np.empty((limit, 2, size_px, size_px), np.int8)
    result = ShardResult()
    for info, data in _read_in_order(reader, inputs):
        if len(ids) == limit:
            break
        result.seen += 1
        try:
            rgb = square(data.result(), size_px)
        except ImageError as exc:
            result.bad.append({"key": info.key, "reason": exc.reason, "detail": exc.detail})
            continue
        except ChildDiedError as exc:
            result.bad.append({"key": info.key, "reason": "internal_error", "detail": str(exc)})
            continue
        kind = classify_tone(rgb)
        reason, value = _why_drop(rgb, kind, config.min_colorfulness)
        if reason:
            result.dropped.append({"key": info.key, "reason": reason, "colorfulness": round(value, 2)})
            continue
        result.kinds[kind] += 1
        L[len(ids)], ab[len(ids)] = planes_of(rgb)
        ids.append(info.key)
    result.rows = len(ids)
    if ids:
        shard = encode_shard(ids, L[: len(ids)], ab[: len(ids)])
        dataset.put(path, shard)
        result.bytes, result.sha256 = len(shard), hashlib.sha256(shard).hexdigest()
    return result


def _why_drop(
    rgb: NDArray[np.uint8] | NDArray[np.uint16], kind: str, min_colorfulness: float
) -> tuple[str | None, float]:
    """Return why a photograph is left out, or None, and its colorfulness."""
    if min_colorfulness <= 0:
        return None, 0.0
    value = colorfulness(rgb)
    if kind != "color":
        return kind, value
    return ("dull" if value < min_colorfulness else None), value


class IsolatedSquares:
    """Runs `square_rgb` in a child process, so that a decoder that dies or hangs costs one photograph.

    Args:
        timeout_s: seconds after which a picture has hung.
        command: the child, as `Child` takes it.
    """

    def __init__(self, timeout_s: float, command: Sequence[str] = ()) -> None:
        self.child = Child("raycolor.prepare.convert:make_squares", None, timeout_s=timeout_s, command=command)

    def __call__(self, data: bytes, size_px: int) -> Square:
        """Decode one photograph.

        Raises:
            ImageError: as `square_rgb`.
            ChildDiedError: the child died of it or took longer than the timeout.
            ChildStartError: there is no child.
        """
        rgb: Square = self.child.ask(size_px, data)[0]
        return rgb


def make_squares(options: None, ask: Ask) -> Work:
    """Be the task of the child."""
    cv2.setNumThreads(1)
    return lambda size_px, data: (square_rgb(data, size_px), b"")


def _read_in_order(reader: Reader, inputs: Sequence[Input]) -> Iterator[tuple[Input, Future[bytes]]]:
    """Yield the bytes of each input in order; over a network the next ones are under way meanwhile."""
    ahead = _READS_AT_ONCE if local_store(reader.store(inputs[0].location.uri)) is None else 1
    pool = ThreadPoolExecutor(ahead, thread_name_prefix="raycolor-read")
    try:
        under_way: deque[tuple[Input, Future[bytes]]] = deque()
        for info in inputs:
            # A dataset of thumbnails is what somebody may want: names forbid nothing here.
            under_way.append((info, pool.submit(lambda info: reader.get_any(reader.sized(info)), info)))
            if len(under_way) > ahead:
                yield under_way.popleft()
        yield from under_way
    finally:
        pool.shutdown(cancel_futures=True)
