"""The interface of all object stores."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Final, NamedTuple, Protocol, runtime_checkable

from raycolor.errors import ConfigError, StorageError

RECORDS: Final = "_raycolor/"
"""What a job keeps beside its outputs; the folder that holds it is a job's destination."""

TEMP_PREFIX: Final = ".raycolor-"
TEMP_NAME: Final = re.compile(r"\.raycolor-[0-9a-f]{8}-[0-9a-f]{16}\Z")
"""Names of half-written files: the writer's folder, and a number of its own. Never listed, removed by `sweep`."""


class ObjectInfo(NamedTuple):
    """One object as a listing names it."""

    key: str
    """Path relative to the store's root, with `/` between parts; always valid UTF-8."""
    size: int
    """Bytes."""
    etag: str
    """Changes when the content does; comparable only within one store. Empty for a link that leads nowhere."""


@runtime_checkable
class ObjectStore(Protocol):
    """A flat set of objects under one root. Stores are picklable and may be shared by threads.

    What goes wrong raises `StorageError` and nothing else: `not_found`, `access_denied`, `archived_storage_class` or
    `storage_error`. What is worth another try has been tried again before the error is raised. A store with patience
    also waits for a place that is out, and raises `OutageError` when patience ends.
    """

    uri: str
    """What `open_store` takes to open this store again."""

    def list(self, prefix: str = "") -> Iterator[ObjectInfo]:
        """Yield the objects whose key starts with `prefix`, sorted by key (UTF-8 byte order), without holding all.

        S3 keeps this order, and so does a folder; of other servers some (SeaweedFS) sort folder by folder, so that
        `a/b` comes before `a-b`. The order of one place is always the same.
        """
        ...

    def some(self, count: int) -> Sequence[str]:
        """Return up to `count` keys in any order, quickly: a test whether the place answers."""
        ...

    def get(self, key: str, *, version_id: str | None = None) -> bytes:
        """Return all bytes of one object, of one version of it if given; ConfigError where there are no versions."""
        ...

    def get_range(self, key: str, start: int, length: int, *, version_id: str | None = None) -> bytes:
        """Return `length` bytes from offset `start`; fewer only where the object ends. Versions as in `get`."""
        ...

    def stat(self, key: str, *, version_id: str | None = None) -> ObjectInfo | None:
        """Return size and etag of one object, or None where there is none. Versions as in `get`."""
        ...

    def put(self, key: str, data: bytes, *, only_if_absent: bool = False) -> bool:
        """Write one object whole or not at all.

        Args:
            key: replaced if it exists, unless `only_if_absent`.
            data: all bytes.
            only_if_absent: of many writers at once exactly one wins.

        Returns:
            True if written, False if `only_if_absent` and the key already holds an object.
        """
        ...

    def put_file(self, key: str, path: Path) -> None:
        """Write one object, replaced if it exists, whole or not at all, from a local file of any size."""
        ...

    def update(self, key: str, change: Callable[[bytes | None], bytes]) -> bytes:
        """Write what a function makes of an object's bytes; of many who do so at once none loses what another wrote.

        Args:
            key: of the object; whoever else writes it must do so by `update`, too.
            change: gets all bytes, or None where there is no object. It may be called again, also with what it has made
                itself, and returns what it gets where nothing is to be changed.

        Returns:
            The bytes that stand there then.
        """
        ...

    def delete(self, key: str) -> None:
        """Remove one object; one that is not there is no error."""
        ...

    def sweep(self, prefix: str = "", *, older_than_s: float = 3600.0) -> int:
        """Remove what killed writers of this store left behind under `prefix`; return how many pieces that were."""
        ...


def get_if_there(store: ObjectStore, key: str) -> bytes | None:
    """Return all bytes of one object, or None where there is none.

    Raises:
        StorageError: it is there and cannot be read.
    """
    try:
        return store.get(key)
    except StorageError as exc:
        if exc.reason == "not_found":
            return None
        raise


def check_endpoint(url: str | None, where: str) -> str | None:
    """Return the address of an S3 server, or refuse one that holds credentials: it is written into records and logs.

    Args:
        url: the address, or None.
        where: what it was set by, for the message.

    Raises:
        ConfigError: it holds a user, a password or a query; the message does not repeat them.
    """
    # Not parsed: whatever a password holds, no part of it may be taken for the host.
    if url is None or not any(char in url for char in "@?#"):
        return url
    raise ConfigError(
        f"{where}: holds credentials (a user, a password or a query), which would be written into records and logs: "
        "give the address alone, and the credentials as AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
    )


def check_key(key: str) -> None:
    """Refuse keys that name no object inside a root.

    Raises:
        StorageError: an empty key or part, `.`, `..`, or a NUL: none of these may lead out of the root.
    """
    if "\0" in key or any(part in ("", ".", "..") for part in key.split("/")):
        raise StorageError(
            "storage_error", f"key {key!r}: empty parts, '.', '..' and NUL are not supported: rename the object"
        )
