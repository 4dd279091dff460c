"""Strips and tiles of TIFF pages: check that all are present, and decode each to all of its rows.

tifffile decodes a strip, but reads no file: it is shown a directory made here of what decoding needs, because it reads
every value that a file's own directories name, and fills what is missing with black.
"""

from __future__ import annotations

import io
import logging
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import imagecodecs
import numpy as np
from numpy.typing import NDArray

from raycolor.codecs import jp2, jpeg_file, jpeg_whole, png, tiff_lzw, webp
from raycolor.codecs.guard import by_words, guard
from raycolor.codecs.photograph import Plane
from raycolor.codecs.tiff_tags import Directory, Layout, Tag, Writer
from raycolor.errors import DecodeError, Reason

if TYPE_CHECKING:
    import tifffile

# tifffile logs what it finds odd; what matters comes out as an exception, the rest would only fill stderr.
logging.getLogger("tifffile").setLevel(logging.CRITICAL)

NONE: Final = 1
_RLE, _FAX3, _FAX4, _LZW, _OLD_JPEG, _JPEG = 2, 3, 4, 5, 6, 7
_JPEGS: Final = frozenset({_OLD_JPEG, _JPEG, 33007, 34892})
# Compressions whose strips are image files of their own, with a size of their own.
_NESTED: Final = {
    **dict.fromkeys(_JPEGS, jpeg_file.read_header),
    33003: jp2.read_header, 33004: jp2.read_header, 33005: jp2.read_header, 34712: jp2.read_header,
    34927: webp.read_header, 50001: webp.read_header, 34933: png.read_header,
}  # fmt: skip
# Likewise, but their headers are not read here: JPEG XR, LERC, JPEG XL. No archive of photographs was seen to use them.
_UNBOUNDED: Final = frozenset({22610, 34934, 34887, 50002, 52546})
_FILLED: Final = 64 << 20  # pixels of tiles beyond the pictures' edges that every file may have
_LARGEST_CODED: Final = 8  # of a strip, times its samples: fax of a dotted pattern takes 4.5 times
# Fax codes of rows that are black, which no decoder makes of nothing: a black run of two pixels after none that is
# white, in horizontal mode for the two-dimensional code. Behind each lead-in, for what breaks off in a code.
_BLACK: Final = {_RLE: "0011010111", _FAX3: "0011010111", _FAX4: "0010011010111"}
_LEADS: Final = ("", "1" * 64, "0" * 11 + "1")
_FAX_END: Final = re.compile(r"(?:0{11,}1[01]?){2,}0*$")


