"""One file or object by its full name."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from raycolor.errors import ConfigError
from raycolor.storage import ObjectStore, get_if_there, open_store
from raycolor.storage.local import name_to_key


def locate(place: str, flag: str = "", **options: Any) -> tuple[ObjectStore, str]:
    """Return the store and the key of one file or object.

    Args:
        place: a local path, file:///path, or s3://bucket/key.
        flag: what messages put before the place, with a space: the flag that names it.
        options: for S3, as `open_store` takes them.

    Raises:
        ConfigError: it names a folder, a bucket, or an unknown scheme.
    """
    local = place.removeprefix("file://")
    if "://" in local:
        folder, _, name = place.rpartition("/")
        if not name or folder.endswith(":/"):
            raise ConfigError(f"{flag}{place}: names no object: give s3://bucket/key")
        return open_store(folder, **options), name
    path = Path(local).expanduser().absolute()
    if path.is_dir():
        raise ConfigError(f"{flag}{place or 'the empty path'}: is a folder: give one file")
    return open_store(path.parent), name_to_key(path.name)


def locate_own(
    place: str, flag: str, is_own: Callable[[bytes], bool], otherwise: str, **options: Any
) -> tuple[ObjectStore, str]:
    """Return store and key of a file to write, as `locate`, where nothing but an earlier one of its kind stands.

    Args:
        place: as for `locate`.
        flag: as for `locate`.
        is_own: whether the bytes that stand there are an earlier one.
        otherwise: what the message says of a file that is none, for example `is not a plan`.
        options: for S3, as `open_store` takes them.

    Raises:
        ConfigError: as `locate`; or another file stands there.
        StorageError: it cannot be asked.
    """
    store, name = locate(place, flag, **options)
    known = get_if_there(store, name)
    if known is not None and not is_own(known):
        raise ConfigError(f"{flag}{place}: a file that {otherwise} exists there: give another name")
    return store, name
