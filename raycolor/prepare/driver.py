"""Photographs to a Lab dataset on Ray Data: one task converts and writes one shard."""

from __future__ import annotations

import functools
import json
import logging
import re
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from typing import Any, Final

import ray
from ray.data import DataContext, TaskPoolStrategy

from raycolor import __version__
from raycolor.dataset.info import DATASET_FILE, DatasetInfo, ShardInfo, write_dataset
from raycolor.dataset.split import KEPT_SPLIT_RULE, SPLIT_RULE, SPLITS, order_key, split_of
from raycolor.errors import ConfigError, DatasetError, RaycolorError, StorageError
from raycolor.prepare.convert import IsolatedSquares, ShardResult, convert_shard
from raycolor.prepare.source import Picture, PictureSource, is_picture
from raycolor.storage import ObjectStore, open_store

logger = logging.getLogger(__name__)

ROWS_PER_SHARD: Final = 256  # 30 MB as Parquet, 50 MB in a worker while it is made
_LOWEST_SHARE: Final = 0.05  # a source of which less is good is searched in rounds, not all at once
_SHARD_NAME: Final = re.compile(r"(train|val)/part-\d{5,}\.parquet")


@dataclass(frozen=True)
class _Limits:
    """What one file, and all workers together, may take."""

    max_file_bytes: int
    image_timeout_s: float
    workers: int | None


@dataclass(frozen=True)
class _Task:
    """One shard to make: some candidates of one split."""

    split: str
    number: int
    pictures: tuple[Picture, ...]
    limit: int | None = None

    @property
    def path(self) -> str:
        return f"{self.split}/part-{self.number:05}.parquet"