@dataclass(frozen=True)
class Grid:
    """How a page is cut: strips and tiles of `wide` x `high` pixels, `across` x `down` of them in each plane."""

    width: int
    height: int
    wide: int
    high: int
    planes: int
    samples: int
    """In each pixel of a strip or tile."""
    bits: int
    tiled: bool

    @property
    def across(self) -> int:
        return -(-self.width // self.wide)

    @property
    def down(self) -> int:
        return -(-self.height // self.high)

    @property
    def count(self) -> int:
        return self.across * self.down * self.planes

    @property
    def pixels(self) -> int:
        """What is decoded of one plane, tiles' parts beyond the picture's edges included."""
        return self.across * self.down * self.wide * self.high if self.tiled else self.width * self.height

    def raw_sizes(self) -> NDArray[np.uint64]:
        """Return the bytes of each strip or tile before compression."""
        row = (self.wide * self.samples * self.bits + 7) // 8
        sizes = np.full((self.planes, self.down, self.across), row * self.high, np.uint64)
        if not self.tiled:
            sizes[:, -1] = row * (self.height - (self.down - 1) * self.high)
        return sizes.reshape(-1)


class Cut(NamedTuple):
    """How a page is cut, and where each strip or tile begins and its size: all of them lie in the file."""

    grid: Grid
    starts: NDArray[np.uint64]
    sizes: NDArray[np.uint64]


def read_grid(page: Directory, layout: Layout) -> Grid:
    """Return how a page is cut; DecodeError `decode_error` for tiles or strips without pixels."""
    width, height = page.integer(Tag.WIDTH, layout), page.integer(Tag.HEIGHT, layout)
    samples, planar = page.integer(Tag.SAMPLES, layout, 1), page.integer(Tag.PLANAR, layout, 1) == 2
    tiled = Tag.TILE_WIDTH in page.entries
    wide = page.integer(Tag.TILE_WIDTH, layout) if tiled else width
    high = page.integer(Tag.TILE_HEIGHT, layout) if tiled else min(page.integer(Tag.ROWS, layout, height), height)
    if wide < 1 or high < 1:
        raise DecodeError("decode_error", f"TIFF: strips or tiles of {wide} x {high} pixels")
    planes, inside = (samples, 1) if planar else (1, samples)
    return Grid(width, height, wide, high, planes, inside, page.integer(Tag.BITS, layout, 1), tiled)


def find_strips(data: bytes, layout: Layout, pages: Sequence[Directory]) -> list[Cut]:
    """Return where the strips of each page lie; refuse files of which one is missing or lies past the end.

    Raises:
        DecodeError: `truncated`; `decode_error` for tiles far larger than their pictures, for more strips than the
            file has bytes, and for strips that lie over one another.
    """
    grids = [read_grid(page, layout) for page in pages]
    if sum(grid.count for grid in grids) > len(data):
        raise DecodeError("truncated", f"TIFF: more strips or tiles than the file's {len(data):,} bytes")
    if sum(grid.pixels for grid in grids) > _FILLED + 4 * sum(grid.width * grid.height for grid in grids):
        raise DecodeError("decode_error", "TIFF: tiles are far larger than the pictures in them")
    found = []
    for number, (page, grid) in enumerate(zip(pages, grids, strict=True)):
        with _named(number):
            found.append(Cut(grid, *_places(data, layout, page, grid)))
    return found


def decode_page(data: bytes, layout: Layout, page: Directory, number: int, cut: Cut) -> Plane:
    """Decode every strip or tile of a page, which `find_strips` has found.

    Returns:
        (H, W), or (H, W, samples) for more than one, as they were stored, in native byte order.

    Raises:
        DecodeError: `truncated` for a strip that lacks rows, `decode_error` for a damaged one, `unsupported_format`.
    """
    grid, starts, sizes = cut
    compression = page.integer(Tag.COMPRESSION, layout, NONE)
    if compression in _UNBOUNDED:
        raise DecodeError("unsupported_format", f"TIFF: page {number}: compression {compression}")
    with _named(number):
        tables = page.raw(Tag.JPEG_TABLES)
        reverse = page.integer(Tag.FILL_ORDER, layout, 1) == 2
        with _decoder(data, layout, page, grid, int(starts[0])) as file:
            shown = file.pages[0]
            decode: Any = shown.decode
            planes = np.empty((grid.planes, grid.height, grid.width, grid.samples), shown.dtype)
            raw_sizes = grid.raw_sizes().tolist()
            for i, (start, size) in enumerate(zip(starts.tolist(), sizes.tolist(), strict=True)):
                coded = data[start : start + size]
                if compression == _LZW:
                    plain = imagecodecs.bitorder_decode(coded) if reverse else coded
                    coded = tiff_lzw.decode(bytes(plain), raw_sizes[i])  # type: ignore[assignment]
                if compression in _NESTED:
                    _check_nested(coded, compression, grid, tables)
                # Undoing a predictor takes place in the strip itself where there was no compression.
                strip = bytearray(coded) if compression == NONE and shown.predictor != 1 else coded  # type: ignore[union-attr]
                options = {"jpegtables": tables} if compression in _JPEGS else {}
                if compression in _BLACK:
                    decoded = _decode_fax(decode, coded, i, grid.wide, page, layout)
                else:
                    decoded = decode(strip, i, **options)
                samples, (plane, _, top, left, _), _ = decoded
                place = planes[plane, top : top + grid.high, left : left + grid.wide]
                there = samples[0, : place.shape[0], : place.shape[1]]
                if there.shape != place.shape:
                    raise DecodeError("truncated", f"strip or tile {i} holds {there.shape}, not {place.shape}")
                place[...] = there
    if grid.planes == 1:
        return planes[0, ..., 0] if grid.samples == 1 else planes[0]
    return np.moveaxis(planes[..., 0], 0, -1)


def _named(number: int) -> Any:
    return guard(f"TIFF: page {number}", _reason_of)


def _reason_of(message: str) -> Reason:
    """Tell short strips from broken ones: tifffile names the samples that there are, and those of the strip."""
    sizes = re.search(r"reshaped from \((\d+),\) to \((\d+), (\d+), (\d+), (\d+)\)", message)
    if sizes:
        there, *shape = map(int, sizes.groups())
        return "truncated" if there < shape[0] * shape[1] * shape[2] * shape[3] else "decode_error"
    return by_words(message)


def _places(data: bytes, layout: Layout, page: Directory, grid: Grid) -> tuple[NDArray[np.uint64], NDArray[np.uint64]]:
    """Return where each strip or tile begins and its size."""
    tiled = Tag.TILES in page.entries
    starts, sizes = (
        page.entries[tag].places(layout, grid.count) if tag in page.entries else np.empty(0, np.uint64)
        for tag in ((Tag.TILES, Tag.TILE_SIZES) if tiled else (Tag.STRIPS, Tag.STRIP_SIZES))
    )
    raw, plain = grid.raw_sizes(), page.integer(Tag.COMPRESSION, layout, NONE) == NONE
    if not len(sizes) and (plain or grid.count == 1):
        # Old writers leave them out.
        sizes = raw if plain else np.minimum(_LARGEST_CODED * raw, len(data) - np.minimum(starts, len(data)))
    if min(len(starts), len(sizes)) < grid.count:
        raise DecodeError("truncated", f"{min(len(starts), len(sizes)):,} of {grid.count:,} strips or tiles are listed")
    if plain and not grid.tiled:
        sizes = np.where(sizes > 0, np.minimum(sizes, raw), sizes)
    past = sizes > len(data) - np.minimum(starts, len(data))
    short = (sizes < raw) if plain and not grid.tiled else np.zeros(grid.count, bool)
    for what, wrong in (
        ("is missing", (starts == 0) | (sizes == 0)),
        (f"ends past the file's {len(data):,} bytes", past),
        ("lacks rows", short),
    ):
        if wrong.any():
            raise DecodeError("truncated", f"TIFF: strip or tile {int(wrong.argmax())} of {grid.count} {what}")
    # Blank tiles may share a place; strips that all reach over the whole file would be read once each.
    if sizes.sum(dtype=np.float64) > len(data) + _LARGEST_CODED * raw.sum(dtype=np.float64):
        raise DecodeError("decode_error", "TIFF: strips or tiles overlap")
    return starts, sizes


def _decoder(data: bytes, layout: Layout, page: Directory, grid: Grid, first: int) -> tifffile.TiffFile:
    """Return a file for tifffile that holds this page's directory, as far as it says how strips are decoded."""
    import tifffile  # a third of a second, which a job without TIFFs does not wait for

    writer = Writer(layout)
    # tifffile looks into the first strip for JFIF's marker.
    places = writer.put(data[first : first + 32])
    entries = {
        tag: writer.numbers(4, *(value & 0xFFFFFFFF for value in page.integers(tag, layout)))
        for tag in (
            Tag.WIDTH, Tag.HEIGHT, Tag.BITS, Tag.COMPRESSION, Tag.PHOTOMETRIC, Tag.FILL_ORDER, Tag.SAMPLES, Tag.PLANAR,
            Tag.T4_OPTIONS, Tag.T6_OPTIONS, Tag.PREDICTOR, Tag.EXTRA, Tag.FORMAT, Tag.SUBSAMPLING,
        )
        if page.integers(tag, layout)
    }  # fmt: skip
    if grid.tiled:
        entries |= {Tag.TILE_WIDTH: writer.numbers(4, grid.wide), Tag.TILE_HEIGHT: writer.numbers(4, grid.high)}
    else:
        entries[Tag.ROWS] = writer.numbers(4, grid.high)
    if page.integer(Tag.COMPRESSION, layout, NONE) == _LZW:
        # Unpacked before, and its bits put in order for that.
        entries[Tag.COMPRESSION] = writer.numbers(3, NONE)
        entries.pop(Tag.FILL_ORDER, None)
    entries |= {Tag.STRIPS: writer.offsets(places), Tag.STRIP_SIZES: writer.offsets(32)}
    writer.page(Directory({int(tag): entry for tag, entry in entries.items()}))
    return tifffile.TiffFile(io.BytesIO(writer.getvalue()))


def _check_nested(coded: bytes, compression: int, grid: Grid, tables: bytes | None) -> None:
    """Refuse a strip or tile that holds a picture larger than its place, which would be allocated, or half of one."""
    claimed = _NESTED[compression](coded)
    # Writers round strips up to whole blocks of their coder.
    if claimed.width * claimed.height > (grid.wide + 64) * (grid.high + 64):
        size_text = f"{claimed.width} x {claimed.height} in a place of {grid.wide} x {grid.high}"
        raise DecodeError("decode_error", f"TIFF: a strip or tile claims {size_text}")
    if claimed.jpeg is not None:
        if claimed.jpeg.end is None:
            raise DecodeError("truncated", "TIFF: a JPEG strip or tile has no end marker")
        if claimed.jpeg.process in ("baseline", "extended", "progressive") and claimed.bit_depth == 8:
            head = b"" if tables is None else tables.removeprefix(b"\xff\xd8").removesuffix(b"\xff\xd9")
            whole = coded[:2] + head + coded[2:]
            jpeg_whole.check_whole(jpeg_file.parse(whole))


def _decode_fax(decode: Any, coded: bytes, index: int, width: int, page: Directory, layout: Layout) -> Any:
    """Decode a fax strip, and refuse one that lacks rows: the decoder makes them white, and says nothing.

    A strip that is all there looks the same whatever follows it; so black rows are put behind it, in place of the
    codes that end a page.
    """
    compression = page.integer(Tag.COMPRESSION, layout)
    reverse = page.integer(Tag.FILL_ORDER, layout, 1) == 2
    plain = bytes(imagecodecs.bitorder_decode(coded)) if reverse else coded
    tail = plain[-32:]
    kept = _FAX_END.sub("", f"{int.from_bytes(tail, 'big'):0{8 * len(tail)}b}")
    found: list[Any] = []
    for lead in (None, *_LEADS[: 3 if compression == _FAX3 else 2]):
        longer = coded
        if lead is not None:
            bits = kept + lead + _BLACK[compression] * (2 * width + 64)
            bits += "0" * (-len(bits) % 8)
            longer = plain[: len(plain) - len(tail)] + int(bits, 2).to_bytes(len(bits) // 8, "big")
            longer = bytes(imagecodecs.bitorder_decode(longer)) if reverse else longer
        try:
            found.append(decode(longer, index))
        except RuntimeError as exc:  # imagecodecs' own; of a strip that breaks off in a code too
            found.append(exc)
    errors = [result for result in found if isinstance(result, RuntimeError)]
    if len(errors) == len(found):
        raise errors[0]
    short = compression == _FAX3 and _lacks_line_codes(plain, found[0][0].shape[1]) if not errors else True
    if short or any(not np.array_equal(found[0][0], again) for again, *_ in found[1:]):
        raise DecodeError("truncated", f"TIFF: fax strip {index} lacks rows")
    return found[0]


def _lacks_line_codes(coded: bytes, rows: int) -> bool:
    """Say whether a Group 3 strip has line codes (eleven zeros and a one), but too few of them for its rows."""
    ones = np.flatnonzero(np.unpackbits(np.frombuffer(coded, np.uint8)))
    begins = ones[np.diff(ones, prepend=-1) > 11]
    lines = int(np.count_nonzero(np.diff(begins) > 13)) + 1  # two in a row belong to the code that ends a page
    return len(begins) > 0 and lines < rows
