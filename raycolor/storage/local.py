"""Objects as files below a local folder."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import fcntl
import hashlib
import itertools
import os
import re
import secrets
import stat as stat_modes
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cached_property
from pathlib import Path

from raycolor.errors import ConfigError, StorageError
from raycolor.storage.base import RECORDS, TEMP_NAME, TEMP_PREFIX, ObjectInfo, check_key

# Keys go into Parquet, CSV and S3, which take UTF-8 only, but a Linux file name is any bytes. A byte that is no UTF-8
# becomes %XX, and a % that would read as such becomes %25; every other name is its own key, "50%.jpg" included.
_ESCAPE = re.compile(r"%(25|[89A-F][0-9A-F])")
_NEEDS_ESCAPE = re.compile(r"%(?=25|[89A-F][0-9A-F])|[\udc80-\udcff]")

_COPIED_BYTES = 1 << 20
_NO_LINKS = errno.ENOLINK  # raised here only, where a file system can give no name without replacing another file

_FIXES = {
    _NO_LINKS: "the file system has neither hard links nor a rename that replaces nothing, which keep two writers "
    "from one file: write to another file system or to S3",
    errno.ENOSPC: "no space left on the device (ENOSPC): free some, then run the same command again",
    errno.EDQUOT: "disk quota exceeded (EDQUOT): free some, then run the same command again",
    errno.ENAMETOOLONG: "the file name is too long for this file system (ENAMETOOLONG): shorten it or write to S3",
    errno.EROFS: "the file system is read-only (EROFS): choose another folder",
    errno.ENOTDIR: "a file stands where a folder is needed (ENOTDIR): rename one of the two",
    errno.EISDIR: "a folder stands where a file is needed (EISDIR): rename one of the two",
    errno.EMFILE: "too many open files (EMFILE): raise `ulimit -n`",
    errno.ESTALE: "the network file system has lost the file (ESTALE): mount it again",
    errno.ENOTCONN: "the file system has lost its connection (ENOTCONN): mount it again",
    errno.EIO: "the disk or network file system failed to read or write (EIO): check it",
}
# What a mount that is gone answers, each of which may also be the fault of one file.
_OF_THE_PLACE = frozenset(
    {errno.ENOENT, errno.EACCES, errno.EPERM, errno.EIO, errno.ESTALE, errno.ENOTCONN, errno.ENODEV, errno.ENXIO}
    | {errno.ETIMEDOUT, errno.EHOSTDOWN, errno.EHOSTUNREACH, errno.ENETDOWN, errno.ENETUNREACH}
)
_LOOKED_AT = 2_000  # entries, to find a few files quickly


def name_to_key(name: str) -> str:
    """Turn a file name as Python gives it (undecodable bytes as surrogates) into UTF-8 text, reversibly."""
    if "%" not in name and name.isascii():
        return name
    return _NEEDS_ESCAPE.sub(lambda m: "%25" if m[0] == "%" else f"%{ord(m[0]) - 0xDC00:02X}", name)


def key_to_name(key: str) -> str:
    """Invert `name_to_key`; takes a whole key as well as one part."""
    if "%" not in key:
        return key
    return os.fsdecode(
        _ESCAPE.sub(lambda m: chr(0xDC00 + int(m[1], 16)) if m[1] != "25" else "%", key).encode(
            "utf-8", "surrogateescape"
        )
    )


def storage_error(exc: OSError, what: str) -> StorageError:
    """Turn an OSError into ours; `what` names the file or folder."""
    place = exc.errno in _OF_THE_PLACE
    if isinstance(exc, FileNotFoundError):
        return StorageError("not_found", f"{what}: no such file", place=place)
    if isinstance(exc, PermissionError):
        detail = "permission denied: check the owner and mode of the file"
        return StorageError("access_denied", f"{what}: {detail}", place=place)
    detail = _FIXES.get(exc.errno or 0, exc.strerror or str(exc))
    return StorageError("storage_error", f"{what}: {detail}", place=place)


@contextlib.contextmanager
def _named(path: Path) -> Iterator[None]:
    """Turn an OSError inside into ours, which names this file or folder."""
    try:
        yield
    except OSError as exc:
        raise storage_error(exc, str(path)) from exc


class LocalStore:
    """Objects as files below one folder, which is created by the first `put`.

    Links are followed, except a link to a folder that holds it. Half-written files (`TEMP_NAME`) are not listed.
    Names that are no UTF-8 appear with `%XX` for each such byte (see `name_to_key`).
    """

    def __init__(self, root: str | Path) -> None:
        self.root = Path(root).expanduser().absolute()
        self.uri = str(self.root)

    def path(self, key: str) -> Path:
        """Return where `key` lives on disk."""
        check_key(key)
        return self.root / key_to_name(key)

    def temp_name(self) -> str:
        """Return a name for a half-written file that only writers to this folder give, however they spell it."""
        return f"{self._temp_prefix}{secrets.token_hex(8)}"

    @cached_property
    def _temp_prefix(self) -> str:
        place = os.fsencode(os.path.realpath(self.root))
        return f"{TEMP_PREFIX}{hashlib.blake2b(place, digest_size=4).hexdigest()}-"

    def list(self, prefix: str = "") -> Iterator[ObjectInfo]:
        """Yield the files whose key starts with `prefix`, sorted by key; holds one folder's names at a time."""
        folder, slash, _ = prefix.rpartition("/")
        if slash and folder:
            check_key(folder)
        start = self.root / key_to_name(folder)
        for key, entry in self._walk(start, folder + slash, prefix, frozenset()):
            if TEMP_NAME.match(entry.name):
                continue
            try:
                status = entry.stat()
            except OSError:
                # A link to nothing is an input that cannot be read: whoever asked for a list must hear of it.
                yield ObjectInfo(key, 0, "")
                continue
            if stat_modes.S_ISREG(status.st_mode):
                yield ObjectInfo(key, status.st_size, _etag(status))

    def _walk(
        self, folder: Path, base: str, prefix: str, above: frozenset[tuple[int, int]]
    ) -> Iterator[tuple[str, os.DirEntry[str]]]:
        """Yield (key, entry) of every file below `folder`; `above` holds the folders on the way down."""
        try:
            status = folder.stat()
            here = (status.st_dev, status.st_ino)
            if here in above:
                return
            with os.scandir(folder) as entries:
                # A folder sorts as its name with a slash, so that keys come out in the order S3 would give.
                found = sorted(
                    ((base + name_to_key(entry.name) + ("/" if _is_folder(entry) else ""), entry) for entry in entries),
                    key=lambda pair: pair[0],
                )
        except (FileNotFoundError, NotADirectoryError):
            return  # no such folder, or removed while listing: it holds nothing
        except OSError as exc:
            raise storage_error(exc, str(folder)) from exc
        for key, entry in found:
            if key.endswith("/"):
                if key.startswith(prefix) or prefix.startswith(key):
                    yield from self._walk(folder / entry.name, key, prefix, above | {here})
            elif key.startswith(prefix):
                yield key, entry

    def some(self, count: int) -> Sequence[str]:
        found = []
        folders, looked = [(self.root, "")], 0
        while folders and looked < _LOOKED_AT:
            folder, base = folders.pop()
            try:
                with os.scandir(folder) as entries:
                    for entry in itertools.islice(entries, _LOOKED_AT):
                        looked += 1
                        key = base + name_to_key(entry.name)
                        if _is_folder(entry):
                            folders.append((folder / entry.name, key + "/"))
                        elif not TEMP_NAME.match(entry.name) and entry.is_file():
                            found.append(key)
                            if len(found) == count:
                                return found
            except OSError as exc:
                if folder == self.root:
                    raise storage_error(exc, str(folder)) from exc
        return found

    def get(self, key: str, *, version_id: str | None = None) -> bytes:
        return self.get_range(key, 0, -1, version_id=version_id)

    def get_range(self, key: str, start: int, length: int, *, version_id: str | None = None) -> bytes:
        path = self._unversioned(key, version_id)
        with _named(path):
            # Without O_NONBLOCK, opening a named pipe would wait for a writer for ever.
            descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
            with os.fdopen(descriptor, "rb", buffering=0) as file:
                if not stat_modes.S_ISREG(os.fstat(file.fileno()).st_mode):
                    raise StorageError("storage_error", f"{path}: not a regular file: remove it from the source")
                if start:
                    file.seek(start)
                if length < 0:
                    return file.readall()
                parts = []
                while length > 0 and (part := file.read(length)):
                    parts.append(part)
                    length -= len(part)
                return b"".join(parts)

    def _unversioned(self, key: str, version_id: str | None) -> Path:
        if version_id is not None:
            raise ConfigError(f"{self.uri}: a folder keeps no versions: leave the version column empty")
        return self.path(key)

    def stat(self, key: str, *, version_id: str | None = None) -> ObjectInfo | None:
        path = self._unversioned(key, version_id)
        with _named(path):
            try:
                status = path.stat()
            except (FileNotFoundError, NotADirectoryError):
                return None
        return ObjectInfo(key, status.st_size, _etag(status)) if stat_modes.S_ISREG(status.st_mode) else None

    def put(self, key: str, data: bytes, *, only_if_absent: bool = False) -> bool:
        """Write one file whole or not at all: a temporary one beside it, synced to disk, then renamed."""
        return self._write(key, (data,), only_if_absent)

    def update(self, key: str, change: Callable[[bytes | None], bytes]) -> bytes:
        """Write what a function makes of a file's bytes, under a lock on the file; see `ObjectStore.update`."""
        path = self.path(key)
        while True:
            try:
                # For writing: network file systems lock no other.
                descriptor = os.open(path, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
            except FileNotFoundError:
                made = change(None)
                if self.put(key, made, only_if_absent=True):
                    return made
                continue
            except OSError as exc:
                raise storage_error(exc, str(path)) from exc
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX)
                # Whoever held the lock has put another file in its place.
                if not os.path.samestat(os.fstat(descriptor), path.stat()):
                    continue
                found = self.get(key)
                made = change(found)
                if made != found:
                    self.put(key, made)
                return made
            except FileNotFoundError:
                continue
            except OSError as exc:
                raise storage_error(exc, str(path)) from exc
            finally:
                os.close(descriptor)

    def put_file(self, key: str, path: Path) -> None:
        """Write one file whole or not at all, as `put` does, from another file."""
        with _named(path), path.open("rb") as file:
            self._write(key, iter(lambda: file.read(_COPIED_BYTES), b""), only_if_absent=False)

    def _write(self, key: str, pieces: Iterable[bytes], only_if_absent: bool) -> bool:
        path = self.path(key)
        temp = path.parent / self.temp_name()
        with _named(path):
            try:
                path.parent.mkdir(parents=True, exist_ok=True)
            except FileExistsError as exc:
                raise NotADirectoryError(errno.ENOTDIR, "not a folder") from exc
            try:
                # Not tempfile: its mode 0600 would stay on the finished file.
                descriptor = os.open(temp, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
                with os.fdopen(descriptor, "wb", buffering=0) as file:
                    for piece in pieces:
                        rest = memoryview(piece)
                        while rest:
                            rest = rest[file.write(rest) :]
                    os.fsync(file.fileno())
                if not only_if_absent:
                    temp.replace(path)
                    return True
                _name_if_free(temp, path)
                return True
            except FileExistsError:
                return False
            finally:
                with contextlib.suppress(FileNotFoundError):
                    temp.unlink()

    def is_spelled(self, key: str) -> bool:
        """Whether a file stands under just this key, not under one that the file system takes for the same."""
        place = self.root
        for part in key_to_name(key).split("/"):
            with _named(place), os.scandir(place) as entries:
                if not any(entry.name == part for entry in entries):
                    return False
            place /= part
        return True

    def delete(self, key: str) -> None:
        """Remove one file; one that is not there is no error. Empty folders stay."""
        path = self.path(key)
        with _named(path), contextlib.suppress(NotADirectoryError):
            path.unlink(missing_ok=True)

    def sweep(self, prefix: str = "", *, older_than_s: float = 3600.0) -> int:
        """Remove temporary files of writers to this store that were killed, once they are older than a write can take.

        Links are not followed, nor is the destination of another job entered that lies below.
        """
        oldest = time.time() - older_than_s
        removed = 0
        # Temporary files stand in the same folders as the keys, whatever their names: filter by folder alone.
        for place, folders, names in os.walk(self.root / key_to_name(prefix.rpartition("/")[0])):
            if RECORDS.rstrip("/") in folders and Path(place) != self.root:
                folders.clear()
                continue
            for name in names:
                if not (name.startswith(self._temp_prefix) and TEMP_NAME.match(name)):
                    continue
                path = Path(place) / name
                with _named(path), contextlib.suppress(FileNotFoundError):
                    if path.stat(follow_symlinks=False).st_mtime <= oldest:
                        path.unlink()
                        removed += 1
        return removed


def _name_if_free(temp: Path, path: Path) -> None:
    """Give a whole file its name, which never shows half a file and never replaces another.

    Raises:
        OSError: FileExistsError if the name is taken.
    """
    try:
        os.link(temp, path)
    except FileExistsError:
        # A network file system may have lost the answer to a link that was made.
        if temp.stat().st_nlink < 2:
            raise
    except OSError as exc:
        if exc.errno not in (errno.EPERM, errno.ENOTSUP, errno.ENOSYS):
            raise
        # FAT, exFAT and some network file systems have no hard links.
        _rename_if_free(temp, path)


def _rename_if_free(temp: Path, path: Path) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if not hasattr(libc, "renameat2"):
        raise OSError(_NO_LINKS, "no renameat2")
    here, no_replace = -100, 1  # AT_FDCWD, RENAME_NOREPLACE of <linux/fs.h>
    if libc.renameat2(here, os.fsencode(temp), here, os.fsencode(path), no_replace) == 0:
        return
    code = ctypes.get_errno()
    raise OSError(_NO_LINKS if code in (errno.EINVAL, errno.ENOSYS) else code, os.strerror(code), str(path))


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link that leads to itself
        return False


def _etag(status: os.stat_result) -> str:
    return f"{status.st_mtime_ns:x}-{status.st_size:x}"
