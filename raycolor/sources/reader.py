"""Read the bytes of an input: an object, one version of it, or a member of an archive."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from raycolor.errors import ImageError, StorageError
from raycolor.sources import tars, zips
from raycolor.sources.location import Input, Location, SkippedInputError
from raycolor.sources.never_list import NeverList
from raycolor.sources.non_photographs import non_photograph
from raycolor.sources.streams import RangedBytes, UnpackedBytes, fetcher
from raycolor.storage import ObjectInfo, ObjectStore, open_store

_CHUNK = 8 << 20


class Reader:
    """Reads inputs of one source; picklable, and cheap to make.

    Members of `.tar` and `.zip` cost one ranged read each. A `.tar.gz` is unpacked from the front, once for all members
    asked for in the order of the archive, as a shard does; nothing of it is kept on disk, and 10 MB in memory.

    Args:
        root: store of the inputs whose location names none.
        options: for S3, as `open_store` takes them.
        max_bytes: what is larger is refused unread.
        never: what `get` must not read.
    """

    def __init__(
        self,
        root: str,
        options: Mapping[str, Any] | None = None,
        max_bytes: int | None = None,
        never: NeverList | None = None,
    ) -> None:
        self.root, self._options, self._max_bytes, self._never = root, dict(options or {}), max_bytes, never
        self._stores: dict[str, ObjectStore] = {}
        self._unpacking: tuple[tuple[str | None, str, str | None], UnpackedBytes] | None = None

    def __reduce__(self) -> tuple[type[Reader], tuple[str, dict[str, Any], int | None, NeverList | None]]:
        return type(self), (self.root, self._options, self._max_bytes, self._never)

    def store(self, uri: str | None = None) -> ObjectStore:
        """Return the store of a location; None is the source's own."""
        uri = uri or self.root
        if uri not in self._stores:
            self._stores[uri] = open_store(uri, **self._options)
        return self._stores[uri]

    def sized(self, info: Input) -> Input:
        """Return an input with its size; ask the store if the list does not give it.

        Where nothing answers it comes back as it is: whoever reads it will say why.
        """
        place = info.location
        if info.size or place.kind is not None or place.reason is not None or self._left_alone(info.key) is not None:
            return info
        found = self.look(info)
        return info if found is None else info._replace(size=found.size)

    def look(self, info: Input) -> ObjectInfo | None:
        """Return size and etag of the object behind an input, or None where nothing answers."""
        try:
            return self.store(info.location.uri).stat(info.object, version_id=info.location.version)
        except StorageError:
            return None

    def get(self, info: Input) -> bytes:
        """Return all bytes of one input, whose size is known (`sized`), unless its key says that it is left alone.

        Raises:
            ImageError: as `get_any`. `SkippedInputError` if it is no photograph, or must not be colorized: then nothing
                is read.
        """
        if (why := self._left_alone(info.key)) is not None:
            raise why
        return self.get_any(info)

    def _left_alone(self, key: str) -> SkippedInputError | None:
        if (what := non_photograph(key)) is not None:
            return SkippedInputError("not_a_photograph", what)
        if self._never is not None and (why := self._never.why(key)) is not None:
            return SkippedInputError("excluded", why)
        return None

    def get_any(self, info: Input) -> bytes:
        """Return all bytes of one input of known size, whatever its name.

        Raises:
            ImageError: it cannot be read; `reason` is what its outcome says.
        """
        place = info.location
        if place.reason is not None:
            raise (SkippedInputError if place.skipped else ImageError)(place.reason, place.detail)
        if self._max_bytes is not None and info.size > self._max_bytes:
            raise ImageError("too_large", f"{info.size:,} bytes: --max-file-bytes allows {self._max_bytes:,}")
        store, key = self.store(place.uri), info.object
        if place.kind is None:
            return store.get(key, version_id=place.version)
        fetch = fetcher(store, key, place.version)
        if place.kind == "zip":
            return zips.read_member(fetch, place, info.size)
        if place.kind == "tar":
            # The whole stretch is asked for at once: header and data.
            end = place.start + info.size
            return tars.read_member(RangedBytes(fetch, end, tars.BLOCK + info.size), place.start, info.size)
        return self._unpacked(store, key, place, info.size)

    def in_order(self, info: Input) -> bool:
        """Whether an input has to be read after the one before it: a member of an archive that is packed as a whole."""
        return info.location.kind == "tgz"

    def _unpacked(self, store: ObjectStore, key: str, place: Location, size: int) -> bytes:
        begin = place.start - tars.BLOCK
        known = self._unpacking
        if known is None or known[0] != (place.uri, key, place.version) or known[1].tell() > begin:
            found = store.stat(key, version_id=place.version)
            if found is None:
                raise StorageError("not_found", f"{store.uri}/{key}: no such object")
            packed = RangedBytes(fetcher(store, key, place.version), found.size, _CHUNK)
            known = (place.uri, key, place.version), UnpackedBytes(packed)
        self._unpacking = None
        data = tars.read_member(known[1], place.start, size)
        self._unpacking = known
        return data
