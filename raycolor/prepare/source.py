"""Photographs by key, out of a folder, an S3 prefix, or a tar that is read in place."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import Final, NamedTuple

from raycolor.errors import ArchiveError, ConfigError, DecodeError, ImageError
from raycolor.sources.reader import fetcher
from raycolor.sources.streams import RangedBytes
from raycolor.sources.tars import LARGEST_MEMBER, tar_members
from raycolor.storage import LocalStore, ObjectStore, open_store
from raycolor.storage.local import name_to_key

# By name alone: a list of millions must not cost a request each. A file without a suffix may be a picture.
PICTURE_SUFFIXES: Final = frozenset(
    ["", ".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".tif", ".tiff", ".webp", ".bmp", ".jp2", ".j2k", ".gif", ".ppm"]
)
# Headers stand between the photographs: on disk jump to them, over a network read on in large pieces.
_CHUNK_LOCAL: Final = 1 << 12
_CHUNK_REMOTE: Final = 8 << 20
_COMPRESSED: Final = (".tar.gz", ".tgz", ".tar.bz2", ".tar.xz", ".tar.zst", ".zip")


class Picture(NamedTuple):
    """Where one photograph is."""

    key: str
    start: int
    """Offset in the tar; -1 for an object of its own."""
    length: int


class PictureSource:
    """Photographs of SOURCE; picklable, and cheap to open again in another process.

    Args:
        uri: a folder, `s3://bucket/prefix`, or a `.tar` in either place.

    Raises:
        ConfigError: nothing there, or a compressed archive, which cannot be read at random places.
    """

    def __init__(self, uri: str) -> None:
        self.uri = uri
        if uri.lower().endswith(_COMPRESSED):
            raise ConfigError(f"{uri}: compressed archives cannot be read in place: unpack it, or make a plain .tar")
        self.tar_key: str | None = None
        if uri.lower().endswith(".tar"):
            parent, _, name = uri.rpartition("/")
            self.store: ObjectStore = open_store(parent or ("/" if uri.startswith("/") else "."))
            self.tar_key = name_to_key(name) if isinstance(self.store, LocalStore) else name
            found = self.store.stat(self.tar_key)
            if found is None:
                raise ConfigError(f"{uri}: no such file: check the path")
            self._tar_size = found.size
        else:
            self.store = open_store(uri, must_exist=True)

    @property
    def is_remote(self) -> bool:
        """Whether each read waits for a network, so that several should be under way at once."""
        return not isinstance(self.store, LocalStore)

    def list(self) -> Iterator[Picture]:
        """Yield every file, in the order of the store or of the tar; of members that share a name the last is meant.

        Raises:
            ArchiveError: a tar that is damaged or cut short.
            StorageError: the store cannot be listed.
        """
        if self.tar_key is None:
            for info in self.store.list():
                yield Picture(info.key, -1, info.size)
        else:
            yield from self._members(self.tar_key)

    def read(self, picture: Picture) -> bytes:
        """Return the bytes of one photograph.

        Raises:
            ImageError: a member of a tar is larger than 2 GiB.
            StorageError: it cannot be read.
        """
        if self.tar_key is None:
            return self.store.get(picture.key)
        if picture.length > LARGEST_MEMBER:
            raise ImageError("too_large", f"{picture.length} bytes inside an archive")
        return self.store.get_range(self.tar_key, picture.start, picture.length)

    def _members(self, tar_key: str) -> Iterator[Picture]:
        chunk = _CHUNK_REMOTE if self.is_remote else _CHUNK_LOCAL
        file = RangedBytes(fetcher(self.store, tar_key, None), self._tar_size, chunk)
        try:
            for member in tar_members(file, "tar"):
                # Links and sparse files have another reason.
                if member.location.reason in (None, "too_large"):
                    yield Picture(name_to_key(member.name.removeprefix("./")), member.location.start, member.size)
        except DecodeError as exc:
            raise ArchiveError(f"{self.uri}: {exc.detail}: fetch it again") from exc


def is_picture(key: str) -> bool:
    """Whether a file may be a picture by its name; hidden files are none."""
    path = PurePosixPath(key)
    return path.suffix.lower() in PICTURE_SUFFIXES and not path.name.startswith(".")
