"""TIFF files: every page decoded, and written again with its own tags, compression and byte order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import imagecodecs
import numpy as np
import simplejpeg
from PIL import Image

from raycolor.codecs import icc, xmp
from raycolor.codecs.exif import per_inch
from raycolor.codecs.guard import guard, pillow
from raycolor.codecs.jpeg import MAX_SIDE, cmyk_to_rgb
from raycolor.codecs.photograph import (
    Color,
    Header,
    Metadata,
    Photograph,
    Plane,
    Provenance,
    Rows,
    full_range,
    split_alpha,
    with_alpha,
)
from raycolor.codecs.tiff_strips import NONE, decode_page, find_strips
from raycolor.codecs.tiff_tags import Directory, Entry, Layout, Tag, Writer, read_pages
from raycolor.errors import DecodeError

_MIN_IS_WHITE, _MIN_IS_BLACK, _RGB, _PALETTE, _CMYK, _YCBCR = 0, 1, 2, 3, 5, 6
_PHOTOMETRICS: Final[dict[int, Color]] = {
    _MIN_IS_WHITE: "gray", _MIN_IS_BLACK: "gray", _RGB: "rgb", _PALETTE: "palette", _CMYK: "cmyk", _YCBCR: "ycbcr"
}  # fmt: skip
_LZW, _JPEG, _DEFLATE, _OLD_DEFLATE, _PACKBITS = 5, 7, 8, 32946, 32773
# Tags about how the old samples were stored, previews and layers of the old picture.
_STALE: Final = frozenset(
    {Tag.WIDTH, Tag.HEIGHT, Tag.BITS, Tag.COMPRESSION, Tag.PHOTOMETRIC, Tag.STRIPS, Tag.SAMPLES, Tag.ROWS}
    | {Tag.STRIP_SIZES, Tag.PLANAR, Tag.PREDICTOR, Tag.EXTRA, Tag.FORMAT, Tag.TILES, Tag.TILE_SIZES, Tag.TILE_WIDTH}
    | {Tag.TILE_HEIGHT, Tag.XMP, Tag.ICC, Tag.SUBSAMPLING, Tag.FILL_ORDER, Tag.COLOR_MAP, Tag.JPEG_TABLES}
    | {Tag.T4_OPTIONS, Tag.T6_OPTIONS, 280, 281, 288, 289, 290, 291, 330, 340, 341, 529, 531, 532, 37724}
    | {*range(512, 522)}
)
_STRIP_BYTES: Final = 1 << 18
_BAND_BYTES: Final = 4 << 20


@dataclass(frozen=True)
class Source:
    """The input's layout and directories, for writing the same kind of file."""

    layout: Layout
    pages: list[Directory]


def read_header(data: bytes) -> Header:
    """Return the header of a TIFF file.

    Raises:
        DecodeError: `truncated` where a directory or value lies past the file's end, `unsupported_format` for float,
            signed and 32-bit samples and color spaces other than gray, RGB, palette, CMYK and JPEG's YCbCr,
            `decode_error` otherwise.
    """
    layout, pages = read_pages(data)
    with guard("TIFF header"):
        for number, page in enumerate(pages):
            _check_page(layout, page, number)
        first = pages[0]
        color = _PHOTOMETRICS[first.integer(Tag.PHOTOMETRIC, layout)]
        sizes = [p.integer(Tag.WIDTH, layout) * p.integer(Tag.HEIGHT, layout) for p in pages]
        orientation = first.integer(Tag.ORIENTATION, layout, 1)
        return Header(
            format="tiff",
            width=first.integer(Tag.WIDTH, layout),
            height=first.integer(Tag.HEIGHT, layout),
            bit_depth=first.integer(Tag.BITS, layout, 1),
            channels=first.integer(Tag.SAMPLES, layout, 1),
            pages=len(pages),
            orientation=orientation if 1 <= orientation <= 8 else 1,
            color=color,
            alpha=Tag.EXTRA in first.entries,
            total_pixels=sum(sizes),
        )


def decode(data: bytes, header: Header) -> Photograph:
    """Decode every page: gray gives (H, W), all else (H, W, 3); white is the largest value in either photometric.

    Up to 8 bits become uint8, 9 to 16 become uint16, both at full range. Values stay as they are but for that.

    Raises:
        DecodeError: as `read_header`, `truncated` for strips or tiles that are missing or lack rows, `decode_error`
            for damaged ones.
    """
    layout, directories = read_pages(data)
    pages: list[Plane] = []
    alphas: list[Plane | None] = []
    with guard("TIFF"):
        cuts = find_strips(data, layout, directories)
        for number, (directory, cut) in enumerate(zip(directories, cuts, strict=True)):
            page, alpha = _colors(decode_page(data, layout, directory, number, cut), directory, layout)
            if page.shape[:2] != (directory.integer(Tag.HEIGHT, layout), directory.integer(Tag.WIDTH, layout)):
                raise DecodeError("decode_error", f"TIFF: page {number} decoded to {page.shape}")
            pages.append(page)
            alphas.append(alpha)
    first = directories[0]
    orientations = [d.integer(Tag.ORIENTATION, layout, 1) for d in directories]
    return Photograph(
        header,
        pages,
        alphas,
        Metadata(
            xmp=first.raw(Tag.XMP),
            icc=first.raw(Tag.ICC),
            dpi=_dpi(first, layout),
        ),
        source=Source(layout, directories),
        orientations=[o if 1 <= o <= 8 else 1 for o in orientations],
    )


