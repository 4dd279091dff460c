"""EXIF fields that decide how a picture is shown: orientation and resolution."""

from __future__ import annotations

import re
import struct

_TYPE_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4}
_ORIENTATION, _X_RESOLUTION, _Y_RESOLUTION, _RESOLUTION_UNIT = 0x0112, 0x011A, 0x011B, 0x0128
_XMP_ORIENTATION = re.compile(rb"tiff:Orientation\s*(?:=\s*[\"']|>)\s*([1-8])\s*[\"'<]")


def fields(exif: bytes | None) -> dict[int, tuple[float, ...]]:
    """Read the short, long and rational fields of the first directory; a damaged block gives what could be read.

    Metadata never fails an image: the block itself is kept byte for byte whether or not it can be read.
    """
    found: dict[int, tuple[float, ...]] = {}
    if not exif or exif[:4] not in (b"II*\0", b"MM\0*"):
        return found
    order = "<" if exif[:2] == b"II" else ">"
    try:
        (start,) = struct.unpack_from(order + "I", exif, 4)
        (count,) = struct.unpack_from(order + "H", exif, start)
        for i in range(count):
            at = start + 2 + 12 * i
            tag, kind, n = struct.unpack_from(order + "HHI", exif, at)
            size = _TYPE_SIZES.get(kind, 0) * n
            if kind not in (3, 4, 5) or not 0 < n <= 4:
                continue
            where = at + 8 if size <= 4 else struct.unpack_from(order + "I", exif, at + 8)[0]
            if kind == 5:
                parts = struct.unpack_from(f"{order}{2 * n}I", exif, where)
                found[tag] = tuple(a / b if b else 0.0 for a, b in zip(parts[::2], parts[1::2], strict=True))
            else:
                found[tag] = struct.unpack_from(f"{order}{n}{'H' if kind == 3 else 'I'}", exif, where)
    except struct.error:
        pass
    return found


def orientation(exif: bytes | None, xmp: bytes | None = None) -> int:
    """Return the EXIF orientation 1..8, that of XMP (tiff:Orientation) where EXIF has none, and 1 where neither has."""
    value = fields(exif).get(_ORIENTATION, (0,))[0]
    if 1 <= value <= 8:
        return int(value)
    match = _XMP_ORIENTATION.search(xmp) if xmp else None
    return int(match.group(1)) if match else 1


def dpi(exif: bytes | None) -> tuple[float, float] | None:
    """Return (horizontal, vertical) dots per inch, or None where the block does not say or has no unit."""
    found = fields(exif)
    x, y = found.get(_X_RESOLUTION, (0.0,))[0], found.get(_Y_RESOLUTION, (0.0,))[0]
    return per_inch(x, y, int(found.get(_RESOLUTION_UNIT, (2,))[0]))


def per_inch(x: float, y: float, unit: int) -> tuple[float, float] | None:
    """Return a resolution in dots per inch; `unit` is 2 for inches and 3 for centimeters, as in EXIF and TIFF."""
    scale = {2: 1.0, 3: 2.54}.get(unit)
    return (x * scale, y * scale) if scale and x > 0 and y > 0 else None
