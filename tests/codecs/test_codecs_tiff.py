"""TIFF: what is missing is truncated, never black; and no directory costs more than the file's size."""

from __future__ import annotations

import io
import struct
import tracemalloc

import imagecodecs
import numpy as np
import pytest
import tifffile
from codec_samples import colored, gray, picture, samples, save, tiff
from PIL import Image

from raycolor.codecs import decode, encode, read_header
from raycolor.codecs.tiff_tags import read_pages
from raycolor.errors import DecodeError

STRIPS, ROWS, SIZES, TILES, TILE_SIZES = 273, 278, 279, 324, 325
KINDS = {
    "plain": {"rowsperstrip": 10},
    "lzw": {"rowsperstrip": 10, "compression": "lzw"},
    "deflate": {"rowsperstrip": 10, "compression": "deflate", "predictor": 2},
    "packbits": {"rowsperstrip": 10, "compression": "packbits"},
    "zstd": {"rowsperstrip": 10, "compression": "zstd"},
    "jpeg": {"rowsperstrip": 16, "compression": "jpeg"},
    "tiles": {"tile": (32, 32), "compression": "deflate"},
    "plain tiles": {"tile": (32, 32)},
    "jpeg tiles": {"tile": (32, 32), "compression": "jpeg"},
    "big": {"rowsperstrip": 10, "bigtiff": True},
}


def reason(data: bytes) -> str:
    """Return why the file is refused."""
    with pytest.raises(DecodeError) as caught:
        decode(data)
    return caught.value.reason


def entries(data: bytes) -> dict[int, int]:
    """Return tag to place of each entry in the first directory of a small-endian TIFF."""
    big = data[2] == 43
    (start,) = struct.unpack_from("<Q" if big else "<I", data, 8 if big else 4)
    (count,) = struct.unpack_from("<Q" if big else "<H", data, start)
    head, size = (8, 20) if big else (2, 12)
    return {struct.unpack_from("<H", data, at)[0]: at for at in range(start + head, start + head + size * count, size)}


def changed_list(data: bytes, tag: int, index: int, value: int) -> bytes:
    """Return the file with one value of a list of strips or tiles changed."""
    with tifffile.TiffFile(io.BytesIO(data)) as file:
        found = file.pages[0].tags[tag]
        code = {3: "H", 4: "I", 16: "Q"}[int(found.dtype)]
        at = found.valueoffset + index * struct.calcsize("<" + code)
    out = bytearray(data)
    struct.pack_into("<" + code, out, at, value)
    return bytes(out)


@pytest.mark.parametrize("kind", KINDS)
def test_a_strip_or_tile_of_no_place_or_size_is_truncated(kind):
    """An offset or a size of 0 means that a part of the picture is not there: no part of it is made black."""
    data = tiff(gray(100, 90), photometric="minisblack", **KINDS[kind])
    tags = (TILES, TILE_SIZES) if TILES in entries(data) else (STRIPS, SIZES)
    decode(data)
    for tag in tags:
        assert reason(changed_list(data, tag, 1, 0)) == "truncated"


@pytest.mark.parametrize("kind", KINDS)
def test_a_list_that_lacks_strips_is_truncated(kind):
    """Fewer places than the picture's size asks for: what is not listed is not there."""
    data = bytearray(tiff(gray(100, 90), photometric="minisblack", **KINDS[kind]))
    found = entries(bytes(data))
    for tag in (TILES, TILE_SIZES) if TILES in found else (STRIPS, SIZES):
        cut = bytearray(data)
        count = "<Q" if data[2] == 43 else "<I"
        (listed,) = struct.unpack_from(count, cut, found[tag] + 4)
        struct.pack_into(count, cut, found[tag] + 4, listed - 1)
        assert reason(bytes(cut)) == "truncated"