def encode(photo: Photograph, rgb_pages: Sequence[Rows], *, provenance: Provenance | None, quality: int) -> bytes:
    """Write every page as RGB (and alpha) with the input's tags; uncompressed, LZW, deflate, PackBits and JPEG stay so.

    Other compressions (fax, Zstandard, ...) become deflate. Strips, one plane, horizontal predictor for LZW and
    deflate. EXIF and GPS directories are copied; sub-images and Photoshop layers of the old picture are not.
    """
    source: Source = photo.source
    writer = Writer(source.layout)
    # Pages that share a packet or a profile share its new form.
    packets, profiles = dict[bytes | None, bytes | None](), dict[bytes | None, bytes | None]()
    for directory, rgb, alpha in zip(source.pages, rgb_pages, photo.alpha, strict=True):
        compression = directory.integer(Tag.COMPRESSION, source.layout, NONE)
        with guard("TIFF encoding"):
            entries = _write_strips(writer, rgb, alpha, compression, quality)
        if alpha is not None:
            entries[Tag.EXTRA] = writer.numbers(3, directory.integer(Tag.EXTRA, source.layout))
        kept = {tag: entry for tag, entry in directory.entries.items() if tag not in _STALE}
        if Tag.TRANSFER in kept and kept[Tag.TRANSFER].count != 1 << 8 * rgb.dtype.itemsize:
            del kept[Tag.TRANSFER]
        packet, profile = directory.raw(Tag.XMP), directory.raw(Tag.ICC)
        if packet not in packets:
            packets[packet] = xmp.of_copy(packet, provenance)
        if profile not in profiles:
            profiles[profile] = icc.for_rgb(profile)
        for tag, kind, made in ((Tag.XMP, 1, packets[packet]), (Tag.ICC, 7, profiles[profile])):
            if made is not None:
                kept[tag] = Entry(kind, len(made), made)
        writer.page(Directory(kept | entries, directory.children))
    return writer.getvalue()


def _check_page(layout: Layout, page: Directory, number: int) -> None:
    """Refuse what cannot be decoded."""
    width, height = page.integer(Tag.WIDTH, layout), page.integer(Tag.HEIGHT, layout)
    if width < 1 or height < 1:
        raise DecodeError("decode_error", f"TIFF: page {number} is {width} x {height}")
    bits = set(page.integers(Tag.BITS, layout, (1,)))
    formats = set(page.integers(Tag.FORMAT, layout, (1,)))
    photometric = page.integer(Tag.PHOTOMETRIC, layout, -1)
    what = f"TIFF: page {number}:"
    if not formats <= {1, 4} or len(bits) != 1 or not 1 <= max(bits) <= 16:
        # There is no agreed white of float samples, and 32-bit integers are measurements, not photographs.
        name = {2: "signed", 3: "float"}.get(max(formats), "unsigned")
        raise DecodeError("unsupported_format", f"{what} {name} samples of {sorted(bits)} bits")
    if photometric not in _PHOTOMETRICS:
        raise DecodeError("unsupported_format", f"{what} photometric interpretation {photometric}")
    samples = page.integer(Tag.SAMPLES, layout, 1)
    colors = {"gray": 1, "palette": 1, "cmyk": 4}.get(_PHOTOMETRICS[photometric], 3)
    if samples not in (colors, colors + 1) or page.integer(Tag.DEPTH, layout, 1) != 1:
        raise DecodeError("unsupported_format", f"{what} {samples} samples per pixel, or more than one plane in depth")
    if photometric == _YCBCR and page.integer(Tag.COMPRESSION, layout) != _JPEG:
        raise DecodeError("unsupported_format", f"{what} YCbCr that is not JPEG")


def _colors(array: Plane, directory: Directory, layout: Layout) -> tuple[Plane, Plane | None]:
    """Return stored samples as gray or RGB at full range, and alpha."""
    bits = directory.integer(Tag.BITS, layout, 1)
    photometric = directory.integer(Tag.PHOTOMETRIC, layout)
    if photometric == _PALETTE:
        return _apply_palette(array, directory, layout), None
    array = full_range(array, bits)
    if photometric == _CMYK:
        return _cmyk(array, directory)
    page_plane, alpha = split_alpha(array, "TIFF")
    if photometric == _MIN_IS_WHITE:
        page_plane = np.invert(page_plane)
    return page_plane, alpha