@dataclass
class _Split:
    """How far one split has come. Shard k is made of candidates [k·R, (k+1)·R) in hash order, so which worker makes
    it, and how many there are, changes nothing in it."""

    name: str
    candidates: list[Picture]
    wanted: int
    results: dict[int, ShardResult] = field(default_factory=dict)

    @property
    def rows(self) -> int:
        return sum(result.rows for result in self.results.values())

    def next_tasks(self, rows_per_shard: int) -> list[_Task]:
        """Return the shards that will probably fill the split, judged by the share of good candidates so far."""
        missing = self.wanted - self.rows
        first = len(self.results)
        rest = len(self.candidates) - first * rows_per_shard
        if missing <= 0 or rest <= 0:
            return []
        seen = sum(result.seen for result in self.results.values())
        share = max(self.rows / seen, _LOWEST_SHARE) if seen else 1.0
        count = -(-min(round(missing / share), rest) // rows_per_shard) or 1
        return [self._task(number, rows_per_shard) for number in range(first, first + count)]

    def trim(self, rows_per_shard: int) -> list[_Task]:
        """Forget shards past the wanted number; return the one to make again with fewer rows, if any."""
        before, again = 0, []
        for number in sorted(self.results):
            rows = self.results[number].rows
            if before >= self.wanted:
                del self.results[number]
            elif before + rows > self.wanted:
                again.append(self._task(number, rows_per_shard, self.wanted - before))
            before += rows
        return again

    def _task(self, number: int, rows_per_shard: int, limit: int | None = None) -> _Task:
        start = number * rows_per_shard
        return _Task(self.name, number, tuple(self.candidates[start : start + rows_per_shard]), limit)


def prepare(
    source: str,
    dataset: str,
    *,
    train: int | None = 2500,
    val: int | None = 500,
    size_px: int = 256,
    seed: int = 0,
    min_colorfulness: float = 0.0,
    keep_splits: bool = False,
    rows_per_shard: int = ROWS_PER_SHARD,
    workers: int | None = None,
    max_file_bytes: int = 2_000_000_000,
    image_timeout_s: float = 600.0,
    on_progress: Callable[[int, int, int], None] | None = None,
) -> dict[str, Any]:
    """Convert photographs to Lab planes in Parquet shards. Ray must be connected.

    The same source, seed and settings give byte-identical shards, whatever the number of workers. Files that cannot
    be read are listed in `dataset.json` and replaced by the next ones in hash order. `dataset.json` is written last.

    Args:
        source: a folder, `s3://bucket/prefix`, or a plain `.tar` in either place.
        dataset: a folder or `s3://bucket/prefix`.
        train: photographs to train on; None for all. Fewer where the source has no more.
        val: photographs to validate on, likewise.
        size_px: side of the stored squares in pixels.
        seed: of the split and of the choice among more photographs than wanted.
        min_colorfulness: above 0, gray and toned photographs and those duller than this are left out and counted.
        keep_splits: the source's own train/ and val/ folders decide.
        rows_per_shard: candidates per shard, the unit of work; decides the bytes, as size and seed do.
        workers: tasks at once; None for as many as the cluster has CPUs.
        max_file_bytes: larger files are not read.
        image_timeout_s: seconds after which one file is given up.
        on_progress: called with (photographs written so far, photographs wanted, files that could not be used).

    Returns:
        A summary: counts per split, dropped by reason, bad by reason, photographs per second, seconds, fingerprint.

    Raises:
        ConfigError: nothing at the source, or the destination holds a dataset already.
        DatasetError: not one photograph could be used.
        ArchiveError: a damaged tar.
        StorageError: the source cannot be listed or the dataset not written.
    """
    started = time.monotonic()
    store = open_store(dataset)
    if store.stat(DATASET_FILE) is not None:
        raise ConfigError(f"{dataset}: holds a dataset already: choose another place, or delete it first")
    pictures = PictureSource(source)
    splits, other_files = _choose(pictures, {"train": train, "val": val}, seed, keep_splits)
    listed = time.monotonic()

    def make(tasks: list[_Task]) -> Iterator[None]:
        limits = _Limits(max_file_bytes, image_timeout_s, workers)
        for task, result in _run(pictures, store, tasks, size_px, min_colorfulness, limits):
            splits[task.split].results[task.number] = result
            yield

    def report() -> None:
        if on_progress is not None:
            results = [result for split in splits.values() for result in split.results.values()]
            unused = sum(len(result.bad) + len(result.dropped) for result in results)
            done = sum(min(split.rows, split.wanted) for split in splits.values())
            on_progress(done, sum(split.wanted for split in splits.values()), unused)

    report()
    while tasks := [task for split in splits.values() for task in split.next_tasks(rows_per_shard)]:
        for _ in make(tasks):
            report()
    for _ in make([task for split in splits.values() for task in split.trim(rows_per_shard)]):
        pass
    info = _describe(
        splits,
        DatasetInfo(
            source=source,
            seed=seed,
            split_rule=KEPT_SPLIT_RULE if keep_splits else SPLIT_RULE,
            image_size=size_px,
            min_colorfulness=min_colorfulness,
            counts={},
            shards=(),
            wanted={name: count for name, count in (("train", train), ("val", val)) if count is not None},
            other_files=other_files,
            raycolor_version=__version__,
        ),
    )
    if not info.shards:
        first = f", the first: {info.bad[0]['key']}: {info.bad[0]['detail']}" if info.bad else ""
        raise DatasetError(
            f"{source}: no photograph could be used ({len(info.bad)} bad{first}; {len(info.dropped)} dropped; "
            f"{other_files} other files): check the path{' and its train/ and val/ folders' if keep_splits else ''}"
        )
    _remove_leftovers(store, info)
    write_dataset(store, info)
    return _summary(info, splits, listing_s=listed - started, converting_s=time.monotonic() - listed)


def _choose(
    source: PictureSource, wanted: dict[str, int | None], seed: int, keep_splits: bool
) -> tuple[dict[str, _Split], int]:
    """List the source and put each split's candidates in hash order; also count the files that are none."""
    found: dict[str, dict[str, Picture]] = {name: {} for name in SPLITS}
    other_files = 0
    for picture in source.list():
        split = split_of(picture.key, seed, keep_splits=keep_splits) if is_picture(picture.key) else None
        if split is None:
            other_files += 1
        else:
            found[split][picture.key] = picture  # a later member of a tar replaces an earlier one of its name
    splits = {}
    for name in SPLITS:
        candidates = sorted(found[name].values(), key=lambda picture: order_key(picture.key, seed))
        count = wanted[name]
        splits[name] = _Split(name, candidates, len(candidates) if count is None else min(count, len(candidates)))
    return splits, other_files


def _run(
    source: PictureSource,
    store: ObjectStore,
    tasks: list[_Task],
    size_px: int,
    min_colorfulness: float,
    limits: _Limits,
) -> Iterator[tuple[_Task, ShardResult]]:
    """Make shards on Ray Data, in whatever order they finish."""
    if not tasks:
        return

    def work(row: dict[str, Any]) -> dict[str, Any]:
        spec = json.loads(row["spec"])
        pictures = [Picture(*picture) for picture in spec["pictures"]]
        try:
            result = convert_shard(
                source,
                pictures,
                store,
                spec["path"],
                size_px=size_px,
                min_colorfulness=min_colorfulness,
                limit=spec["limit"],
                max_file_bytes=limits.max_file_bytes,
                square=_squares(limits.image_timeout_s),
            )
        except RaycolorError as exc:
            # As data: Ray would wrap it into a traceback of its own.
            return {"task": row["task"], "result": "", "error": str(exc)}
        return {"task": row["task"], "result": json.dumps(asdict(result)), "error": ""}

    rows = [
        {
            "task": at,
            # Text, so that Arrow has no types to guess: some lists are empty, some details long.
            "spec": json.dumps({"path": task.path, "pictures": task.pictures, "limit": task.limit}),
        }
        for at, task in enumerate(tasks)
    ]
    context = DataContext.get_current()
    before, patience_s = context.enable_progress_bars, context.execution_no_progress_timeout_s
    context.enable_progress_bars = False
    # The longest that a shard may rightly take: each file hangs.
    longest_s = max(len(task.pictures) for task in tasks) * limits.image_timeout_s
    context.execution_no_progress_timeout_s = max(patience_s, longest_s)
    try:
        # One block per shard, or Ray would give several shards to one worker while others idle.
        made = ray.data.from_items(rows, override_num_blocks=len(rows)).map(
            work,
            compute=TaskPoolStrategy(size=None if limits.workers is None else min(limits.workers, len(rows))),
            num_cpus=1,
            # A task whose worker dies, for want of memory or with its node, is begun three times more: Ray's default.
        )
        for row in made.iter_rows():
            if row["error"]:
                raise StorageError("storage_error", row["error"])
            yield tasks[row["task"]], ShardResult(**json.loads(row["result"]))
    finally:
        context.enable_progress_bars, context.execution_no_progress_timeout_s = before, patience_s


@functools.cache
def _squares(image_timeout_s: float) -> IsolatedSquares:
    """Return this worker's child process, which serves one shard after the other and ends with the worker."""
    return IsolatedSquares(image_timeout_s)


def _describe(splits: dict[str, _Split], info: DatasetInfo) -> DatasetInfo:
    """Fill in counts, shards and what was left out."""
    facts = {name: getattr(info, name) for name in info.__dataclass_fields__}
    done = [
        (split.name, f"{split.name}/part-{number:05}.parquet", split.results[number])
        for split in splits.values()
        for number in sorted(split.results)
    ]
    facts["counts"] = {split.name: split.rows for split in splits.values()}
    facts["shards"] = tuple(
        ShardInfo(path, name, result.rows, result.bytes, result.sha256) for name, path, result in done if result.rows
    )
    facts["dropped"] = tuple({**row, "split": name} for name, _, result in done for row in result.dropped)
    facts["bad"] = tuple({**row, "split": name} for name, _, result in done for row in result.bad)
    return DatasetInfo(**facts)


def _remove_leftovers(store: ObjectStore, info: DatasetInfo) -> None:
    """Remove shards that are none of this dataset: past the wanted number, or of a run that was killed."""
    ours = {shard.path for shard in info.shards}
    for split in SPLITS:
        for found in list(store.list(f"{split}/part-")):
            if found.key not in ours and _SHARD_NAME.fullmatch(found.key):
                store.delete(found.key)


def _summary(info: DatasetInfo, splits: dict[str, _Split], *, listing_s: float, converting_s: float) -> dict[str, Any]:
    results = [result for split in splits.values() for result in split.results.values()]
    seen = sum(result.seen for result in results)
    return {
        "counts": dict(info.counts),
        "candidates": {name: len(split.candidates) for name, split in splits.items()},
        "kinds": {kind: sum(result.kinds[kind] for result in results) for kind in ("gray", "toned", "color")},
        "dropped": _by_reason(info.dropped),
        "bad": _by_reason(info.bad),
        "other_files": info.other_files,
        "shards": len(info.shards),
        "bytes": sum(shard.bytes for shard in info.shards),
        "fingerprint": info.fingerprint,
        "images_per_second": round(seen / max(converting_s, 1e-9), 2),
        "listing_seconds": round(listing_s, 2),
        "seconds": round(listing_s + converting_s, 2),
    }


def _by_reason(rows: tuple[Any, ...]) -> dict[str, int]:
    counts: dict[str, int] = {}
    for row in rows:
        counts[row["reason"]] = counts.get(row["reason"], 0) + 1
    return dict(sorted(counts.items()))
