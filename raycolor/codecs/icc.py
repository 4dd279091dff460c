"""ICC profiles: a gray profile becomes an RGB one that means the same tone curve.

Source: ICC.1:2022 sections 7 (header and tag table), 10.6 (curveType), 10.18 (parametricCurveType).
"""

from __future__ import annotations

import struct
from typing import Final

import numpy as np
from numpy.typing import NDArray

# sRGB primaries adapted to D50, from the IEC 61966-2-1 profile of the ICC; their sum is the D50 white.
_PRIMARIES: Final = {
    b"rXYZ": (0.43607, 0.22249, 0.01392),
    b"gXYZ": (0.38515, 0.71687, 0.09708),
    b"bXYZ": (0.14307, 0.06061, 0.71410),
}
_D50: Final = (0.9642, 1.0, 0.8249)
_MAX_SIZE: Final = 16 << 20
_USED: Final = frozenset({b"kTRC", b"desc", b"cprt", b"chad", b"wtpt"})
_PARAMETERS: Final = {0: 1, 1: 3, 2: 4, 3: 5, 4: 7}


def color_space(profile: bytes | None) -> str | None:
    """Return the profile's device color space ("GRAY", "RGB", "CMYK", ...), or None where this is no profile."""
    if not profile or len(profile) < 132 or profile[36:40] != b"acsp":
        return None
    return profile[16:20].decode("latin-1").strip()


def for_rgb(profile: bytes | None) -> bytes | None:
    """Return the profile that belongs to the colored picture.

    An RGB profile stays as it is, byte for byte. A gray one becomes an RGB matrix profile with sRGB primaries whose
    three curves are its own tone curve, so that R = G = B = v looks as gray v did. Profiles of any other space, and
    gray ones whose curve cannot be read, do not fit the colored pixels: None.
    """
    space = color_space(profile)
    if space == "GRAY" and profile is not None:
        return _rgb_of_gray(profile)
    return profile if space == "RGB" else None


def _rgb_of_gray(profile: bytes) -> bytes | None:
    tags = _tags(profile)
    curve = tags.get(b"kTRC")
    if curve is None:
        return None
    if profile[20:23] == b"Lab":
        # With a Lab connection space the curve yields L*, so the same tones need the luminance of that L*.
        values = _evaluate(curve, np.linspace(0.0, 1.0, 4096), lab=True)
        if values is None:
            return None
        table = np.rint(values * 65535).astype(">u2").tobytes()
        curve = b"curv" + bytes(4) + struct.pack(">I", 4096) + table
    elif _evaluate(curve, np.linspace(0.0, 1.0, 2), lab=False) is None:
        return None
    kept = {name: tags[name] for name in (b"desc", b"cprt", b"chad") if name in tags}
    xyz = {name: _xyz(value) for name, value in _PRIMARIES.items()} | {b"wtpt": tags.get(b"wtpt", _xyz(_D50))}
    parts = kept | xyz | {b"rTRC": curve, b"gTRC": curve, b"bTRC": curve}
    table_size = 4 + 12 * len(parts)
    body, entries, places = b"", b"", dict[bytes, int]()
    for name, value in parts.items():
        if value not in places:
            body += bytes(-len(body) % 4)
            places[value] = 128 + table_size + len(body)
            body += value
        entries += struct.pack(">4sII", name, places[value], len(value))
    body += bytes(-len(body) % 4)
    # The profile id (bytes 84 to 99) is a checksum of the old profile: zero means "not computed".
    head = bytearray(profile[:84] + bytes(44))
    head[0:4] = struct.pack(">I", 128 + table_size + len(body))
    head[12:24] = b"mntrRGB XYZ "
    return bytes(head) + struct.pack(">I", len(parts)) + entries + body


def _tags(profile: bytes) -> dict[bytes, bytes]:
    """Return the tags used here that lie inside the profile, a damaged table those that do; none that overlap."""
    found: dict[bytes, bytes] = {}
    if color_space(profile) is None or len(profile) > _MAX_SIZE:
        return found
    (count,) = struct.unpack_from(">I", profile, 128)
    for i in range(min(count, (len(profile) - 132) // 12, 200)):
        name, start, size = struct.unpack_from(">4sII", profile, 132 + 12 * i)
        if name in _USED and start + size <= len(profile):
            found[name] = profile[start : start + size]
    return found if sum(map(len, found.values())) <= len(profile) else {}


def _xyz(value: tuple[float, float, float]) -> bytes:
    return b"XYZ " + bytes(4) + struct.pack(">3i", *(round(v * 65536) for v in value))


def _evaluate(curve: bytes, x: NDArray[np.float64], lab: bool) -> NDArray[np.float64] | None:
    """Apply a curveType or parametricCurveType to x in 0..1; None where the tag is neither or is cut short."""
    kind = curve[:4]
    try:
        if kind == b"curv":
            (count,) = struct.unpack_from(">I", curve, 8)
            if count == 0:
                y = x
            elif count == 1:
                y = x ** (struct.unpack_from(">H", curve, 12)[0] / 256)
            else:
                table = np.frombuffer(curve, ">u2", count, 12).astype(np.float64) / 65535
                y = np.interp(x, np.linspace(0.0, 1.0, count), table)
        elif kind == b"para":
            (form,) = struct.unpack_from(">H", curve, 8)
            if form not in _PARAMETERS:
                return None
            y = _parametric(form, [v / 65536 for v in struct.unpack_from(f">{_PARAMETERS[form]}i", curve, 12)], x)
        else:
            return None
    except (struct.error, ValueError, ZeroDivisionError):
        return None
    y = np.clip(np.nan_to_num(y), 0.0, 1.0)
    if lab:
        y = np.where(y > 0.08, ((y * 100 + 16) / 116) ** 3, y * 100 / 903.2963)  # CIE 15:2004, L* to Y
    return y


def _parametric(form: int, p: list[float], x: NDArray[np.float64]) -> NDArray[np.float64]:
    g, a, b, c, d, e, f = (p + [0.0] * 7)[:7]
    if form == 0:
        return x**g
    if form == 1:
        return np.where(x >= -b / a, np.maximum(a * x + b, 0) ** g, 0.0)
    if form == 2:
        return np.where(x >= -b / a, np.maximum(a * x + b, 0) ** g + c, c)
    return np.where(x >= d, np.maximum(a * x + b, 0) ** g + e, c * x + f)
