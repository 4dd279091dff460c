"""TIFF files: every page decoded, and written again with its own tags, compression and byte order."""

from __future__ import annotations

import io
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import imagecodecs
import numpy as np
import simplejpeg
import tifffile
from PIL import Image

from raycolor.codecs import icc, jp2, jpeg_markers, png, webp, xmp
from raycolor.codecs.guard import guard, pillow
from raycolor.codecs.jpeg import MAX_SIDE, cmyk_to_rgb
from raycolor.codecs.photo import (
    Color,
    Header,
    Metadata,
    Photo,
    Plane,
    Provenance,
    Rows,
    full_range,
    split_alpha,
    with_alpha,
)
from raycolor.codecs.tiff_tags import Directory, Entry, Layout, Writer, read_pages
from raycolor.errors import DecodeError

# tifffile logs what it finds odd; what matters comes out as an exception, the rest would only fill stderr.
logging.getLogger("tifffile").addHandler(logging.NullHandler())

_WIDTH, _HEIGHT, _BITS, _COMPRESSION, _PHOTOMETRIC, _DESCRIPTION = 256, 257, 258, 259, 262, 270
_STRIPS, _ORIENTATION, _SAMPLES, _ROWS, _STRIP_SIZES = 273, 274, 277, 278, 279
_X_DPI, _Y_DPI, _PLANAR, _DPI_UNIT, _PREDICTOR, _EXTRA, _FORMAT = 282, 283, 284, 296, 317, 338, 339
_TILE_WIDTH, _TILE_HEIGHT, _TILES, _TILE_SIZES, _XMP = 322, 323, 324, 325, 700
_IPTC, _ICC, _TRANSFER, _SUBSAMPLING = 33723, 34675, 301, 530
_MIN_IS_WHITE, _MIN_IS_BLACK, _RGB, _PALETTE, _CMYK, _YCBCR = 0, 1, 2, 3, 5, 6
_PHOTOMETRICS: Final[dict[int, Color]] = {
    _MIN_IS_WHITE: "gray", _MIN_IS_BLACK: "gray", _RGB: "rgb", _PALETTE: "palette", _CMYK: "cmyk", _YCBCR: "ycbcr"
}  # fmt: skip
_NONE, _LZW, _JPEG, _DEFLATE, _OLD_DEFLATE, _PACKBITS = 1, 5, 7, 8, 32946, 32773
# Tags about how the old samples were stored, previews and layers of the old picture.
_STALE: Final = frozenset(
    {_WIDTH, _HEIGHT, _BITS, _COMPRESSION, _PHOTOMETRIC, _STRIPS, _SAMPLES, _ROWS, _STRIP_SIZES, _PLANAR, _PREDICTOR}
    | {_EXTRA, _FORMAT, _TILES, _TILE_SIZES, _TILE_WIDTH, _TILE_HEIGHT, _XMP, _ICC, _SUBSAMPLING, 529, 531, 532}
    | {266, 280, 281, 288}
    | {289, 290, 291, 292, 293, 320, 330, 340, 341, 347, 37724, *range(512, 522)}
)
_STRIP_BYTES: Final = 1 << 18
_BAND_BYTES: Final = 4 << 20
# Compressions whose strips are image files of their own, with a size of their own.
_NESTED: Final = {
    _JPEG: jpeg_markers.read_header, 33007: jpeg_markers.read_header, 34892: jpeg_markers.read_header,
    33003: jp2.read_header, 33004: jp2.read_header, 33005: jp2.read_header, 34712: jp2.read_header,
    34927: webp.read_header, 50001: webp.read_header, 34933: png.read_header,
}  # fmt: skip
# Likewise, but their headers are not read here: JPEG XR, LERC, JPEG XL. No archive of photographs was seen to use them.
_UNBOUNDED: Final = frozenset({22610, 34934, 34887, 50002, 52546})


@dataclass(frozen=True)
class Source:
    """The input's layout and directories, for writing the same kind of file."""

    layout: Layout
    pages: list[Directory]


def read_header(data: bytes) -> Header:
    """Return the header of a TIFF file.

    Raises:
        DecodeError: `truncated` where a directory or strip lies past the file's end, `unsupported_format` for float,
            signed and 32-bit samples and color spaces other than gray, RGB, palette, CMYK and JPEG's YCbCr,
            `decode_error` otherwise.
    """
    layout, pages = read_pages(data)
    with guard("TIFF header"):
        for number, page in enumerate(pages):
            _check_page(data, layout, page, number)
        first = pages[0]
        color = _PHOTOMETRICS[first.integer(_PHOTOMETRIC, layout)]
        sizes = [p.integer(_WIDTH, layout) * p.integer(_HEIGHT, layout) for p in pages]
        orientation = first.integer(_ORIENTATION, layout, 1)
        return Header(
            format="tiff",
            width=first.integer(_WIDTH, layout),
            height=first.integer(_HEIGHT, layout),
            bit_depth=first.integer(_BITS, layout, 1),
            channels=first.integer(_SAMPLES, layout, 1),
            pages=len(pages),
            orientation=orientation if 1 <= orientation <= 8 else 1,
            gray=color == "gray",
            color=color,
            alpha=_EXTRA in first.entries,
            total_pixels=sum(sizes),
        )