def _apply_palette(array: Plane, directory: Directory, layout: Layout) -> Plane:
    indices = (array if array.ndim == 2 else array[..., 0]).astype(np.uint16)
    listed = [value & 0xFFFF for value in directory.integers(Tag.COLOR_MAP, layout, most=3 << 16)]
    colors = np.array(listed[: len(listed) // 3 * 3], np.uint16).reshape(3, -1).T
    if len(colors) <= int(indices.max()):
        raise DecodeError("decode_error", f"TIFF: a palette of {len(colors)} colors lacks one that is used")
    # Some writers store 8-bit colors in the 16-bit table; libtiff's rule: no value over 255 means that.
    table = colors.astype(np.uint8) if colors.max() < 256 else (colors >> 8).astype(np.uint8)
    return np.asarray(table[indices])


def _cmyk(array: Plane, directory: Directory) -> tuple[Plane, Plane | None]:
    """Convert CMYK to 8-bit RGB; the profile transforms there are work at 8 bits."""
    alpha = array[..., 4] if array.shape[-1] == 5 else None
    inks = array[..., :4] if array.dtype == np.uint8 else (array[..., :4] >> 8).astype(np.uint8)
    with pillow("TIFF"):
        rgb = cmyk_to_rgb(Image.fromarray(np.ascontiguousarray(inks), mode="CMYK"), directory.raw(Tag.ICC))
    if alpha is not None and alpha.dtype != np.uint8:
        alpha = (alpha >> 8).astype(np.uint8)
    return rgb, alpha


def _write_strips(writer: Writer, rgb: Rows, alpha: Plane | None, compression: int, quality: int) -> dict[int, Entry]:
    height, width = rgb.shape[:2]
    channels = 3 if alpha is None else 4
    lossy = compression == _JPEG and rgb.dtype == np.uint8 and channels == 3 and max(height, width) <= MAX_SIDE
    places, sizes = list[int](), list[int]()
    if lossy:
        rows, photometric = height, _YCBCR
        strip = simplejpeg.encode_jpeg(np.ascontiguousarray(rgb), quality, "RGB", "420")
        places, sizes = [writer.put(strip)], [len(strip)]
    else:
        if compression not in (NONE, _LZW, _DEFLATE, _OLD_DEFLATE, _PACKBITS):
            compression = _DEFLATE
        row_bytes = width * channels * rgb.dtype.itemsize
        rows, photometric = max(1, _STRIP_BYTES // row_bytes), _RGB
        # Several strips are asked for at once: a page that is joined when asked does that faster in larger bands.
        band = rows * max(1, _BAND_BYTES // (rows * row_bytes))
        for top in range(0, height, band):
            samples = with_alpha(rgb, alpha, top, min(top + band, height))
            for y in range(0, len(samples), rows):
                strip = _compress(samples[y : y + rows], compression, writer.layout)
                places.append(writer.put(strip))
                sizes.append(len(strip))
    entries: dict[int, Entry] = {
        Tag.WIDTH: writer.numbers(4, width),
        Tag.HEIGHT: writer.numbers(4, height),
        Tag.BITS: writer.numbers(3, *[8 * rgb.dtype.itemsize] * channels),
        Tag.COMPRESSION: writer.numbers(3, compression),
        Tag.PHOTOMETRIC: writer.numbers(3, photometric),
        Tag.STRIPS: writer.offsets(*places),
        Tag.SAMPLES: writer.numbers(3, channels),
        Tag.ROWS: writer.numbers(4, rows),
        Tag.STRIP_SIZES: writer.offsets(*sizes),
        Tag.PLANAR: writer.numbers(3, 1),
    }
    if lossy:
        entries[Tag.SUBSAMPLING] = writer.numbers(3, 2, 2)
    elif compression in (_LZW, _DEFLATE, _OLD_DEFLATE):
        entries[Tag.PREDICTOR] = writer.numbers(3, 2)
    return entries


def _compress(rows: Plane, compression: int, layout: Layout) -> bytes:
    if compression in (_LZW, _DEFLATE, _OLD_DEFLATE):
        difference = rows.copy()
        np.subtract(rows[:, 1:], rows[:, :-1], out=difference[:, 1:])
        rows = difference
    raw = rows.astype(rows.dtype.newbyteorder(layout.order), copy=False).tobytes()
    if compression == _LZW:
        return bytes(imagecodecs.lzw_encode(raw))
    if compression == _PACKBITS:
        step = len(raw) // rows.shape[0]  # a run may not cross a row (TIFF 6.0 section 9)
        return b"".join(bytes(imagecodecs.packbits_encode(raw[i : i + step])) for i in range(0, len(raw), step))
    if compression == NONE:
        return raw
    return bytes(imagecodecs.deflate_encode(raw, level=4, raw=False))


def _dpi(page: Directory, layout: Layout) -> tuple[float, float] | None:
    x, y = (
        next(iter(page.entries[tag].numbers(layout, 1)), 0.0) if tag in page.entries else 0.0
        for tag in (Tag.X_DPI, Tag.Y_DPI)
    )
    return per_inch(x, y, page.integer(Tag.DPI_UNIT, layout, 2))
