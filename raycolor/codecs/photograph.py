"""What is known about an image file: header, pixels, metadata, and what is written into its colored copy."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from raycolor.errors import DecodeError

if TYPE_CHECKING:
    from raycolor.codecs.jpeg_file import JpegFile

Format = Literal["jpeg", "png", "tiff", "webp", "jp2", "bmp", "gif"]
SUFFIXES: Final[dict[Format, tuple[str, ...]]] = {
    "jpeg": (".jpg", ".jpeg", ".jpe", ".jfif"),
    "tiff": (".tif", ".tiff", ".btf", ".tf8"),
    "png": (".png",),
    "jp2": (".jp2", ".j2k", ".j2c", ".jpc", ".jpx", ".jpf"),
    "webp": (".webp",),
    "bmp": (".bmp", ".dib"),
    "gif": (".gif",),
}
"""Ends of file names; the usual one first."""
Color = Literal["gray", "rgb", "ycbcr", "cmyk", "ycck", "palette"]
Process = Literal["baseline", "extended", "progressive", "lossless", "arithmetic", "hierarchical"]
Plane = NDArray[Any]  # uint8 or uint16

DEFAULT_MAX_PIXELS: Final = 250_000_000
DEFAULT_MAX_PAGES: Final = 1000


class Rows(Protocol):
    """A colored page as encoders read it: an array, or what makes its rows when asked for them."""

    @property
    def shape(self) -> tuple[int, ...]: ...
    @property
    def dtype(self) -> Any: ...
    def __getitem__(self, rows: slice, /) -> Plane: ...
    def __array__(self) -> Plane: ...


@dataclass(frozen=True)
class Header:
    """What the header of a file says, before any pixel is decoded.

    `width`, `height` as stored (unrotated), of the first page; `total_pixels` over all pages. `bit_depth` per sample
    as stored. `channels` counts alpha. `jpeg` is the parsed structure of a JPEG, which decoding and the exact copy go
    on with.
    """

    format: Format
    width: int
    height: int
    bit_depth: int
    channels: int
    pages: int = 1
    orientation: int = 1
    progressive: bool = False
    animated: bool = False
    color: Color = "rgb"
    alpha: bool = False
    total_pixels: int = 0
    jpeg: JpegFile | None = None

    def __post_init__(self) -> None:
        if not self.total_pixels:
            object.__setattr__(self, "total_pixels", self.width * self.height)

    @property
    def gray(self) -> bool:
        """Whether there is one color channel, so that pages decode to (H, W)."""
        return self.color == "gray"

    def check_limits(self, max_pixels: int, max_pages: int = DEFAULT_MAX_PAGES) -> None:
        """Refuse what would not fit, before anything is allocated.

        Raises:
            DecodeError: `too_large`, with the file's figure and the limit.
        """
        pixels = self.total_pixels
        if self.pages > max_pages:
            raise DecodeError("too_large", f"{self.pages} pages, the limit is {max_pages}")
        if pixels > max_pixels:
            size = f"{self.width} x {self.height}" + (f", {self.pages} pages" if self.pages > 1 else "")
            raise DecodeError("too_large", f"{size} = {pixels:,} pixels, the limit is {max_pixels:,}")


@dataclass
class Metadata:
    """Metadata of the file, as bytes.

    `exif` starts at its TIFF header ("II" or "MM"), without "Exif\\0\\0". `xmp` is the main packet. `dpi` is
    (horizontal, vertical) dots per inch. `extra` holds what else the format carries, for writing it back byte for byte:
    (marker, payload) of JPEG, (type, payload) of PNG, WebP and JP2 boxes.
    """

    exif: bytes | None = None
    xmp: bytes | None = None
    icc: bytes | None = None
    dpi: tuple[float, float] | None = None
    extra: list[tuple[Any, bytes]] = field(default_factory=list)


@dataclass
class Photograph:
    """A decoded file. Pages are as stored (unrotated): (H, W) or (H, W, 3), uint8 or uint16, sRGB-encoded.

    `alpha` holds one plane of the page's type or None per page. `source` is what the format's encoder needs to write
    the same kind of file again.
    """

    header: Header
    pages: list[Plane]
    alpha: list[Plane | None]
    metadata: Metadata
    source: Any = None
    notes: list[str] = field(default_factory=list)
    orientations: list[int] = field(default_factory=list)

    def orientation(self, page: int) -> int:
        """Return the orientation 1..8 of this page; pages of one TIFF may differ."""
        return self.orientations[page] if self.orientations else self.header.orientation


@dataclass(frozen=True)
class Provenance:
    """Who made the colors: written into XMP as IPTC asks (Photo Metadata 2025.1)."""

    checkpoint: str
    checkpoint_sha256: str
    version: str
    system: str = "raycolor"
    license: str | None = None
    """Of an imported network."""


def with_alpha(rgb: Rows, alpha: Plane | None, top: int, bottom: int) -> Plane:
    """Return rows top..bottom as (rows, W, 3), or (rows, W, 4) with alpha; C-contiguous."""
    rows = rgb[top:bottom]
    return np.ascontiguousarray(rows if alpha is None else np.dstack([rows, alpha[top:bottom]]))


def split_alpha(array: Plane, what: str) -> tuple[Plane, Plane | None]:
    """Split (H, W), (H, W, 1..4) samples into a (H, W) or (H, W, 3) C-contiguous page and its alpha plane or None."""
    if array.ndim == 2:
        return np.ascontiguousarray(array), None
    if array.ndim != 3 or array.shape[2] not in (1, 2, 3, 4):
        raise DecodeError("unsupported_format", f"{what}: samples of shape {array.shape}")
    channels = array.shape[2]
    colors = 1 if channels < 3 else 3
    page = array[..., 0] if colors == 1 else array[..., :3]
    alpha = array[..., -1] if channels > colors else None
    return np.ascontiguousarray(page), None if alpha is None else np.ascontiguousarray(alpha)


def full_range(array: Plane, bits: int) -> Plane:
    """Scale n-bit samples to all of uint8 or uint16; 8 and 16 bits come back as they are, in native byte order.

    Raises:
        DecodeError: `decode_error` for a sample of more than n bits.
    """
    if bits in (8, 16):
        return array.astype(f"=u{bits // 8}", copy=False)
    target = np.uint8 if bits < 8 else np.uint16
    top = np.iinfo(target).max
    white = (1 << bits) - 1
    if array.size and array.max() > white:
        raise DecodeError("decode_error", f"a sample of {array.max()}, though samples have {bits} bits")
    levels = (np.arange(1 << bits, dtype=np.uint64) * top + white // 2) // white
    return np.asarray(levels.astype(target)[array.astype(np.uint16)])