def decode(data: bytes, header: Header) -> Photo:
    """Decode every page: gray gives (H, W), all else (H, W, 3); white is the largest value in either photometric.

    Up to 8 bits become uint8, 9 to 16 become uint16, both at full range. Values stay as they are but for that.

    Raises:
        DecodeError: as `read_header`, and `decode_error` or `truncated` for damaged strips.
    """
    layout, directories = read_pages(data)
    pages: list[Plane] = []
    alphas: list[Plane | None] = []
    with guard("TIFF"), tifffile.TiffFile(io.BytesIO(data)) as file:
        for number, directory in enumerate(directories):
            _check_nested(data, layout, directory, number)
            page, alpha = _decode_page(file.pages[number], directory, layout)
            if page.shape[:2] != (directory.integer(_HEIGHT, layout), directory.integer(_WIDTH, layout)):
                raise DecodeError("decode_error", f"TIFF: page {number} decoded to {page.shape}")
            pages.append(page)
            alphas.append(alpha)
    first = directories[0]
    orientations = [d.integer(_ORIENTATION, layout, 1) for d in directories]
    return Photo(
        header,
        pages,
        alphas,
        Metadata(
            xmp=first.raw(_XMP),
            iptc=first.raw(_IPTC),
            icc=first.raw(_ICC),
            dpi=_dpi(first, layout),
            comment=first.raw(_DESCRIPTION),
        ),
        source=Source(layout, directories),
        orientations=[o if 1 <= o <= 8 else 1 for o in orientations],
    )


def encode(photo: Photo, rgb_pages: Sequence[Rows], *, provenance: Provenance | None, quality: int) -> bytes:
    """Write every page as RGB (and alpha) with the input's tags; uncompressed, LZW, deflate, PackBits and JPEG stay so.

    Other compressions (fax, Zstandard, ...) become deflate. Strips, one plane, horizontal predictor for LZW and
    deflate. EXIF and GPS directories are copied; sub-images and Photoshop layers of the old picture are not.
    """
    source: Source = photo.source
    writer = Writer(source.layout)
    for directory, rgb, alpha in zip(source.pages, rgb_pages, photo.alpha, strict=True):
        compression = directory.integer(_COMPRESSION, source.layout, _NONE)
        with guard("TIFF encoding"):
            entries = _write_strips(writer, rgb, alpha, compression, quality)
        if alpha is not None:
            entries[_EXTRA] = writer.numbers(3, directory.integer(_EXTRA, source.layout))
        kept = {tag: entry for tag, entry in directory.entries.items() if tag not in _STALE}
        if _TRANSFER in kept and kept[_TRANSFER].count != 1 << 8 * rgb.dtype.itemsize:
            del kept[_TRANSFER]
        packet, profile = directory.raw(_XMP), icc.for_rgb(directory.raw(_ICC))
        if provenance is not None:
            packet = xmp.add_provenance(packet, provenance)
        if packet is not None:
            kept[_XMP] = Entry(1, len(packet), packet)
        if profile is not None:
            kept[_ICC] = Entry(7, len(profile), profile)
        writer.page(Directory(kept | entries, directory.children))
    return writer.getvalue()


def _check_page(data: bytes, layout: Layout, page: Directory, number: int) -> None:
    """Refuse what cannot be decoded or is not all there."""
    width, height = page.integer(_WIDTH, layout), page.integer(_HEIGHT, layout)
    if width < 1 or height < 1:
        raise DecodeError("decode_error", f"TIFF: page {number} is {width} x {height}")
    bits = set(page.integers(_BITS, layout, (1,)))
    formats = set(page.integers(_FORMAT, layout, (1,)))
    photometric = page.integer(_PHOTOMETRIC, layout, -1)
    what = f"TIFF: page {number}:"
    if not formats <= {1, 4} or len(bits) != 1 or not 1 <= max(bits) <= 16:
        # There is no agreed white of float samples, and 32-bit integers are measurements, not photographs.
        name = {2: "signed", 3: "float"}.get(max(formats), "unsigned")
        raise DecodeError("unsupported_format", f"{what} {name} samples of {sorted(bits)} bits")
    if photometric not in _PHOTOMETRICS:
        raise DecodeError("unsupported_format", f"{what} photometric interpretation {photometric}")
    samples = page.integer(_SAMPLES, layout, 1)
    colors = {"gray": 1, "palette": 1, "cmyk": 4}.get(_PHOTOMETRICS[photometric], 3)
    if samples not in (colors, colors + 1) or page.integer(32997, layout, 1) != 1:
        raise DecodeError("unsupported_format", f"{what} {samples} samples per pixel, or more than one plane in depth")
    if photometric == _YCBCR and page.integer(_COMPRESSION, layout) != _JPEG:
        raise DecodeError("unsupported_format", f"{what} YCbCr that is not JPEG")
    for starts, sizes in ((_STRIPS, _STRIP_SIZES), (_TILES, _TILE_SIZES)):
        for start, size in zip(page.integers(starts, layout), page.integers(sizes, layout), strict=False):
            if start + size > len(data):
                raise DecodeError("truncated", f"{what} its data ends at {start + size:,} of {len(data):,} bytes")
    if not page.integers(_STRIPS, layout) and not page.integers(_TILES, layout):
        raise DecodeError("decode_error", f"{what} no strips and no tiles")


