"""Objects read piece by piece: at any place, or unpacked from front to back."""

from __future__ import annotations

import io
import zlib
from collections.abc import Callable
from typing import Final

from raycolor.errors import DecodeError
from raycolor.storage import ObjectStore

Fetch = Callable[[int, int], bytes]
"""(start, length) -> bytes of one object, fewer only at its end."""


def fetcher(store: ObjectStore, key: str, version: str | None = None) -> Fetch:
    """Return a function that reads ranges of one object, of one version of it if given."""
    return lambda start, length: store.get_range(key, start, length, version_id=version)


_LARGEST_HEADER: Final = 1 << 20  # a name or a comment; a header that claims more is an attack or damage
_FREE_BYTES: Final = 100 << 20
LARGEST_RATIO: Final = 200  # deflate reaches 1,032 on zeros; uncompressed scans stay under 50


class Bytes:
    """Bytes that are taken from front to back; as much of a file as `tarfile` needs.

    Attributes:
        last: what the last `read` returned.
    """

    def __init__(self) -> None:
        self._at = 0
        self.last = b""

    def tell(self) -> int:
        """Return the offset of the next byte."""
        return self._at

    def take(self, length: int) -> bytes:
        """Return the next `length` bytes, fewer only at the end."""
        raise NotImplementedError

    def read(self, length: int = -1) -> bytes:
        """Read a header; as `take`, but a header of more than 1 MB is refused.

        Raises:
            DecodeError: decode_error.
        """
        if not 0 <= length <= _LARGEST_HEADER:
            raise DecodeError("decode_error", f"a header claims {length} bytes")
        self.last = self.take(length)
        return self.last


class RangedBytes(Bytes, io.RawIOBase):
    """An object read at any place, a piece of `chunk` bytes at a time; a file for libraries that want one.

    Args:
        fetch: reads a range of the object.
        size: its length in bytes.
        chunk: bytes of one request; the bytes after the asked ones serve the next calls.
    """

    def __init__(self, fetch: Fetch, size: int, chunk: int) -> None:
        super().__init__()
        self._fetch, self.size, self._chunk = fetch, size, chunk
        self._start, self._piece = 0, b""

    @property
    def reached(self) -> int:
        """Offset up to which the bytes are known to exist."""
        return self.size

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Go to an offset; one past the end is no error."""
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self.size}[whence]
        self._at = max(0, base + offset)
        return self._at

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        part = self.take(len(buffer))
        buffer[: len(part)] = part
        return len(part)

    def take(self, length: int) -> bytes:
        parts = []
        while length > 0 and self._at < self.size:
            inside = self._at - self._start
            if not 0 <= inside < len(self._piece):
                self._start, inside = self._at, 0
                self._piece = self._fetch(self._at, min(max(self._chunk, length), self.size - self._at))
                if not self._piece:
                    break
            part = self._piece[inside : inside + length]
            parts.append(part)
            self._at += len(part)
            length -= len(part)
        return parts[0] if len(parts) == 1 else b"".join(parts)


class UnpackedBytes(Bytes):
    """A gzip file unpacked from front to back: going forward only, in memory that does not grow.

    Raises:
        DecodeError: truncated, decode_error (damage, a wrong checksum), or too_large (a bomb).
    """

    def __init__(self, packed: RangedBytes) -> None:
        super().__init__()
        self._packed = packed
        self._inflate = zlib.decompressobj(wbits=31)
        self._waiting = b""
        self._piece, self._inside = b"", 0

    @property
    def reached(self) -> int:
        """Offset up to which the bytes are known to exist."""
        return self._at + len(self._piece) - self._inside

    def seek(self, offset: int) -> int:
        """Go forward to an offset, or to the end if that comes first."""
        if offset < self._at:
            raise DecodeError("decode_error", f"headers lead back to byte {offset} from byte {self._at}")
        while self._at < offset and self._fill():
            step = min(offset - self._at, len(self._piece) - self._inside)
            self._inside += step
            self._at += step
        return self._at

    def take(self, length: int) -> bytes:
        parts = []
        while length > 0 and self._fill():
            part = self._piece[self._inside : self._inside + length]
            parts.append(part)
            self._inside += len(part)
            self._at += len(part)
            length -= len(part)
        return b"".join(parts)

    def _fill(self) -> bool:
        """Unpack until there is a byte to return; False at the end."""
        while self._inside >= len(self._piece):
            if self._inflate.eof:
                # Parallel compressors write many gzip members one after the other; padding may follow the last.
                rest = self._inflate.unused_data or self._packed.take(1 << 20)
                if not rest.startswith(b"\x1f\x8b"):
                    return False
                self._inflate, self._waiting = zlib.decompressobj(wbits=31), rest
            if not self._waiting:
                self._waiting = self._packed.take(1 << 20)
                if not self._waiting:
                    raise DecodeError("truncated", f"the gzip data ends early, after {self._packed.size} bytes")
            try:
                self._piece, self._inside = self._inflate.decompress(self._waiting, 1 << 20), 0
            except zlib.error as exc:
                raise DecodeError("decode_error", f"damaged gzip data near byte {self._packed.tell()}: {exc}") from exc
            self._waiting = self._inflate.unconsumed_tail
            if self._at > _FREE_BYTES and self._at > LARGEST_RATIO * self._packed.tell():
                raise DecodeError("too_large", f"unpacks to more than {LARGEST_RATIO} times its size")
        return True
