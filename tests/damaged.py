"""Photographs damaged in the ten ways that archives know, in every format and compression.

    python tests/damaged.py [--draws N]

prints, per kind of file, how many damaged files were refused, how many show under 1% of pixels changed, and how many
were taken although more changed, because no strict decoder can tell: no warning, no missing part, no checksum.
"""

from __future__ import annotations

import argparse
import io
import struct
import warnings
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache

import imagecodecs
import numpy as np
import photographs
import simplejpeg
import tifffile
from PIL import Image

from raycolor.codecs import decode
from raycolor.errors import DecodeError

SIZE = (240, 320)
VISIBLE = 0.01  # share of pixels that differ from the undamaged file's
Damage = Callable[[bytes, int, np.random.Generator], bytes]


@dataclass(frozen=True)
class Damaged:
    """A file of a sample (`kind`), damaged in one way."""

    kind: str
    way: str
    data: bytes


@cache
def samples() -> dict[str, bytes]:
    """Return one gray photograph with grain per format and compression."""
    gray = photographs.gray_pixels(*SIZE)
    wide = gray.astype(np.uint16) * 256 + gray
    encoded = photographs.encoded
    made = {
        "jpeg baseline": encoded(gray, "jpeg", quality=88),
        "jpeg progressive": encoded(gray, "jpeg", quality=88, progressive=True),
        "jpeg restarts": encoded(gray, "jpeg", quality=88, restart_marker_rows=2),
        "jpeg color 4:2:0": encoded(np.dstack([gray] * 3), "jpeg", quality=88),
        "png 8": encoded(gray, "png"),
        "png 16": encoded(wide, "png"),
        "webp": encoded(gray, "webp", quality=80),
        "webp lossless": encoded(gray, "webp", lossless=True),
        "jp2 lossless": bytes(imagecodecs.jpeg2k_encode(gray, codecformat="jp2", reversible=True)),
        "jp2 tiles": encoded(gray, "jpeg2000", tile_size=(128, 128)),
        "bmp": encoded(gray, "bmp"),
        "gif": encoded(gray, "gif"),
    }
    for name in ("none", "lzw", "deflate", "packbits", "jpeg"):
        made[f"tiff {name}"] = _tiff(gray, None if name == "none" else name)
    return {**made, "tiff g4": encoded(gray > 127, "tiff", compression="group4")}


def corpus(draws: int) -> Iterator[Damaged]:
    """Yield every sample damaged in every way, `draws` times each; the same bytes on every run."""
    for number, (kind, data) in enumerate(samples().items()):
        for way, damage in WAYS.items():
            rng = np.random.default_rng([number, *way.encode()])
            for _ in range(draws):
                broken = damage(data, _pixels_begin(data), rng)
                if broken != data:
                    yield Damaged(kind, way, broken)


def changed(kind: str, page: np.ndarray) -> float:
    """Return the share of pixels that differ from the undamaged file's."""
    whole = decode(samples()[kind]).pages[0]
    return 1.0 if page.shape != whole.shape else float((page != whole).mean())


def noticed(data: bytes, way: str) -> bool:
    """Say whether a strict decoder can tell that this file is damaged: it fails, warns, misses a part or a checksum."""
    if way in MISSING:
        return True
    try:
        with warnings.catch_warnings(action="error"):
            if data[:2] == b"\xff\xd8":
                simplejpeg.decode_jpeg(data, "GRAY", strict=True)
            elif data[:4] in (b"II*\0", b"MM\0*"):
                tifffile.imread(io.BytesIO(data))
            elif data[:8] == b"\x89PNG\r\n\x1a\n":
                _check_png(data)
            with Image.open(io.BytesIO(data)) as image:
                image.load()
    except Exception:  # noqa: BLE001 - whatever a decoder says, it has noticed
        return True
    return False


def _check_png(data: bytes) -> None:
    at, packed = 8, b""
    while at < len(data):
        size, kind = struct.unpack_from(">I4s", data, at)
        body = data[at + 8 : at + 8 + size]
        if zlib.crc32(kind + body) != struct.unpack_from(">I", data, at + 8 + size)[0]:
            raise ValueError("checksum")
        packed += body if kind == b"IDAT" else b""
        at += 12 + size
        if kind == b"IEND":
            break
    zlib.decompress(packed)


