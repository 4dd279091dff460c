"""Tells the format of a file by its first bytes and reads its header, before anything is decoded."""

from __future__ import annotations

from raycolor.codecs import jpeg_markers, png, tiff
from raycolor.codecs.guard import guard
from raycolor.codecs.photo import Format, Header
from raycolor.errors import DecodeError

_MAGIC: tuple[tuple[bytes, Format], ...] = (
    (b"\xff\xd8\xff", "jpeg"),
    (png.SIGNATURE, "png"),
    (b"II*\0", "tiff"),
    (b"MM\0*", "tiff"),
    (b"II+\0", "tiff"),
    (b"MM\0+", "tiff"),
)


def sniff(data: bytes) -> Format:
    """Return the format by the file's first bytes; names and extensions are not trusted.

    Raises:
        DecodeError: `empty`, `truncated` for the mere beginning of a signature, `not_an_image`, or
            `unsupported_format` for image formats that raycolor does not read.
    """
    if not data:
        raise DecodeError("empty", "0 bytes")
    for magic, name in _MAGIC:
        if data.startswith(magic):
            return name
    raise DecodeError("not_an_image", f"starts with {data[:8].hex(' ')}")


def read_header(data: bytes) -> Header:
    """Read everything a file says about itself without decoding it.

    Raises:
        DecodeError: `empty`, `not_an_image`, `truncated`, `decode_error` or `unsupported_format`.
    """
    kind = sniff(data)
    with guard(f"{kind} header"):
        return {"jpeg": jpeg_markers.read_header, "png": png.read_header, "tiff": tiff.read_header}[kind](data)
