"""Open what a user gives as SOURCE."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from raycolor.errors import ConfigError
from raycolor.sources.input_list import InputList, earlier_job
from raycolor.sources.list_rows import SUFFIXES
from raycolor.sources.list_source import ListSource, RetrySource
from raycolor.sources.many import ManySources
from raycolor.sources.source import OneObject, Source
from raycolor.storage import ObjectStore, open_store
from raycolor.storage.local import name_to_key

_LONGEST_CHAIN = 20


def open_sources(
    sources: Sequence[str],
    *,
    root: str | None = None,
    archives: bool = True,
    options: Mapping[str, Any] | None = None,
    depth: int = 0,
) -> Source:
    """Open one source, or several files and folders as one; arguments and errors as `open_source` and `ManySources`."""
    opened = [open_source(one, root=root, archives=archives, options=options, depth=depth) for one in sources]
    return opened[0] if len(opened) == 1 else ManySources(opened, archives=archives, options=options or {})


def open_source(
    source: str,
    *,
    root: str | None = None,
    archives: bool = True,
    options: Mapping[str, Any] | None = None,
    depth: int = 0,
) -> Source:
    """Open a folder, an S3 prefix, one file or object, or a list of inputs.

    A file or object named `.csv`, `.csv.gz`, `.txt`, `.parquet` or `.json` is a list, see docs/formats.md.

    Args:
        source: a local path or s3://bucket/prefix.
        root: what relative keys of a list are relative to.
        archives: take tar and zip files apart; otherwise they are single inputs.
        options: for S3, as `open_store` takes them.
        depth: how many failed.csv led here.

    Raises:
        ConfigError: there is nothing at that place, or a list that cannot be used.
        StorageError: the place cannot be asked.
    """
    options = dict(options or {})
    found = _one(source, options)
    if found is None:
        if root is not None:
            raise ConfigError(f"--root {root}: needs a list of keys, and {source} is a folder or prefix")
        store = open_store(source, must_exist=True, **options)
        return Source(store.uri, store.uri, archives=archives, options=options)
    store, folder, name = found
    if not name.lower().endswith(SUFFIXES):
        if root is not None:
            raise ConfigError(f"--root {root}: needs a list of keys, and {source} is a single file")
        return OneObject(f"{store.uri.rstrip('/')}/{folder}".rstrip("/"), name, archives=archives, options=options)
    key = f"{folder}/{name}" if folder else name
    if root is None and (job := earlier_job(store, key)) is not None:
        if depth > _LONGEST_CHAIN:
            raise ConfigError(
                f"{source}: the source of its job leads back to this list: give --root, where its keys are"
            )
        earlier = open_sources(job.sources, root=job.root, archives=job.archives, options=options, depth=depth + 1)
        if type(earlier) in (ListSource, RetrySource, ManySources):
            return RetrySource(InputList(store, key, "/", options), earlier, options=options)
        root, archives = earlier.root, archives and job.archives
    elif root is not None:
        root = open_store(root, **options).uri
    names = InputList(store, key, root, options)
    return ListSource(names, names.plan(), archives=archives, options=options)


def _one(source: str, options: Mapping[str, Any]) -> tuple[ObjectStore, str, str] | None:
    """Return the store, folder and name of a single file or object; None for a folder or prefix.

    The store is all of the disk or bucket, so that a list can name what lies beside it.
    """
    if source.startswith("s3://"):
        bucket, _, key = source.removeprefix("s3://").partition("/")
        if not bucket or not key or key.endswith("/"):
            return None
        # A prefix that holds something is meant as such, even if a marker object of the same name stands beside it.
        if next(iter(open_store(source, **options).list()), None) is not None:
            return None
        store = open_store(f"s3://{bucket}", **options)
        if store.stat(key) is None:
            return None
        folder, _, name = key.rpartition("/")
        return store, folder, name
    path = Path(source.removeprefix("file://")).expanduser().absolute()
    if "://" in source.removeprefix("file://") or not path.is_file():
        return None
    key = name_to_key(str(path).lstrip("/"))
    folder, _, name = key.rpartition("/")
    return open_store("/"), folder, name
