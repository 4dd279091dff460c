"""Objects by key, on a local folder or in S3, behind one protocol."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from raycolor.errors import ConfigError, StorageError
from raycolor.storage.base import ObjectInfo, ObjectStore, check_endpoint, check_key, get_if_there
from raycolor.storage.local import LocalStore

__all__ = [
    "LocalStore",
    "ObjectInfo",
    "ObjectStore",
    "StorageError",
    "absolute",
    "check_endpoint",
    "check_key",
    "get_if_there",
    "open_store",
]


def absolute(uri: str) -> str:
    """Make a local path absolute, for Ray's workers have another working directory; addresses stay as they are."""
    return uri if "://" in uri else str(Path(uri).absolute())


def open_store(
    uri: str | Path,
    *,
    must_exist: bool = False,
    patience_s: float | None = None,
    probe_under: str | None = None,
    **options: Any,
) -> ObjectStore:
    """Open a folder or an S3 prefix.

    Args:
        uri: a local path, `file:///path`, or `s3://bucket/prefix`.
        must_exist: refuse a folder that is not there, or an S3 prefix that holds nothing.
        patience_s: wait so long for a place that does not answer (`raycolor.storage.patience`); None: not at all.
        probe_under: with patience, key prefix under which a small object may be written to see whether writing works.
        options: for S3 only, see `raycolor.storage.s3.S3Store`; ignored for folders, so that one command serves both.

    Raises:
        ConfigError: a scheme that is not known, a bucket that is not named, or nothing there with `must_exist`.
        StorageError: the place could not be asked.
    """
    text = str(uri)
    if patience_s is not None:
        from raycolor.storage.patience import PatientStore

        store = open_store(text, must_exist=must_exist, **options)
        quick = open_store(text, **{**options, "tries": 1, "timeout_s": 20.0})
        return PatientStore(store, quick, patience_s, probe_under)
    if text.startswith("s3://"):
        from raycolor.storage.s3 import S3Store  # boto3 costs 0.3 s to import: only those who need it pay

        store = S3Store.from_uri(text, **options)
        if must_exist and next(iter(store.list()), None) is None:
            raise ConfigError(f"{text}: holds no objects: check the bucket and the prefix")
        return store
    if text.startswith("file://"):
        text = text.removeprefix("file://")
    elif "://" in text:
        raise ConfigError(f"{text}: unknown scheme: give a local path or s3://bucket/prefix")
    if not text:
        raise ConfigError("a path is empty: give a local path or s3://bucket/prefix")
    local = LocalStore(text)
    if must_exist and not local.root.is_dir():
        what = "is a file, not a folder" if local.root.exists() else "no such folder"
        raise ConfigError(f"{text}: {what}: check the path")
    return local