@pytest.mark.parametrize("kind", KINDS)
def test_a_strip_cut_in_half_is_truncated(kind):
    """A strip or tile of which half is there lacks rows, whatever its compression."""
    data = tiff(picture(100, 90), photometric="rgb", **KINDS[kind])
    tag = TILE_SIZES if TILES in entries(data) else SIZES
    with tifffile.TiffFile(io.BytesIO(data)) as file:
        size = file.pages[0].databytecounts[0]
    assert reason(changed_list(data, tag, 0, size // 2)) in ("truncated", "decode_error")
    if kind not in ("deflate", "tiles", "zstd"):  # their decoders tell no cut stream from a damaged one
        assert reason(changed_list(data, tag, 0, size // 2)) == "truncated"


@pytest.mark.parametrize("compression", ["group3", "group4", "tiff_ccitt"])
@pytest.mark.parametrize("order", [1, 2])
def test_a_fax_that_lacks_rows_is_truncated(compression, order):
    """A fax decoder makes missing rows white and says nothing; cut anywhere, the strip is told from a whole one."""
    image = np.full((80, 120), 255, np.uint8)
    image[20:70, 30:60] = np.arange(50)[:, None] * 5 > np.arange(30) * 9
    data = save(Image.fromarray(image > 127), "TIFF", compression=compression, tiffinfo={266: order})
    whole = (image > 127) * np.uint8(255)
    np.testing.assert_array_equal(decode(data).pages[0], whole)
    with tifffile.TiffFile(io.BytesIO(data)) as file:
        (size,) = file.pages[0].databytecounts
    ended = set()
    for cut in range(1, size):
        try:
            # What lacks only the code that ends a page, which comes last, lacks no row.
            np.testing.assert_array_equal(decode(changed_list(data, SIZES, 0, cut)).pages[0], whole)
            assert cut > size - 10, cut
        except DecodeError as error:
            ended.add(error.reason)
    assert ended == {"truncated"}
    # Rows that are not there, though the code that ends a page is.
    taller = bytearray(data)
    for tag in (257, ROWS):
        struct.pack_into("<HII", taller, entries(data)[tag] + 2, 4, 1, 160)
    assert reason(bytes(taller)) == "truncated"


def test_a_nested_jpeg_with_a_gap_is_refused():
    """A JPEG strip that has its end marker but lacks data in its middle is no whole strip."""
    data = tiff(gray(160, 160), photometric="minisblack", compression="jpeg", rowsperstrip=160)
    with tifffile.TiffFile(io.BytesIO(data)) as file:
        (start,), (size,) = file.pages[0].dataoffsets, file.pages[0].databytecounts
    coded = data[start : start + size]
    gap = coded[: size // 2] + b"\xff\xd9"
    assert reason(changed_list(data[:start] + gap + data[start + len(gap) :], SIZES, 0, len(gap))) == "truncated"


def test_sizes_that_are_too_large_or_left_out_do_no_harm():
    """Old writers list the rest of the file as the size of a plain strip, or no sizes: the picture is all there."""
    data = tiff(gray(), photometric="minisblack")
    expected = decode(data).pages[0]
    np.testing.assert_array_equal(decode(changed_list(data, SIZES, 0, len(data))).pages[0], expected)
    without = bytearray(data)
    struct.pack_into("<H", without, entries(data)[SIZES], 65000)
    np.testing.assert_array_equal(decode(bytes(without)).pages[0], expected)


def directory(tags: list[tuple[int, int, int, int]], following: int = 0) -> bytes:
    """Return a small-endian directory."""
    packed = b"".join(struct.pack("<HHII", *tag) for tag in tags)
    return struct.pack("<H", len(tags)) + packed + struct.pack("<I", following)


def page(more: list[tuple[int, int, int, int]], following: int = 0) -> bytes:
    """Return the directory of one gray pixel that lies at `at`, with more tags."""
    own = [(256, 3, 1, 1), (257, 3, 1, 1), (258, 3, 1, 8), (259, 3, 1, 1), (262, 3, 1, 1)]
    return directory(sorted([*own, (273, 4, 1, 8), (279, 4, 1, 1), *more]), following)


HEAD = struct.pack("<2sHI", b"II", 42, 16) + bytes(8)


def many_tags(count: int = 20_000, value: int = 400_000) -> bytes:
    """Return a file whose tags all name nearly all of it, as text, each from another place."""
    tags = [(1000 + i, 2, value, 16 + i) for i in range(count)]
    return (HEAD + page(tags)).ljust(value + count + 64, b"x")


def one_value(count: int = 20_000, value: int = 400_000) -> bytes:
    """Return a file whose tags all name the same large value."""
    after = 16 + 12 * (count + 16)
    return (HEAD + page([(1000 + i, 2, value, after) for i in range(count)])).ljust(after + value, b"x")


def exif_in_itself(pages: int = 60) -> bytes:
    """Return a file whose directories' EXIF, GPS and interoperability tags all point back to them, one to the next."""
    step = len(page([(34665, 4, 1, 0), (34853, 4, 1, 0), (40965, 4, 1, 0)]))
    out = HEAD
    for i in range(pages):
        pointers = [(tag, 4, 1, 16 + step * ((i + j) % pages)) for j, tag in enumerate((34665, 34853, 40965))]
        out += page(pointers, 16 + step * (i + 1) if i + 1 < pages else 0)
    return out


def overlapping_strips(count: int = 50_000) -> bytes:
    """Return a file of 50,000 rows in strips of one row, each of which is nearly the whole file, deflated."""
    coded = bytes(imagecodecs.zlib_encode(bytes(64), level=1)).ljust(count, b"\1")
    lists = struct.pack(f"<{count}I", *[16] * count), struct.pack(f"<{count}I", *[count] * count)
    at = 16 + len(coded)
    tags = [(256, 3, 1, 64), (257, 4, 1, count), (258, 3, 1, 8), (259, 3, 1, 8), (262, 3, 1, 1)]
    tags += [(273, 4, count, at), (278, 3, 1, 1), (279, 4, count, at + 4 * count)]
    head = struct.pack("<2sHI", b"II", 42, at + 8 * count) + bytes(8)
    return head + coded + lists[0] + lists[1] + directory(tags)


def vast_tiles() -> bytes:
    """Return a picture of 64 x 64 pixels in a tile of 65,520 x 65,520."""
    data = bytearray(tiff(gray(64, 64), photometric="minisblack", tile=(64, 64), compression="deflate"))
    for tag in (322, 323):
        struct.pack_into("<HHII", data, entries(bytes(data))[tag], tag, 4, 1, 65_520)
    return bytes(data)


BOMBS = {
    "many tags": (many_tags, {"decode_error"}),
    "EXIF in itself": (exif_in_itself, {"decode_error", None}),
    "overlapping strips": (overlapping_strips, {"decode_error"}),
    "vast tiles": (vast_tiles, {"decode_error"}),
    "one value": (one_value, {None}),
}


@pytest.mark.parametrize("name", BOMBS)
def test_a_file_costs_what_its_size_allows(name):
    """Reading and writing take memory in proportion to the file, however often it points to the same bytes."""
    make, ends = BOMBS[name]
    data, ended = make(), None
    tracemalloc.start()
    try:
        photo = decode(data)
        written = encode(photo, [colored(plane) for plane in photo.pages], provenance=None)
        assert len(written) < 2 * len(data) + (1 << 16)
    except DecodeError as error:
        ended = error.reason
    finally:
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert ended in ends
    assert peak < (24 << 20) + 30 * len(data), f"{peak / 1e6:.0f} MB for {len(data) / 1e6:.1f} MB"


def test_tags_without_end_are_too_large():
    """More tags than any photograph has are refused before they are read."""
    count = 300_000
    tags = b"".join(struct.pack("<HHQQ", 1000 + i % 60_000, 3, 1, 0) for i in range(count))
    data = struct.pack("<2sHHHQ", b"II", 43, 8, 0, 16) + struct.pack("<Q", count) + tags + bytes(8)
    with pytest.raises(DecodeError, match="too_large: TIFF: more than 262,144 tags"):
        read_header(data)


def test_pages_share_what_they_shared():
    """A directory or value that several pages point to is read once, and written once."""
    exif = directory([(36867, 2, 20_000, 16)])
    head = struct.pack("<2sHI", b"II", 42, 16 + 20_000 + len(exif)) + bytes(8)
    at = 16 + 20_000 + len(exif)
    step = len(page([(34665, 4, 1, 0)]))
    data = head + bytes(20_000) + exif
    for i in range(50):
        data += page([(34665, 4, 1, 16 + 20_000)], at + step * (i + 1) if i < 49 else 0)
    photo = decode(data)
    written = encode(photo, [colored(plane) for plane in photo.pages], provenance=None)
    assert len(written) < 2 * len(data)
    layout, pages = read_pages(written)
    assert layout.order == "<"
    assert all(len(p.children[34665].entries[36867].raw) == 20_000 for p in pages)


def test_tifffile_sees_nothing_but_what_decoding_needs(monkeypatch):
    """Descriptions, private tags and pages of a file never reach the library that would read all of them at once."""
    seen = []
    original = tifffile.TiffFile

    def watched(file, *args, **kwargs):
        seen.append(len(file.getvalue()))
        return original(file, *args, **kwargs)

    monkeypatch.setattr(tifffile, "TiffFile", watched)
    decode(samples()["tiff-pages"])
    assert seen
    assert max(seen) < 600


@pytest.mark.parametrize("count", [2, 3, 30])
def test_a_palette_that_lacks_colors_is_named(count):
    """A color map of fewer colors than the picture uses is damage of the file, told in raycolor's words."""
    data = bytearray(save(Image.fromarray(picture()).quantize(16), "TIFF"))
    struct.pack_into("<I", data, entries(bytes(data))[320] + 4, count)
    with pytest.raises(DecodeError, match=r"decode_error: TIFF: a palette of .* lacks one that is used"):
        decode(bytes(data))
