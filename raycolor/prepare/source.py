"""Photographs by key, out of a folder, an S3 prefix, or a tar that is read in place."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import Final, NamedTuple

from raycolor.errors import ArchiveError, ConfigError
from raycolor.storage import LocalStore, ObjectStore, open_store
from raycolor.storage.local import name_to_key

# By name alone: a list of millions must not cost a request each. A file without a suffix may be a picture.
PICTURE_SUFFIXES: Final = frozenset(
    ["", ".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".tif", ".tiff", ".webp", ".bmp", ".jp2", ".j2k", ".gif", ".ppm"]
)
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
            if self.store.stat(self.tar_key) is None:
                raise ConfigError(f"{uri}: no such file: check the path")
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
            StorageError: it cannot be read.
        """
        if self.tar_key is None:
            return self.store.get(picture.key)
        return self.store.get_range(self.tar_key, picture.start, picture.length)

    def _members(self, tar_key: str) -> Iterator[Picture]:
        # Headers stand between the photographs: on disk jump to them, over a network read on in large pieces.
        buffer_size = 1 << 23 if self.is_remote else 1 << 12
        file = io.BufferedReader(_RangedFile(self.store, tar_key), buffer_size)
        try:
            with tarfile.open(fileobj=file, mode="r:") as tar:
                while (member := tar.next()) is not None:
                    tar.members.clear()  # type: ignore[attr-defined]  # tarfile keeps every member otherwise: 1 KB for each of millions
                    if member.isreg() and not member.issparse():
                        yield Picture(name_to_key(member.name.removeprefix("./")), member.offset_data, member.size)
                # tarfile takes a broken header for the end of the archive; the end is a block of zeros.
                file.seek(tar.offset)
                if any(file.read(tarfile.BLOCKSIZE)):
                    raise ArchiveError(f"{self.uri}: damaged at byte {tar.offset}: fetch it again")
        except tarfile.TarError as exc:
            raise ArchiveError(f"{self.uri}: not a whole tar ({exc}): fetch it again") from exc


def is_picture(key: str) -> bool:
    """Whether a file may be a picture by its name; hidden files are none."""
    path = PurePosixPath(key)
    return path.suffix.lower() in PICTURE_SUFFIXES and not path.name.startswith(".")


class _RangedFile(io.RawIOBase):
    """A read-only file over ranged reads of one object."""

    def __init__(self, store: ObjectStore, key: str) -> None:
        self._store, self._key, self._at = store, key, 0
        info = store.stat(key)
        self._size = info.size if info else 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence]
        self._at = max(0, base + offset)
        return self._at

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        length = min(len(buffer), self._size - self._at)
        if length <= 0:
            return 0
        data = self._store.get_range(self._key, self._at, length)
        buffer[: len(data)] = data
        self._at += len(data)
        return len(data)
