"""A store that waits during an outage, with expired credentials or a wrong clock."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Final, TypeVar

from raycolor.errors import OutageError, StorageError
from raycolor.storage.base import ObjectInfo, ObjectStore
from raycolor.storage.local import LocalStore

logger = logging.getLogger(__name__)

T = TypeVar("T")

_OTHERS: Final = 4  # objects that are tried before a refusal is put down to the place
_FIRST_PAUSE_S: Final = 0.5
_LONGEST_PAUSE_S: Final = 15.0
_FIRST_NOTICE_S: Final = 10.0


class _Way:
    """Reading from a place, or writing to it: one may work while the other does not."""

    def __init__(self) -> None:
        self.probing = threading.Lock()
        self.changed = threading.Condition()
        self.heard_at = -1.0
        """Monotonic time at which the last request that succeeded was begun."""
        self.out_since: float | None = None

    def heard(self, begun: float) -> None:
        """Note that a request begun at `begun` was answered, and wake all who wait.

        What was begun before a failure says nothing about the place since: it may end long after the outage began.
        """
        with self.changed:
            self.heard_at, self.out_since = max(self.heard_at, begun), None
            self.changed.notify_all()


class PatientStore:
    """Another store, with patience: it finds out whether an error concerns the place or the object.

    After such an error (`StorageError.place`) the place is probed: by an object that was read before, else by a few
    that it lists; where writing failed, by writing a small object. If the place answers, the request is made once more,
    and what it says then is about the object. If not, the store waits and probes until it does. One thread probes for
    all. The wait is logged at growing intervals, as event `waiting`.

    Args:
        store: does the work.
        quick: the same place without tries of its own, for probes.
        patience_s: longest wait.
        probe_under: key prefix for what is written to probe; None where nothing may be written.

    Raises:
        OutageError: in every method but `list`, `some` and `sweep`: the place did not answer within `patience_s`.
    """

    def __init__(
        self, store: ObjectStore, quick: ObjectStore, patience_s: float, probe_under: str | None = None
    ) -> None:
        self._store, self._quick, self._patience_s, self._probe_under = store, quick, patience_s, probe_under
        self.uri = store.uri
        self._reading, self._writing = _Way(), _Way()
        self._known: str | None = None

    def __reduce__(self) -> tuple[type[PatientStore], tuple[ObjectStore, ObjectStore, float, str | None]]:
        return type(self), (self._store, self._quick, self._patience_s, self._probe_under)

    def list(self, prefix: str = "") -> Iterator[ObjectInfo]:
        """As the store's, without patience: half a listing cannot be taken up again."""
        return self._store.list(prefix)

    def some(self, count: int) -> Sequence[str]:
        return self._store.some(count)

    def sweep(self, prefix: str = "", *, older_than_s: float = 3600.0) -> int:
        return self._store.sweep(prefix, older_than_s=older_than_s)

    def get(self, key: str, *, version_id: str | None = None) -> bytes:
        return self._read(key, lambda: self._store.get(key, version_id=version_id))

    def get_range(self, key: str, start: int, length: int, *, version_id: str | None = None) -> bytes:
        return self._read(key, lambda: self._store.get_range(key, start, length, version_id=version_id))

    def stat(self, key: str, *, version_id: str | None = None) -> ObjectInfo | None:
        return self._patiently(
            self._reading, lambda: self._store.stat(key, version_id=version_id), lambda _: self._unread(key)
        )

    def put(self, key: str, data: bytes, *, only_if_absent: bool = False) -> bool:
        return self._write(lambda: self._store.put(key, data, only_if_absent=only_if_absent))

    def update(self, key: str, change: Callable[[bytes | None], bytes]) -> bytes:
        return self._write(lambda: self._store.update(key, change))

    def put_file(self, key: str, path: Path) -> None:
        self._write(lambda: self._store.put_file(key, path))

    def delete(self, key: str) -> None:
        self._write(lambda: self._store.delete(key), heard=False)

    def _write(self, act: Callable[[], T], *, heard: bool = True) -> T:
        return self._patiently(self._writing, act, lambda _: self._unwritten(), heard=heard)

    def _read(self, key: str, act: Callable[[], bytes]) -> bytes:
        data = self._patiently(self._reading, act, lambda error: self._unread(key, error), heard=True)
        self._known = key
        return data

    def _patiently(
        self,
        way: _Way,
        act: Callable[[], T],
        probe: Callable[[StorageError], StorageError | None],
        *,
        heard: bool = False,
    ) -> T:
        """Run a request; after an error that may be the place's, run it again once the place answers.

        Args:
            way: reading or writing.
            act: the request.
            probe: gets the error, and returns what is wrong with the place, or None if it answers.
            heard: a success says that the place answers, to whoever waits for it.
        """
        again = False
        while True:
            begun = time.monotonic()
            try:
                done = act()
                if heard:
                    way.heard(begun)
                return done
            except StorageError as exc:
                if not exc.place:
                    raise
                waited = self._wait(way, exc, probe)
                # Once more even if the place answers now: it may just have come back.
                if again and not waited:
                    raise
                again = True

    def _wait(self, way: _Way, error: StorageError, probe: Callable[[StorageError], StorageError | None]) -> bool:
        """Return once the place answers: True if that took a wait."""
        failed_at = time.monotonic()
        with way.probing:
            if way.heard_at > failed_at:
                return False
            trouble = probe(error)
            if trouble is None or not trouble.place:
                return False
            # Others may have waited before, in vain: their time counts.
            since = way.out_since = way.out_since or failed_at
            pause_s, notice_s, begun = _FIRST_PAUSE_S, 0.0, failed_at
            while trouble is not None:
                waited_s = time.monotonic() - since
                why = trouble.detail[len(self.uri) :].partition(": ")[2] or trouble.detail
                if waited_s >= self._patience_s:
                    raise OutageError(
                        f"{self.uri}: {why}: no answer in {waited_s:.0f} s (--patience), and photographs that were not "
                        "tried have no outcome: run the same command again when it answers"
                    ) from trouble
                if waited_s >= notice_s:
                    self._tell(
                        "waiting", f"{self.uri}: {why}: waiting, {waited_s:.0f} s of {self._patience_s:.0f} s", waited_s
                    )
                    notice_s = max(_FIRST_NOTICE_S, 2 * notice_s)
                with way.changed:
                    way.changed.wait_for(
                        lambda: way.heard_at > failed_at,
                        min(pause_s, max(since + self._patience_s - time.monotonic(), 0)),
                    )
                if way.heard_at > failed_at:
                    break
                pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)
                begun = time.monotonic()
                trouble = probe(error)
            waited_s = time.monotonic() - since
            way.heard(begun)
            self._tell("waiting_end", f"{self.uri}: answers again after {waited_s:.0f} s", waited_s)
            return True

    def _tell(self, event: str, text: str, waited_s: float) -> None:
        fields = {"place": self.uri, "waited_s": round(waited_s, 1), "patience_s": self._patience_s}
        logger.warning("%s", text, extra={"event": event, "fields": fields})

    def _unread(self, key: str, error: StorageError | None = None) -> StorageError | None:
        """Return why nothing can be read here, or None if the place answers and `error` is about `key` alone."""
        missing = error is not None and error.reason == "not_found"
        known = self._known
        if known is not None:
            why = self._unreadable(known)
            if why is None or why.reason != "not_found":
                return why
            if missing and self._probe_under is None:  # nobody removes photographs under a job
                return StorageError(
                    "not_found", f"{self.uri}: files that were there are gone: is it mounted?", place=True
                )
        try:
            listed = self._quick.some(_OTHERS)
        except StorageError as exc:
            return exc
        if missing:
            why = StorageError("not_found", f"{self.uri}: has no files any more: is it mounted?", place=True)
            return None if listed else why
        refused = None
        for other in listed:
            if other == key:
                continue
            why = self._unreadable(other)
            if why is None:
                return None
            if why.reason != "not_found":
                refused = why
        return refused

    def _unreadable(self, key: str) -> StorageError | None:
        """Return why one object cannot be read, if that may be the place's trouble or the object is gone."""
        try:
            self._quick.get_range(key, 0, 1)
        except StorageError as exc:
            return exc if exc.place or exc.reason == "not_found" else None
        return None

    def _unwritten(self) -> StorageError | None:
        """Return why nothing can be written here, or None if it can."""
        if self._probe_under is None:
            return None
        probe = f"{self._probe_under}probe-{os.getpid()}-{threading.get_ident()}"
        try:
            self._quick.put(probe, b"?")
            self._quick.delete(probe)
        except StorageError as exc:
            return exc
        return None


def local_store(store: ObjectStore) -> LocalStore | None:
    """Return the folder that a store is, with patience or without; None for S3."""
    plain = store._store if isinstance(store, PatientStore) else store
    return plain if isinstance(plain, LocalStore) else None
