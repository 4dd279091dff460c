"""`dataset.json`: what a dataset holds, and the checks against it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Final

from raycolor.errors import DatasetError
from raycolor.storage import ObjectStore, get_if_there

FORMAT_VERSION: Final = 1
DATASET_FILE: Final = "dataset.json"


@dataclass(frozen=True)
class ShardInfo:
    """One Parquet file of a dataset."""

    path: str
    split: str
    rows: int
    bytes: int
    sha256: str


@dataclass(frozen=True)
class DatasetInfo:
    """The contents of `dataset.json`."""

    source: str
    seed: int
    split_rule: str
    image_size: int
    """Side of the stored squares in pixels."""
    min_colorfulness: float
    counts: Mapping[str, int]
    """Photographs per split."""
    shards: tuple[ShardInfo, ...]
    wanted: Mapping[str, int] = field(default_factory=dict)
    """Photographs asked for per split."""
    dropped: tuple[Mapping[str, Any], ...] = ()
    """Photographs left out on purpose: key, split, reason (`gray`, `toned`, `dull`), colorfulness."""
    bad: tuple[Mapping[str, Any], ...] = ()
    """Files that could not be read: key, split, reason, detail."""
    other_files: int = 0
    """Files of SOURCE that are no pictures by their name, or, with kept splits, stand outside train/ and val/."""
    raycolor_version: str = ""
    format_version: int = FORMAT_VERSION

    @property
    def fingerprint(self) -> str:
        """SHA-256 over the facts that decide what a training sees; where the dataset lies is none of them."""
        facts = {
            "format_version": self.format_version,
            "image_size": self.image_size,
            "shards": [[shard.path, shard.split, shard.rows, shard.sha256] for shard in self.shards],
        }
        return hashlib.sha256(json.dumps(facts, sort_keys=True, separators=(",", ":")).encode()).hexdigest()

    def shards_of(self, split: str) -> tuple[ShardInfo, ...]:
        """Return the shards of one split in the order of their rows.

        Raises:
            DatasetError: the dataset has no such split.
        """
        found = tuple(shard for shard in self.shards if shard.split == split)
        if not found:
            have = ", ".join(sorted({shard.split for shard in self.shards})) or "none"
            raise DatasetError(f"dataset of {self.source}: no split {split!r} (it has: {have}): prepare it again")
        return found

    def to_json(self) -> bytes:
        """Return the bytes of `dataset.json`."""
        facts = asdict(self)
        facts["fingerprint"] = self.fingerprint
        return (json.dumps(facts, indent=1, sort_keys=True, ensure_ascii=False) + "\n").encode()


def write_dataset(store: ObjectStore, info: DatasetInfo) -> None:
    """Write `dataset.json`, the last file of a dataset: without it there is none."""
    store.put(DATASET_FILE, info.to_json())


def read_dataset(store: ObjectStore) -> DatasetInfo:
    """Read and check `dataset.json`; each shard is checked when it is read.

    Raises:
        DatasetError: not a dataset, another format version, or a damaged `dataset.json`.
        StorageError: the store cannot be read.
    """
    where = f"{store.uri}/{DATASET_FILE}"
    raw = get_if_there(store, DATASET_FILE)
    if raw is None:
        raise DatasetError(f"{store.uri}: not a dataset (no {DATASET_FILE}): make one with `raycolor prepare`")
    try:
        facts = json.loads(raw)
    except ValueError as exc:
        raise DatasetError(f"{where}: damaged ({exc}): prepare the dataset again") from exc
    version = facts.pop("format_version", None) if isinstance(facts, dict) else None
    if version != FORMAT_VERSION:
        raise DatasetError(
            f"{where}: format_version = {version}: this raycolor reads {FORMAT_VERSION}: prepare the dataset again"
        )
    fingerprint = facts.pop("fingerprint", None)
    try:
        shards = tuple(ShardInfo(**shard) for shard in facts.pop("shards"))
        info = DatasetInfo(**{**facts, "dropped": tuple(facts["dropped"]), "bad": tuple(facts["bad"])}, shards=shards)
    except (KeyError, TypeError) as exc:
        raise DatasetError(f"{where}: damaged ({exc}): prepare the dataset again") from exc
    if info.fingerprint != fingerprint:
        raise DatasetError(f"{where}: fingerprint {fingerprint} does not match its shards: prepare the dataset again")
    return info


def read_shard(store: ObjectStore, shard: ShardInfo) -> bytes:
    """Return the bytes of a shard after comparing their SHA-256.

    Raises:
        DatasetError: the shard is missing or has other bytes.
        StorageError: the store cannot be read.
    """
    data = get_if_there(store, shard.path)
    if data is None:
        raise DatasetError(f"{store.uri}/{shard.path}: shard is missing: copy it again or prepare the dataset again")
    found = hashlib.sha256(data).hexdigest()
    if found != shard.sha256:
        raise DatasetError(
            f"{store.uri}/{shard.path}: shard is damaged: SHA-256 is {found[:12]}…, {DATASET_FILE} says "
            f"{shard.sha256[:12]}…: copy it again or prepare the dataset again"
        )
    return data