def _check_nested(data: bytes, layout: Layout, page: Directory, number: int) -> None:
    """Refuse strips and tiles that hold pictures larger than their place: what they claim would be allocated."""
    compression = page.integer(_COMPRESSION, layout, _NONE)
    if compression in _UNBOUNDED:
        raise DecodeError("unsupported_format", f"TIFF: page {number}: compression {compression}")
    if compression not in _NESTED:
        return
    width, height = page.integer(_WIDTH, layout), page.integer(_HEIGHT, layout)
    tiled = _TILES in page.entries
    wide = page.integer(_TILE_WIDTH, layout) if tiled else width
    high = page.integer(_TILE_HEIGHT, layout) if tiled else min(page.integer(_ROWS, layout, height), height)
    starts, sizes = (_TILES, _TILE_SIZES) if tiled else (_STRIPS, _STRIP_SIZES)
    for start, size in zip(page.integers(starts, layout), page.integers(sizes, layout), strict=False):
        if not size:  # a tile that is not there
            continue
        claimed = _NESTED[compression](data[start : start + size])
        # Writers round strips up to whole blocks of their coder.
        if claimed.width * claimed.height > (wide + 64) * (high + 64):
            size_text = f"{claimed.width} x {claimed.height} in a place of {wide} x {high}"
            raise DecodeError("decode_error", f"TIFF: page {number}: a strip or tile claims {size_text}")


def _decode_page(page: Any, directory: Directory, layout: Layout) -> tuple[Plane, Plane | None]:
    array = np.asarray(page.asarray(maxworkers=1))
    bits = directory.integer(_BITS, layout, 1)
    photometric = directory.integer(_PHOTOMETRIC, layout)
    if directory.integer(_PLANAR, layout, 1) == 2 and array.ndim == 3:
        array = np.moveaxis(array, 0, -1)
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
    colors = np.array(directory.integers(320, layout), dtype=np.uint16).reshape(3, -1).T
    # Some writers store 8-bit colors in the 16-bit table; libtiff's rule: no value over 255 means that.
    table = colors.astype(np.uint8) if colors.max() < 256 else (colors >> 8).astype(np.uint8)
    indices = array if array.ndim == 2 else array[..., 0]
    return np.asarray(table[indices.astype(np.uint16)])


def _cmyk(array: Plane, directory: Directory) -> tuple[Plane, Plane | None]:
    """Convert CMYK to 8-bit RGB; the profile transforms there are work at 8 bits."""
    alpha = array[..., 4] if array.shape[-1] == 5 else None
    inks = array[..., :4] if array.dtype == np.uint8 else (array[..., :4] >> 8).astype(np.uint8)
    with pillow("TIFF"):
        rgb = cmyk_to_rgb(Image.fromarray(np.ascontiguousarray(inks), mode="CMYK"), directory.raw(_ICC))
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
        if compression not in (_NONE, _LZW, _DEFLATE, _OLD_DEFLATE, _PACKBITS):
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
    entries = {
        _WIDTH: writer.numbers(4, width),
        _HEIGHT: writer.numbers(4, height),
        _BITS: writer.numbers(3, *[8 * rgb.dtype.itemsize] * channels),
        _COMPRESSION: writer.numbers(3, compression),
        _PHOTOMETRIC: writer.numbers(3, photometric),
        _STRIPS: writer.offsets(*places),
        _SAMPLES: writer.numbers(3, channels),
        _ROWS: writer.numbers(4, rows),
        _STRIP_SIZES: writer.offsets(*sizes),
        _PLANAR: writer.numbers(3, 1),
    }
    if lossy:
        entries[_SUBSAMPLING] = writer.numbers(3, 2, 2)
    elif compression in (_LZW, _DEFLATE, _OLD_DEFLATE):
        entries[_PREDICTOR] = writer.numbers(3, 2)
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
    if compression == _NONE:
        return raw
    return bytes(imagecodecs.deflate_encode(raw, level=4, raw=False))


def _dpi(page: Directory, layout: Layout) -> tuple[float, float] | None:
    x, y = (next(iter(page.entries[t].numbers(layout)), 0.0) if t in page.entries else 0.0 for t in (_X_DPI, _Y_DPI))
    scale = {2: 1.0, 3: 2.54}.get(page.integer(_DPI_UNIT, layout, 2))
    return (x * scale, y * scale) if scale and x > 0 and y > 0 else None
