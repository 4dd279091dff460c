"""Outputs of a bulk job: what they are called, and how they are written without replacing anybody's file."""

from __future__ import annotations

import re
import secrets
import string
import unicodedata
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace

from raycolor.colorize.job_folder import ATTEMPTS, FOLDER
from raycolor.errors import ConfigError, StorageError
from raycolor.sources import Input, LinkGuard
from raycolor.sources.key_set import KeySet
from raycolor.sources.non_photographs import non_photograph
from raycolor.storage import ObjectStore
from raycolor.storage.patience import local_store

_ADDED = re.compile(r"\.raycolor\.[a-z0-9]+\Z")
# A part of a key that a folder would take for a half-written file, or that has been made so from one.
_LIKE_HALF_WRITTEN = re.compile(r"(?<![^/])(?:\.|%(?:25)*2E)(?=raycolor-[0-9a-f]{8}-[0-9a-f]{16}(?:/|\Z))")

_ASCII_LOWER = str.maketrans(string.ascii_uppercase, string.ascii_lowercase)
_SHARED = "another input's name differs in letters only that this file system takes for the same: rename one of them"


def name_output(key: str, extension: str | None) -> str:
    """Return the key of an input's output: the input's, with `.raycolor.EXT` where the format had to change.

    An input whose key ends so already gets the same once more, or it would share its output with another input. A
    name like those of half-written files begins with `%2E` instead of the dot, with `%252E` where it came so.
    """
    key = _LIKE_HALF_WRITTEN.sub(lambda found: "%2E" if found[0] == "." else f"%25{found[0][1:]}", key)
    if extension:
        return f"{key}.raycolor{extension}"
    added = _ADDED.search(key)
    return key + added[0] if added else key


class KeyRefusedError(StorageError):
    """One output that must not be written, whatever else its destination takes."""


class Outputs:
    """Writes outputs without replacing a file that the job did not make. Safe to use from several threads.

    Args:
        dest: the job's destination.
        source: the store of its inputs, into which no link may lead.
    """

    def __init__(self, dest: ObjectStore, source: str) -> None:
        self._dest, self._local = dest, local_store(dest)
        self._guard = LinkGuard(dest.uri, source) if self._local is not None else None

    def put(self, key: str, data: bytes, *, own: bool = False) -> None:
        """Write one output.

        Outputs are whole and the same whoever makes them: what an attempt that was killed has left here has these very
        bytes, and stays. Everything else that stands here is somebody else's.

        Args:
            key: where.
            data: all bytes.
            own: an outcome of this job names the key: what stands there is replaced.

        Raises:
            KeyRefusedError: it would replace a file of somebody else, or lie in the source.
            StorageError: it cannot be written.
        """
        if self._guard is not None and self._local is not None:
            folder = self._local.path(key).parent
            if self._guard.leads_into_source(folder):
                raise KeyRefusedError("storage_error", f"{folder}: a link leads into the SOURCE: remove it from DEST")
        if self._dest.put(key, data, only_if_absent=not own):
            return
        found = self._dest.stat(key)
        if found is not None and self._local is not None and not self._local.is_spelled(key):
            raise KeyRefusedError("storage_error", _SHARED)
        if found is None or found.size != len(data) or self._dest.get(key) != data:
            raise KeyRefusedError(
                "storage_error",
                f"{self._dest.uri}/{key}: exists already, and this job did not make it: move it away",
            )


def with_free_outputs(dest: ObjectStore, inputs: Iterator[Input]) -> Iterator[Input]:
    """Pass the inputs of a new job on, once it is known that their outputs replace nothing.

    Of two whose outputs share one name on the destination's file system, the later is fixed to be a `storage_error`.
    Memory does not grow with the number of inputs, nor with that of files in the destination.

    Raises:
        ConfigError: after the last input, if the destination holds files where outputs would go.
        StorageError: the destination cannot be listed or written.
    """
    same = _same_names(dest)
    with ExitStack() as books:
        standing, named = books.enter_context(KeySet()), books.enter_context(KeySet())
        files = taken = 0
        first = ""
        for there in dest.list():
            if not there.key.startswith(FOLDER):
                files += 1
                standing.add((same or str)(_without_added(there.key)))
        if not files and same is None:
            yield from inputs
            return
        for given in inputs:
            info: Input = given
            if info.location.reason is None and non_photograph(info.key) is None:  # else it gets no output
                name = (same or str)(_without_added(name_output(info.key, None)))
                if files and name in standing:
                    taken += 1
                    first = first or info.key
                if same is not None and not named.add(name):
                    place = replace(info.location, reason="storage_error", detail=f"output: {_SHARED}")
                    info = info._replace(location=place)
            yield info
    if taken:
        more = f" and {taken - 1:,} more" if taken > 1 else ""
        raise ConfigError(
            f"DEST {dest.uri}: holds a file where the output of {first}{more} would go, and this job did not make it: "
            "give another DEST, move the file away, or leave the input out with --exclude"
        )


def _without_added(key: str) -> str:
    """Return what the outputs of one input have in common, whatever their format."""
    return _ADDED.sub("", key)


def _same_names(dest: ObjectStore) -> Callable[[str], str] | None:
    """Return a function that makes equal names that the destination treats as one; None where it has none, as S3."""
    if local_store(dest) is None:
        return None
    probe = f"{ATTEMPTS}names-{secrets.token_hex(4)}-"
    dest.put(f"{probe}caf\u00e9", b"")
    try:
        every, ascii_only, forms = (
            dest.stat(probe + other) is not None for other in ("CAF\u00c9", "CAF\u00e9", "cafe\u0301")
        )
    finally:
        dest.delete(f"{probe}caf\u00e9")
    if not (every or ascii_only or forms):
        return None

    def same(key: str) -> str:
        if every:
            key = key.casefold()
        elif ascii_only:
            key = key.translate(_ASCII_LOWER)
        return unicodedata.normalize("NFC", key) if forms else key

    return same
