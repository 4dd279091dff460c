"""Files that break image programs, made on the spot: cut, flipped, swollen, odd of shape, kind or name.

`corpus()` gives key -> Hostile. The same bytes on every run.
"""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass

import imagecodecs
import numpy as np
import photographs
import simplejpeg
import tifffile
from PIL import Image

COLORIZED = "colorized"
DAMAGED = frozenset({"empty", "not_an_image", "truncated", "decode_error", "unsupported_format", "too_large"})
_FLIPS = 12
_EXTENSIONS = {"jpeg": "jpg", "png": "png", "tiff": "tif", "webp": "webp"}


@dataclass(frozen=True)
class Hostile:
    """One file and how it may end: `colorized` or reasons. `detail` is what a colorized one's outcome says."""

    data: bytes
    ends: frozenset[str]
    detail: str | None = None


def corpus() -> dict[str, Hostile]:
    """Return every file by its key."""
    return {**_damaged(), **_bombs(), **_odd(), **_animated(), **_named(), **_clashing()}


def good(kind: str = "jpeg", seed: int = 0) -> bytes:
    """Return a gray photograph that nothing is wrong with."""
    return photographs.encoded(photographs.gray_pixels(seed=seed), kind)


def names() -> list[str]:
    """Return keys that a local folder holds and that programs trip over; all end in .jpg."""
    long = "/".join(f"{i}" * 220 for i in range(1, 5))
    return [
        "names/with spaces  two.jpg",
        "names/ leading and trailing .jpg",
        "names/Zürich Nordbrücke 北京 🏞.jpg",
        "names/e\u0301 decomposed.jpg",
        "names/\u00e9 composed.jpg",
        "names/%2F percent.jpg",
        "names/100%25.jpg",
        "names/%FF byte.jpg",
        "names/new\nline.jpg",
        "names/tab\tand\rreturn.jpg",
        "names/quote\"apostrophe'comma,semicolon;.jpg",
        "names/back\\slash.jpg",
        "names/question?hash#amp&plus+.jpg",
        "names/*star[1]{a}.jpg",
        "names/-rf.jpg",
        "names/.hidden.jpg",
        "names/<b>&amp;.jpg",
        "names/CON.jpg",
        f"{long}/900.jpg",
        "names/" + "x" * 251 + ".jpg",
    ]


