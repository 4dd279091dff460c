"""A list of inputs: where its relative keys start, and the key of each input."""

from __future__ import annotations

import json
import posixpath
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from raycolor.errors import ConfigError
from raycolor.progress import printable
from raycolor.sources.inventory import inventory_rows, read_manifest
from raycolor.sources.keys import archive_part
from raycolor.sources.list_rows import Row, read_rows
from raycolor.storage import ObjectStore
from raycolor.storage.base import RECORDS
from raycolor.storage.local import name_to_key


class Entry(NamedTuple):
    """One input that a list names."""

    uri: str
    """Store that holds it."""
    object: str
    """Key in that store."""
    version: str | None
    size: int
    etag: str


@dataclass(frozen=True)
class ListPlan:
    """What a first pass over a list has found."""

    bases: tuple[str, ...]
    """The stores its inputs lie in. Of one, keys are relative to it; of several buckets, keys are bucket/key."""
    versions: bool = False
    """Whether any row pins a version."""
    members: bool = False
    """Whether any key leads into an archive."""


class InputList:
    """A list of inputs: CSV, text, Parquet, or an S3 Inventory.

    Args:
        store: where the list is: `/`, or a whole bucket.
        key: its key there.
        root: what relative keys are relative to, and every input must lie in; None for the list's own folder.
        options: for S3, as `open_store` takes them.

    Raises:
        ConfigError: it cannot be read as a list.
        StorageError: it cannot be read.
    """

    def __init__(self, store: ObjectStore, key: str, root: str | None, options: Mapping[str, Any]) -> None:
        self._store, self._key, self._options = store, key, options
        self.uri = f"{store.uri.rstrip('/')}/{key}"
        self.root = root
        folder = self.uri.rpartition("/")[0] or "/"
        self._folder = folder
        self._inventory = read_manifest(store, key) if key.lower().endswith(".json") else None

    def rows(self) -> Iterator[Row]:
        """Yield the rows as they stand in the list."""
        if self._inventory is not None:
            return inventory_rows(self._store, self._key, self._inventory, self._options)
        return read_rows(self._store, self._key)

    def plan(self) -> ListPlan:
        """Read the list once, check every row, and find out where its inputs lie.

        Raises:
            ConfigError: a row that cannot be used, by its line; or files and buckets in one list.
        """
        if self._inventory is not None and self.root is None:
            return ListPlan((f"s3://{self._inventory['sourceBucket']}",), versions=True)
        bases: set[str] = set()
        versions = members = False
        for row in self.rows():
            base, key = self._split(row)
            versions = versions or row.version is not None
            # What an inventory names are objects, whatever their names look like.
            members = members or (self._inventory is None and archive_part(key) is not None)
            if base not in bases:
                bases.add(base)
                if len(bases) > 1_000:
                    raise ConfigError(f"{self.uri}: names more than 1,000 buckets: check the bucket column")
        if not bases:
            raise ConfigError(f"{self.uri}: the list is empty")
        remote = {base for base in bases if base.startswith("s3://")}
        if remote and remote != bases:
            raise ConfigError(f"{self.uri}: names both files and buckets: make one list of each")
        # Files in and outside the list's folder have only / in common.
        return ListPlan(tuple(sorted(bases)) if remote or len(bases) == 1 else ("/",), versions, members)

    def entries(self, plan: ListPlan) -> Iterator[Entry]:
        """Yield the inputs in the order of the list, repetitions included."""
        for row in self.rows():
            base, key = self._split(row)
            if base not in plan.bases:
                base, key = "/", f"{base.lstrip('/')}/{key}".lstrip("/")
            yield Entry(base, key, row.version, row.size, row.etag)

    def _split(self, row: Row) -> tuple[str, str]:
        """Return the store and the key in it that a row means."""
        if row.bucket is not None:
            return self._below_root(f"s3://{row.bucket}", row.key, row)
        if row.of_job and self.root is not None:
            return self.root, row.key
        if row.key.startswith("s3://"):
            bucket, _, key = row.key.removeprefix("s3://").partition("/")
            if not bucket or not key:
                raise ConfigError(f"{self.uri}: {row.where}: {printable(row.key)}: write s3://bucket/key")
            return self._below_root(f"s3://{bucket}", key, row)
        if not row.is_uri:
            if self.root is None:
                raise ConfigError(
                    f"{self.uri}: {row.where}: key {row.key!r} is relative: give --root, what it is relative to, "
                    "or give a bucket column"
                )
            return self.root, row.key
        path = row.key.removeprefix("file://")
        if "://" in path:
            raise ConfigError(
                f"{self.uri}: {row.where}: {printable(row.key)}: unknown scheme: give paths or s3://bucket/key"
            )
        base = self.root or self._folder
        if base.startswith("s3://"):
            if path.startswith("/"):
                raise ConfigError(f"{self.uri}: {row.where}: {printable(path)}: a local path in a list of objects")
            return base, path
        full = name_to_key(posixpath.normpath(posixpath.join(base, path)))
        if base == "/" or full.startswith(base.rstrip("/") + "/"):
            return base, full[len(base.rstrip("/")) + 1 :]
        return self._below_root("/", full.lstrip("/"), row)

    def _below_root(self, base: str, key: str, row: Row) -> tuple[str, str]:
        if self.root is None:
            return base, key
        full = f"{base.rstrip('/')}/{key}"
        prefix = self.root.rstrip("/") + "/"
        if not full.startswith(prefix):
            raise ConfigError(
                f"{self.uri}: {row.where}: {printable(full)} is not inside --root {self.root}: omit one of them"
            )
        return self.root, full[len(prefix) :]


@dataclass(frozen=True)
class EarlierJob:
    """What `job.json` beside a failed.csv says of the job's source."""

    sources: tuple[str, ...]
    root: str | None
    archives: bool


def earlier_job(store: ObjectStore, key: str) -> EarlierJob | None:
    """Return the job that a `_raycolor/failed.csv` was written by, or None for every other list.

    Raises:
        ConfigError: it is a failed.csv, but the job.json beside it is missing or damaged.
        StorageError: it cannot be read.
    """
    folder, _, name = key.rpartition("/")
    if name != "failed.csv" or folder.rpartition("/")[2] != RECORDS.rstrip("/"):
        return None
    try:
        job = json.loads(store.get(f"{folder}/job.json"))
        config = job["config"]
        sources = job.get("sources") or [job["source"]]
        return EarlierJob(tuple(map(str, sources)), config.get("root"), bool(config.get("archives", True)))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as exc:
        raise ConfigError(
            f"{store.uri}/{folder}/job.json: is damaged ({exc}): give --root, the place that keys are relative to"
        ) from exc