def _tiff(gray: np.ndarray, compression: str | None) -> bytes:
    sink = io.BytesIO()
    tifffile.imwrite(sink, gray, photometric="minisblack", metadata=None, rowsperstrip=64, compression=compression)
    return sink.getvalue()


def _pixels_begin(data: bytes) -> int:
    """Return where damage may begin: behind the header, as far as it is at the front."""
    if data[:2] == b"\xff\xd8":
        return data.index(b"\xff\xda") + 12
    return min(len(data) // 8, 400)


def _place(data: bytes, start: int, rng: np.random.Generator, length: int = 1) -> int:
    return int(rng.integers(start, max(start + 1, len(data) - length - 12)))


def _flip(data: bytes, start: int, rng: np.random.Generator) -> bytes:
    broken = bytearray(data)
    broken[_place(data, start, rng)] ^= 1 << rng.integers(8)
    return bytes(broken)


def _overwrite(fill: Callable[[np.random.Generator, int], bytes]) -> Damage:
    def damage(data: bytes, start: int, rng: np.random.Generator) -> bytes:
        length = min(512, (len(data) - start) // 3)
        place = _place(data, start, rng, length)
        return data[:place] + fill(rng, length) + data[place + length :]

    return damage


def _cut(data: bytes, start: int, rng: np.random.Generator) -> bytes:
    return data[: _place(data, start, rng)]


def _cut_and_closed(data: bytes, start: int, rng: np.random.Generator) -> bytes:
    ends = {b"\xff\xd8": 2, b"\x89P": 12, b"GI": 1, b"\0\0": 2}
    return _cut(data, start, rng) + data[-ends.get(data[:2], 8) :]


def _cut_and_filled(data: bytes, start: int, rng: np.random.Generator) -> bytes:
    place = _place(data, start, rng)
    return data[:place] + bytes(len(data) - place)


def _lost(data: bytes, start: int, rng: np.random.Generator) -> bytes:
    length = int(rng.integers(1, 300))
    place = _place(data, start, rng, length)
    return data[:place] + data[place + length :]


def _exchanged(data: bytes, start: int, rng: np.random.Generator) -> bytes:
    length = min(512, (len(data) - start) // 4)
    place = _place(data, start, rng, 2 * length)
    return (
        data[:place]
        + data[place + length : place + 2 * length]
        + data[place : place + length]
        + data[place + 2 * length :]
    )


def _as_text(data: bytes, start: int, rng: np.random.Generator) -> bytes:
    return data.replace(b"\r\n", b"\n") if rng.random() < 0.5 else data.replace(b"\n", b"\r\n")


WAYS: dict[str, Damage] = {
    "one bit flipped": _flip,
    "sector of zeros": _overwrite(lambda rng, length: bytes(length)),
    "sector of 0xFF": _overwrite(lambda rng, length: b"\xff" * length),
    "sector of noise": _overwrite(lambda rng, length: rng.integers(0, 256, length, dtype=np.uint8).tobytes()),
    "cut": _cut,
    "cut, end put back": _cut_and_closed,
    "cut, filled with zeros": _cut_and_filled,
    "bytes lost": _lost,
    "sectors exchanged": _exchanged,
    "sent as text": _as_text,
}
MISSING = {"cut", "cut, end put back"}


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--draws", type=int, default=20)
    found: dict[str, Counter[str]] = {kind: Counter() for kind in samples()}
    for made in corpus(parser.parse_args().draws):
        try:
            share = changed(made.kind, decode(made.data).pages[0])
        except DecodeError:
            found[made.kind]["refused"] += 1
            continue
        if share <= VISIBLE:
            found[made.kind]["under 1%"] += 1
        else:
            found[made.kind]["noticed, taken" if noticed(made.data, made.way) else "unnoticed"] += 1
            found[made.kind][made.way] += 1
    columns = ("refused", "under 1%", "unnoticed", "noticed, taken")
    print("| file | " + " | ".join(columns) + " | ways |")
    for kind, counts in found.items():
        ways = ", ".join(f"{way} {counts[way]}" for way in WAYS if counts[way])
        print(f"| {kind} | " + " | ".join(str(counts[column]) for column in columns) + f" | {ways} |")


if __name__ == "__main__":
    main()
