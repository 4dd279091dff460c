"""The candidates of a dataset in order, the shards made of them, and their results."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from raycolor import __version__
from raycolor.dataset.info import DATASET_FILE, DatasetInfo, ShardInfo
from raycolor.dataset.split import KEPT_SPLIT_RULE, SPLIT_RULE, SPLITS, order_key, split_of
from raycolor.errors import ConfigError, DatasetError
from raycolor.prepare.config import PrepareConfig
from raycolor.prepare.convert import ShardResult
from raycolor.prepare.source import is_picture, list_inputs
from raycolor.sources.keys import matches
from raycolor.sources.location import Input
from raycolor.sources.open import open_source
from raycolor.sources.reader import Reader
from raycolor.storage import ObjectStore, absolute, open_store

ROWS_PER_SHARD: Final = 256  # 30 MB as Parquet, 50 MB in a worker while it is made
_LOWEST_SHARE: Final = 0.05  # a source of which less is good is searched in rounds, not all at once


@dataclass(frozen=True)
class Task:
    """One shard to make: some candidates of one split."""

    split: str
    number: int
    inputs: tuple[Input, ...]
    limit: int | None = None

    @property
    def path(self) -> str:
        """Key of the shard in the dataset."""
        return shard_path(self.split, self.number)


def shard_path(split: str, number: int) -> str:
    """Return the key of a shard in its dataset."""
    return f"{split}/part-{number:05}.parquet"


@dataclass
class Split:
    """How far one split has come. Shard k is made of candidates [k·R, (k+1)·R) in hash order, so which worker makes
    it, and how many there are, changes nothing in it."""

    name: str
    candidates: list[Input]
    wanted: int
    rows_per_shard: int
    results: dict[int, ShardResult] = field(default_factory=dict)

    @property
    def rows(self) -> int:
        """Photographs that are in the shards made so far."""
        return sum(result.rows for result in self.results.values())

    def next_tasks(self) -> list[Task]:
        """Return the shards that will probably fill the split, judged by the share of good candidates so far."""
        missing = self.wanted - self.rows
        first = len(self.results)
        rest = len(self.candidates) - first * self.rows_per_shard
        if missing <= 0 or rest <= 0:
            return []
        seen = sum(result.seen for result in self.results.values())
        share = max(self.rows / seen, _LOWEST_SHARE) if seen else 1.0
        count = -(-min(round(missing / share), rest) // self.rows_per_shard) or 1
        return [self._task(number) for number in range(first, first + count)]

    def trim(self) -> list[Task]:
        """Forget shards past the wanted number; return the one to make again with fewer rows, if any."""
        before, again = 0, []
        for number in sorted(self.results):
            rows = self.results[number].rows
            if before >= self.wanted:
                del self.results[number]
            elif before + rows > self.wanted:
                again.append(self._task(number, self.wanted - before))
            before += rows
        return again

    def _task(self, number: int, limit: int | None = None) -> Task:
        start = number * self.rows_per_shard
        return Task(self.name, number, tuple(self.candidates[start : start + self.rows_per_shard]), limit)


@dataclass(frozen=True)
class Chosen:
    """A dataset that can be made.

    Attributes:
        config: what is converted, where to, and how.
        store: of the dataset.
        reader: reads the candidates.
        splits: the candidates.
        other_files: how many files of the source are none.
        listing_s: seconds that listing the source took.
    """

    config: PrepareConfig
    store: ObjectStore
    reader: Reader
    splits: list[Split]
    other_files: int
    listing_s: float


def choose(config: PrepareConfig, rows_per_shard: int = ROWS_PER_SHARD) -> Chosen:
    """List the source, put each split's candidates in hash order, and refuse what can be refused without Ray.

    Args:
        config: what is converted, where to, and how.
        rows_per_shard: candidates per shard, the unit of work; decides the bytes, as size and seed do.

    Raises:
        ConfigError: nothing at the source, or the destination holds a dataset already.
        DatasetError: no photographs at the source.
        ArchiveError: a damaged archive.
        StorageError: the source cannot be listed.
    """
    started = time.monotonic()
    config = config.model_copy(update={"source": absolute(config.source), "dataset": absolute(config.dataset)})
    store = open_store(config.dataset, **config.source_options())
    if store.stat(DATASET_FILE) is not None:
        raise ConfigError(f"{config.dataset}: holds a dataset already: choose another place, or delete it first")
    source = open_source(config.source, root=config.root, archives=False, options=config.source_options())
    found: dict[str, dict[str, Input]] = {name: {} for name in SPLITS}
    other_files = 0
    for info in list_inputs(source):
        if (config.include and not matches(info.key, config.include)) or matches(info.key, config.exclude):
            continue
        split = split_of(info.key, config.seed, keep_splits=config.keep_splits) if is_picture(info.key) else None
        if split is None:
            other_files += 1
        else:
            found[split][info.key] = info  # a later member of a tar replaces an earlier one of its name
    splits = []
    for name, limit in (("train", config.train), ("val", config.val)):
        candidates = sorted(found[name].values(), key=lambda info: order_key(info.key, config.seed))
        wanted = len(candidates) if limit is None else min(limit, len(candidates))
        splits.append(Split(name, candidates, wanted, rows_per_shard))
    if not any(found.values()):
        raise nothing_used(config, other_files)
    reader = Reader(source.root, config.source_options(), config.max_file_bytes)
    return Chosen(config, store, reader, splits, other_files, time.monotonic() - started)


def nothing_used(config: PrepareConfig, other_files: int, bad: Sequence[Any] = (), dropped: int = 0) -> DatasetError:
    """Return the error of a dataset that would hold no photograph."""
    first = f", the first: {bad[0]['key']}: {bad[0]['detail']}" if bad else ""
    folders = " and its train/ and val/ folders" if config.keep_splits else ""
    return DatasetError(
        f"{config.source}: no photograph could be used ({len(bad)} bad{first}; {dropped} dropped; "
        f"{other_files} other files): check the path{folders}"
    )


def describe(chosen: Chosen) -> DatasetInfo:
    """Return what `dataset.json` says of the shards that were made.

    Raises:
        DatasetError: not one photograph could be used.
    """
    config, splits = chosen.config, chosen.splits
    done = [(split.name, number, split.results[number]) for split in splits for number in sorted(split.results)]
    info = DatasetInfo(
        source=config.source,
        seed=config.seed,
        split_rule=KEPT_SPLIT_RULE if config.keep_splits else SPLIT_RULE,
        image_size=config.size_px,
        min_colorfulness=config.min_colorfulness,
        counts={split.name: split.rows for split in splits},
        shards=tuple(
            ShardInfo(shard_path(name, number), name, result.rows, result.bytes, result.sha256)
            for name, number, result in done
            if result.rows
        ),
        wanted={name: count for name, count in (("train", config.train), ("val", config.val)) if count is not None},
        dropped=tuple({**row, "split": name} for name, _, result in done for row in result.dropped),
        bad=tuple({**row, "split": name} for name, _, result in done for row in result.bad),
        other_files=chosen.other_files,
        raycolor_version=__version__,
    )
    if not info.shards:
        raise nothing_used(config, chosen.other_files, info.bad, len(info.dropped))
    return info


def summarize(chosen: Chosen, info: DatasetInfo, converting_s: float) -> dict[str, Any]:
    """Return counts per split, dropped by reason, bad by reason, photographs per second, seconds, fingerprint."""
    results = [result for split in chosen.splits for result in split.results.values()]
    seen = sum(result.seen for result in results)
    return {
        "counts": dict(info.counts),
        "candidates": {split.name: len(split.candidates) for split in chosen.splits},
        "kinds": {kind: sum(result.kinds[kind] for result in results) for kind in ("gray", "toned", "color")},
        "dropped": dict(sorted(Counter(row["reason"] for row in info.dropped).items())),
        "bad": dict(sorted(Counter(row["reason"] for row in info.bad).items())),
        "other_files": info.other_files,
        "shards": len(info.shards),
        "bytes": sum(shard.bytes for shard in info.shards),
        "fingerprint": info.fingerprint,
        "images_per_second": round(seen / max(converting_s, 1e-9), 2),
        "listing_seconds": round(chosen.listing_s, 2),
        "seconds": round(chosen.listing_s + converting_s, 2),
    }