def _damaged() -> dict[str, Hostile]:
    """Files cut at every sixteenth, and files with flipped bits: a whole picture or a reason, never half of one."""
    rng = np.random.default_rng(41)
    made = {}
    for kind, extension in _EXTENSIONS.items():
        data = photographs.encoded(photographs.gray_pixels(96, 128), kind)
        for part in range(16):
            ends = frozenset({"empty", "truncated", "not_an_image"})
            made[f"cut/{part:02d}-of-16.{extension}"] = Hostile(data[: len(data) * part // 16], ends)
        for number in range(_FLIPS):
            broken = bytearray(data)
            for place in rng.integers(len(data), size=1 << rng.integers(4)):
                broken[place] ^= 1 << rng.integers(8)
            # Where the bit hits a pixel or a comment, the file is as whole as any; where it makes color, it is color.
            ends = DAMAGED | {COLORIZED, "already_color"}
            made[f"flipped/{number:02d}.{extension}"] = Hostile(bytes(broken), ends)
    return made


def _bombs() -> dict[str, Hostile]:
    """Little files that claim gigabytes, or unpack to a hundred megabytes."""
    swollen = bytes(imagecodecs.zlib_encode(bytes(1 << 27), level=1))
    large = simplejpeg.encode_jpeg(np.zeros((12000, 12000, 1), np.uint8), 10, "GRAY")
    too_large = frozenset({"too_large"})
    cheated = DAMAGED | {COLORIZED}
    return {
        "bombs/claims 65535 x 65535.png": Hostile(_png(65535, 65535, zlib.compress(bytes(1 << 20))), too_large),
        "bombs/claims 65535 x 65535.tif": Hostile(_tiff_claiming(65535, 65535), too_large),
        "bombs/claims 65535 x 65535, to be wiped.gif": Hostile(_gif_claiming(65535, 65535), too_large),
        "bombs/tags that all name the whole file.tif": Hostile(_tiff_of_tags(4000, 300_000), cheated),
        "bombs/claims 65535 x 65535.jpg": Hostile(_jpeg_claiming(65535, 65535), too_large),
        "bombs/claims a thousand times its data.jpg": Hostile(_jpeg_claiming(4000, 4000), DAMAGED),
        "bombs/unpacks past its size.png": Hostile(_png(64, 64, swollen), cheated),
        "bombs/strip unpacks past its size.tif": Hostile(_tiff_strip(swollen, 8), cheated),
        "bombs/lzw strip unpacks past its size.tif": Hostile(
            _tiff_strip(bytes(imagecodecs.lzw_encode(bytes(1 << 26))), 5), cheated
        ),
        "bombs/jpeg strip larger than its page.tif": Hostile(_tiff_strip(large, 7), cheated),
        "bombs/picture larger than its canvas.webp": Hostile(_webp_on_canvas(16, 16), cheated),
        "bombs/profile unpacks to 128 MB.png": Hostile(
            _with_chunk(good("png"), b"iCCP", b"x\0\0" + swollen), frozenset({COLORIZED})
        ),
    }


def _odd() -> dict[str, Hostile]:
    """Files that are whole and rare: each is colorized, or refused by name."""
    gray, fine = photographs.gray_pixels(), frozenset({COLORIZED})
    unsupported = frozenset({"unsupported_format"})
    wide = gray.astype(np.uint16) * 257
    ink = Image.merge("CMYK", [Image.new("L", gray.shape[::-1])] * 3 + [Image.fromarray(255 - gray)])
    adobe = _saved(ink, "JPEG", quality=95)
    palette = Image.fromarray(gray).convert("P")
    made = {}
    for kind, extension in _EXTENSIONS.items():
        made[f"odd/1x1.{extension}"] = Hostile(photographs.encoded(gray[:1, :1].copy(), kind), fine)
    for kind, extension in (("jpeg", "jpg"), ("png", "png"), ("tiff", "tif")):
        long = np.tile(gray[:1], (1, 320))[:, :20_000].copy()
        made[f"odd/1x20000.{extension}"] = Hostile(photographs.encoded(long, kind), fine)
        made[f"odd/20000x1.{extension}"] = Hostile(photographs.encoded(long.T.copy(), kind), fine)
    return {
        **made,
        "odd/palette with transparency.png": Hostile(_saved(palette, "PNG", transparency=3), fine),
        "odd/palette with transparency.gif": Hostile(_saved(palette, "GIF", transparency=3), fine),
        "odd/cmyk, ink inverted as Adobe does.jpg": Hostile(adobe, fine),
        "odd/cmyk without a marker.jpg": Hostile(_without_adobe(adobe), fine),
        "odd/16 bits.png": Hostile(_saved(Image.fromarray(wide), "PNG"), fine),
        "odd/16 bits.tif": Hostile(_tiff(wide), fine),
        "odd/float.tif": Hostile(_tiff(gray.astype(np.float32) / 255), unsupported),
        "odd/float with no numbers.tif": Hostile(_tiff(np.full((9, 9), np.nan, np.float32)), unsupported),
        "odd/1 bit.tif": Hostile(_tiff(gray > 127), fine),
        "odd/three pages.tif": Hostile(_tiff(gray, gray[::-1].copy(), gray[:20].copy()), fine),
        "odd/named jpg, is png.jpg": Hostile(good("png"), fine),
        "odd/two photographs in one file.jpg": Hostile(good() + good(seed=1), fine),
        "odd/nothing but zeros.jpg": Hostile(bytes(4096), frozenset({"not_an_image"})),
        "odd/empty.jpg": Hostile(b"", frozenset({"empty"})),
        "odd/page of a web server.jpg": Hostile(b"<html>404</html>", frozenset({"not_an_image"})),
    }


def _animated() -> dict[str, Hostile]:
    """Several frames: the first is colorized, and the outcome says so."""
    frames = [Image.fromarray(photographs.gray_pixels(seed=seed)) for seed in range(3)]
    fine, note = frozenset({COLORIZED}), "animated: first frame"
    made = {}
    for kind, extension in (("GIF", "gif"), ("PNG", "png"), ("WEBP", "webp")):
        data = _saved(frames[0], kind, save_all=True, append_images=frames[1:], duration=40)
        made[f"animated/film.{extension}"] = Hostile(data, fine, note)
    lossless = _saved(frames[0], "WEBP", save_all=True, append_images=frames[1:], duration=40, lossless=True)
    return {**made, "animated/lossless film.webp": Hostile(lossless, fine, note)}


def _named() -> dict[str, Hostile]:
    """Good photographs under names that programs trip over."""
    made = {name: Hostile(good(seed=i), frozenset({COLORIZED})) for i, name in enumerate(names())}
    # The output's name is longer than the input's, past what the file system takes: that image alone fails.
    full = Hostile(good("gif"), frozenset({"storage_error"}))
    return {**made, "names/" + "y" * 251 + ".gif": full}


def _clashing() -> dict[str, Hostile]:
    """Inputs whose outputs would have the same name, were it only made by adding an extension."""
    fine = frozenset({COLORIZED})
    name = "clash/scan.gif"
    return {
        name: Hostile(good("gif"), fine),
        f"{name}.raycolor.png": Hostile(good("png", seed=1), fine),
        f"{name}.raycolor.png.raycolor.png": Hostile(good("png", seed=2), fine),
    }


def _saved(image: Image.Image, kind: str, **options: object) -> bytes:
    sink = io.BytesIO()
    image.save(sink, kind, **options)
    return sink.getvalue()


def _tiff(*pages: np.ndarray) -> bytes:
    sink = io.BytesIO()
    with tifffile.TiffWriter(sink) as writer:
        for page in pages:
            writer.write(page, metadata=None, photometric="minisblack")
    return sink.getvalue()


def _chunk(kind: bytes, payload: bytes) -> bytes:
    return struct.pack(">I", len(payload)) + kind + payload + struct.pack(">I", zlib.crc32(kind + payload))


def _png(width: int, height: int, packed: bytes) -> bytes:
    head = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    body = _chunk(b"IHDR", head) + _chunk(b"IDAT", packed) + _chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


def _with_chunk(png: bytes, kind: bytes, payload: bytes) -> bytes:
    """Put a chunk behind IHDR, which is 25 bytes long and follows the signature of 8."""
    return png[:33] + _chunk(kind, payload) + png[33:]


def _gif_claiming(width: int, height: int) -> bytes:
    """Return a GIF whose frame, as large as its canvas, is to be wiped: readers that prepare for it fill a canvas."""
    data = bytearray(_saved(Image.new("L", (1, 1)), "GIF"))
    struct.pack_into("<HH", data, 6, width, height)
    frame = data.index(b"\x2c\0\0\0\0")
    struct.pack_into("<HH", data, frame + 5, width, height)
    return bytes(data[:frame]) + b"\x21\xf9\x04\x08\0\0\0\0" + bytes(data[frame:])


def _tiff_of_tags(count: int, length: int) -> bytes:
    """Return a TIFF of one pixel with many tags, each of which names nearly all of the file as its numbers."""
    own = [(256, 3, 1, 1), (257, 3, 1, 1), (258, 3, 1, 8), (259, 3, 1, 1), (262, 3, 1, 1)]
    tags = [*own, (273, 4, 1, 8), (279, 4, 1, 1), *((1000 + i, 3, length // 2, 16 + i) for i in range(count))]
    packed = b"".join(struct.pack("<HHII", *tag) for tag in tags)
    head = struct.pack("<2sHI", b"II", 42, 16) + bytes(8) + struct.pack("<H", len(tags))
    return (head + packed + bytes(4)).ljust(16 + count + length, b"\1")


def _jpeg_claiming(width: int, height: int) -> bytes:
    data = bytearray(good())
    struct.pack_into(">HH", data, data.index(b"\xff\xc0") + 5, height, width)
    return bytes(data)


def _without_adobe(jpeg: bytes) -> bytes:
    at = jpeg.index(b"\xff\xee")
    (length,) = struct.unpack_from(">H", jpeg, at + 2)
    return jpeg[:at] + jpeg[at + 2 + length :]


def _entries(data: bytes) -> Iterator[tuple[int, int]]:
    """Yield tag and place of every entry of a little-endian TIFF's first directory."""
    (start,) = struct.unpack_from("<I", data, 4)
    for i in range(struct.unpack_from("<H", data, start)[0]):
        yield struct.unpack_from("<H", data, start + 2 + 12 * i)[0], start + 2 + 12 * i


def _tiff_claiming(width: int, height: int) -> bytes:
    data = bytearray(_tiff(photographs.gray_pixels()))
    for tag, at in _entries(bytes(data)):
        if tag in (256, 257):
            struct.pack_into("<HHII", data, at, tag, 4, 1, width if tag == 256 else height)
    return bytes(data)


def _tiff_strip(coded: bytes, compression: int) -> bytes:
    """Return a TIFF of 64 x 48 gray pixels whose only strip holds these bytes."""
    data = bytearray(_tiff(photographs.gray_pixels()))
    place = len(data)
    for tag, at in _entries(bytes(data)):
        value = {259: compression, 273: place, 279: len(coded)}.get(tag)
        if value is not None:
            struct.pack_into("<HHII", data, at, tag, 4, 1, value)
    return bytes(data) + coded


def _webp_on_canvas(width: int, height: int) -> bytes:
    """Return a WebP whose extended header claims a canvas much smaller than the picture in it."""
    picture = bytearray(_saved(Image.new("RGB", (16, 16)), "WEBP", lossless=True)[12:])
    # A picture of one color has no data but its size (14 bits each), whatever that is.
    (packed,) = struct.unpack_from("<I", picture, 9)
    struct.pack_into("<I", picture, 9, packed & ~0xFFFFFFF | 16382 | 16382 << 14)
    head = b"\0\0\0\0" + (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    body = b"WEBP" + b"VP8X" + struct.pack("<I", len(head)) + head + bytes(picture)
    return b"RIFF" + struct.pack("<I", len(body)) + body
