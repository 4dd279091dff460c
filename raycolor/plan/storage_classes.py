"""Storage classes, read from S3's answers to other requests."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from raycolor.storage import ObjectStore

_STANDARD: Final = "STANDARD"  # S3 leaves it out in some answers


class StorageClasses:
    """Reads storage classes from S3's answers on watched stores.

    Attributes:
        read: class of the object read last, None if S3 was not asked since it was set to None.
    """

    def __init__(self) -> None:
        self.read: str | None = None
        self._page: dict[str, str] = {}
        self._watched: list[ObjectStore] = []

    def watch(self, store: ObjectStore) -> None:
        """Hear the answers to this store from now on; folders have no classes."""
        from raycolor.storage.s3 import S3Store

        if not isinstance(store, S3Store) or any(store is known for known in self._watched):
            return
        self._watched.append(store)
        events = store.client.meta.events
        # Last: before that keys are still URL-encoded, as they came.
        events.register_last("after-call.s3.ListObjectsV2", self._hear_list)
        events.register_last("after-call.s3.GetObject", self._hear_get)

    def listed(self, store: ObjectStore, key: str) -> str | None:
        """Return the class of an object on the page listed last, None if it is not on it."""
        return self._page.get(f"{getattr(store, 'prefix', '')}{key}")

    def _hear_list(self, parsed: Mapping[str, Any], **_: Any) -> None:
        self._page = {found["Key"]: found.get("StorageClass", _STANDARD) for found in parsed.get("Contents", [])}

    def _hear_get(self, parsed: Mapping[str, Any], **_: Any) -> None:
        error = parsed.get("Error")
        # A refusal because of the class tells the class as well.
        named = parsed.get("StorageClass") if error is None else error.get("StorageClass")
        if error is None or named:
            self.read = named or _STANDARD
