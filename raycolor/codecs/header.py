"""Tells the format of a file by its first bytes and reads its header, before anything is decoded."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from raycolor.codecs import bmp_gif, jp2, jpeg_file, png, tiff, webp
from raycolor.codecs.guard import guard
from raycolor.codecs.photograph import Format, Header
from raycolor.errors import DecodeError

_MAGIC: Final[tuple[tuple[bytes, Format], ...]] = (
    (b"\xff\xd8", "jpeg"),
    (png.SIGNATURE, "png"),
    (b"II*\0", "tiff"),
    (b"MM\0*", "tiff"),
    (b"II+\0", "tiff"),
    (b"MM\0+", "tiff"),
    (jp2.SIGNATURE, "jp2"),
    (jp2.CODESTREAM, "jp2"),
    (b"GIF87a", "gif"),
    (b"GIF89a", "gif"),
)
# Image formats that are known by name, so that the outcome says what the file is.
_OTHERS: Final = (
    (b"8BPS", 0, "Photoshop"), (b"\xff\x0a", 0, "JPEG XL"), (b"\0\0\0\x0cJXL ", 0, "JPEG XL"), (b"ftypavif", 4, "AVIF"),
    (b"ftyphei", 4, "HEIF"), (b"ftypmif1", 4, "HEIF"), (b"\x76\x2f\x31\x01", 0, "OpenEXR"), (b"DICM", 128, "DICOM"),
    (b"#?RADIANCE", 0, "Radiance"), (b"P5", 0, "PGM"), (b"P6", 0, "PPM"), (b"\x97JB2", 0, "JBIG2"),
    (b"AT&TFORM", 0, "DjVu"), (b"\0\0\x01\0", 0, "icon"), (b"SIMPLE  =", 0, "FITS"), (b"%PDF-", 0, "PDF"),
)  # fmt: skip


def sniff(data: bytes) -> Format:
    """Return the format by the file's first bytes; names and extensions are not trusted.

    Raises:
        DecodeError: `empty`, `truncated` for the mere beginning of a signature, `not_an_image`, or
            `unsupported_format` for known formats that raycolor does not read.
    """
    if not data:
        raise DecodeError("empty", "0 bytes")
    for magic, name in _MAGIC:
        if data.startswith(magic):
            return name
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "webp"
    # "BM" alone begins many a text: the header's size field tells.
    if data[:2] == b"BM" and data[14:18] in _BMP_HEADERS:
        return "bmp"
    for magic, at, other in _OTHERS:
        if data[at : at + len(magic)] == magic:
            raise DecodeError("unsupported_format", f"{other} files are not read")
    beginnings = (*(magic for magic, _ in _MAGIC), b"RIFF")
    if any(magic.startswith(data) for magic in beginnings) or (data[:4] == b"RIFF" and len(data) < 12):
        raise DecodeError("truncated", f"{len(data)} bytes, the beginning of a signature")
    raise DecodeError("not_an_image", f"starts with {data[:8].hex(' ')}")


_READERS: Final[dict[Format, Callable[[bytes], Header]]] = {
    "jpeg": jpeg_file.read_header, "png": png.read_header, "tiff": tiff.read_header, "webp": webp.read_header,
    "jp2": jp2.read_header, "bmp": bmp_gif.read_bmp_header, "gif": bmp_gif.read_gif_header,
}  # fmt: skip
_BMP_HEADERS: Final = tuple(size.to_bytes(4, "little") for size in (12, 40, 52, 56, 64, 108, 124))


def read_header(data: bytes) -> Header:
    """Read the header of a file without decoding pixels.

    Raises:
        DecodeError: `empty`, `not_an_image`, `truncated`, `decode_error` or `unsupported_format`.
    """
    kind = sniff(data)
    with guard(f"{kind} header"):
        return _READERS[kind](data)
