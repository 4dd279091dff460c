"""Fused color conversion for whole photographs: compiled, one thread, the interpreter lock released.

Everything here agrees with `raycolor.color.arrays` within 0.003 delta E; tables are made on first use and shared.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any, Final, cast

import cv2
import numpy as np
from numpy.typing import NDArray

from raycolor.color import _input_loops, _loops
from raycolor.color.arrays import DELTA, srgb_decode, srgb_encode
from raycolor.color.resize import resize_area
from raycolor.errors import ShapeError

Plane = NDArray[np.float32]
Codes = NDArray[np.uint8] | NDArray[np.uint16]
_CODES: Final = (np.uint8, np.uint16)

# The smallest sizes that keep the tests' errors: f(t) in 8192 straight pieces is 1e-6 off where it bends most.
_ROOT_PIECES: Final = 8192
_ENCODE8_ENTRIES: Final = 32769
_ENCODE16_ENTRIES: Final = 65537
_TOLERANCE8: Final = np.float32(2e-5)  # linear RGB; under a tenth of a code at black
_TOLERANCE16: Final = np.float32(1e-6)
_SIDE: Final = 22  # nodes of a and b on each side of 0
_GUIDE_EPSILON: Final = np.float32(4.0)  # L squared: what differs less in lightness tells nothing of color
_GUIDE_REACH: Final = np.float32(2.0)  # local standard deviations of L that detail may count for
_BINOMIAL: Final = np.array([0.25, 0.5, 0.25], np.float32)


def pixels_to_lab(rgb: Codes) -> tuple[Plane, Plane, Plane]:
    """Convert 8- or 16-bit sRGB to L*a*b*.

    Args:
        rgb: (H, W, 3) uint8 or uint16.

    Returns:
        L, a, b: (H, W) float32 each, within 0.003 delta E of `arrays.rgb_to_lab`.

    Raises:
        ShapeError: not (H, W, 3), or another type.
    """
    if rgb.ndim != 3 or rgb.shape[2] != 3 or rgb.dtype not in _CODES:
        raise ShapeError(f"rgb is {rgb.dtype} {rgb.shape}: expected uint8 or uint16 (H, W, 3)")
    planes = np.empty((3, rgb.shape[0] * rgb.shape[1]), np.float32)
    pixels = np.ascontiguousarray(rgb).reshape(-1, 3)
    _input_loops.codes_to_lab(pixels, _linear_table(rgb.itemsize), _root_table(), planes[0], planes[1], planes[2])
    L, a, b = planes.reshape(3, *rgb.shape[:2])
    return L, a, b


def lightness(pixels: Codes) -> Plane:
    """Convert sRGB-encoded gray (R = G = B) or RGB to L alone.

    Args:
        pixels: (H, W) or (H, W, 3), uint8 or uint16.

    Returns:
        (H, W) float32 in 0..100.

    Raises:
        ShapeError: another shape or type.
    """
    if pixels.shape[2:] not in ((), (3,)) or pixels.ndim < 2 or pixels.dtype not in _CODES:
        raise ShapeError(f"pixels are {pixels.dtype} {pixels.shape}: expected uint8 or uint16 (H, W) or (H, W, 3)")
    L = np.empty(pixels.shape[:2], np.float32)
    codes = np.ascontiguousarray(pixels)
    if pixels.ndim == 2:
        _loops.look_up(codes.reshape(-1), _L_table(pixels.itemsize), L.reshape(-1))
    else:
        _input_loops.codes_to_L(codes.reshape(-1, 3), _linear_table(pixels.itemsize), _root_table(), L.reshape(-1))
    return L


def join(
    code: Any, L: Plane | Codes, ab: Plane, out: Codes | None = None, *, top: int = 0, height: int | None = None
) -> Any:
    """Upsample ab, join it with L, lower chroma to the gamut and encode as 8- or 16-bit sRGB, in one pass.

    L is kept to rounding; hue is kept; ab = 0 with a gray plane gives R = G = B = gray exactly.

    Args:
        code: np.uint8 or np.uint16.
        L: (H, W), float32 L in 0..100, or sRGB-encoded gray of type `code`.
        ab: (h, w, 2) float32 in Lab units, any size; upsampled bilinearly with half-pixel centers, edges repeated
            (`cv2.resize` INTER_LINEAR, torch `interpolate` with align_corners=False). Or what `with_guide` gave.
        out: (H, W, 3) of type `code`, C-contiguous, written and returned; a new array if None.
        top: where L is a band of a larger picture, its first row there; ab is that of the whole picture.
        height: rows of the whole picture; those of L and above if None.

    Returns:
        (H, W, 3) sRGB of type `code`.

    Raises:
        ShapeError: a shape or type other than these, nothing in ab, or a band outside the picture.
    """
    if L.ndim != 2 or L.dtype not in (np.float32, code):
        raise ShapeError(f"L is {L.dtype} {L.shape}: expected (H, W), float32 L or {code.__name__} gray")
    _check_ab(ab)
    if out is None:
        out = np.empty((*L.shape, 3), code)
    elif out.shape != (*L.shape, 3) or out.dtype != code or not out.flags.c_contiguous or not out.flags.writeable:
        raise ShapeError(f"out is {out.dtype} {out.shape}: expected contiguous {code.__name__} {(*L.shape, 3)}")
    bottom = top + L.shape[0]
    if not 0 <= top <= bottom <= (height := bottom if height is None else height):
        raise ShapeError(f"rows {top} to {bottom} of a picture of {height} rows")
    encode, tolerance = (_encode8_table(), _TOLERANCE8) if code is np.uint8 else (_encode16_table(), _TOLERANCE16)
    _loops.join(
        np.ascontiguousarray(L),
        _fy_table(np.dtype(code).itemsize),
        _planes(ab),
        _taps(ab.shape[0], height, top, bottom),
        _taps(ab.shape[1], L.shape[1]),
        encode,
        tolerance,
        out,
    )
    return out


def chroma_planes(luma: NDArray[np.uint8], ab: Plane) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Find the JFIF chroma that gives the predicted a and b while the luma stays as it is.

    The law of `--jpeg-luma exact`. For each pixel L is solved so that the sRGB color of (L, a, b) has luma Y';
    where that color is out of gamut, a and b shrink together. ab = 0 gives exactly 128, 128.

    Measured on 50 color photographs with their own a and b: these come out within 0.4 Lab units on average (99%
    within 0.9; rounding to bytes alone costs nearly all of that). L moves from that of the gray original by 0.8 on
    average and less than 5 for 99% of pixels: by 0.2 where chroma is under 10, 1.2 at 20 to 40, 3 above 60.

    Args:
        luma: (h, w) uint8, JFIF luma Y' = 0.299 R' + 0.587 G' + 0.114 B' (BT.601, full range), at the size of the
            chroma planes: for 4:2:0 the 2x2 means.
        ab: (h', w', 2) float32 in Lab units, any size, or what `with_guide` gave; upsampled as in `join`.

    Returns:
        Cb, Cr: (h, w) uint8 each.

    Raises:
        ShapeError: a shape or type other than these, or nothing in ab.

    Source: ITU-T T.871 (JFIF) for Y'CbCr.
    """
    if luma.ndim != 2 or luma.dtype != np.uint8:
        raise ShapeError(f"luma is {luma.dtype} {luma.shape}: expected uint8 (h, w)")
    _check_ab(ab)
    cb, cr = np.empty(luma.shape, np.uint8), np.empty(luma.shape, np.uint8)
    _loops.chroma_planes(
        np.ascontiguousarray(luma),
        _planes(ab),
        _taps(ab.shape[0], luma.shape[0]),
        _taps(ab.shape[1], luma.shape[1]),
        _shift_table(),
        _fy_table(1),
        _encode16_table(),
        _TOLERANCE8,
        (cb, cr),
    )
    return cb, cr


def with_guide(ab: Plane, L: Plane) -> Plane:
    """Prepare ab to be enlarged along the edges of the photograph's own lightness, for `join` and `chroma_planes`.

    Around each place of the small ab a line color = slope x lightness + rest is fitted; enlarged, ab follows the
    lightness's detail with that slope. Where color and lightness have nothing to do with each other, or lightness is
    flat, the slope is 0 and what comes out is bilinear. Detail counts up to two local standard deviations of
    lightness, so that ab moves by at most twice its own. docs/performance.md has what it gains and costs.

    Args:
        ab: (h, w, 2) float32 in Lab units.
        L: (h', w') float32 in 0..100, the photograph's small lightness, at any size; averaged to that of ab.

    Returns:
        (h, w, 6) float32, which takes the place of ab.

    Raises:
        ShapeError: a shape or type other than these, or nothing in them.

    Source: He, Sun and Tang 2013, Guided Image Filtering, equations 5 and 6, used for what bilinear enlarging leaves
        out; He and Sun 2015 for slopes at the small size.
    """
    _check_ab(ab)
    if L.ndim != 2 or L.dtype != np.float32 or 0 in L.shape:
        raise ShapeError(f"L is {L.dtype} {L.shape}: expected float32 (h, w)")
    if L.shape != ab.shape[:2]:
        L = resize_area(L, ab.shape[0], ab.shape[1])
    sane = _planes(ab)
    mean = _blurred(L)
    variance: Plane = np.maximum(_blurred(L * L) - mean * mean, np.float32(0)) + _GUIDE_EPSILON
    out = np.empty((*ab.shape[:2], 6), np.float32)
    out[..., :2] = ab[..., :2]
    # In the loops' units: f(Y) = (L + 16) / 116, and as `_planes`.
    out[..., 2] = (L + 16) / 116
    for channel in (0, 1):
        plane = np.ascontiguousarray(sane[..., channel])
        covariance: Plane = _blurred(L * plane) - mean * _blurred(plane)
        out[..., 3 + channel] = _blurred(covariance / variance) * 116
    out[..., 5] = _GUIDE_REACH / 116 * np.sqrt(variance)
    return out


def _blurred(plane: Plane) -> Plane:
    """Average with the neighbors, 1-2-1 in both directions, edges repeated."""
    return cast(Plane, cv2.sepFilter2D(plane, -1, _BINOMIAL, _BINOMIAL, borderType=cv2.BORDER_REPLICATE))


def _check_ab(ab: Any) -> None:
    if ab.ndim != 3 or ab.shape[2] not in (2, 6) or ab.dtype != np.float32 or 0 in ab.shape:
        raise ShapeError(f"ab is {ab.dtype} {ab.shape}: expected float32 (h, w, 2) with h and w at least 1")


def _planes(ab: Plane) -> Plane:
    """Return ab in the loops' units, a / 500 and b / 200; NaN, and what is far from any color, becomes gray."""
    planes: Plane = np.empty(ab.shape, np.float32)
    _loops.scale_ab(np.ascontiguousarray(ab), planes)
    return planes


def _taps(small: int, large: int, start: int = 0, stop: int | None = None) -> tuple[NDArray[np.int64], Plane]:
    """Return, for output positions start..stop of `large`, the two of `small` inputs around each and its weight.

    Returns:
        (2, stop - start) indices, (stop - start,) float32 weight of the second.
    """
    places = np.arange(start, large if stop is None else stop)
    position = np.clip((places + 0.5) * (small / max(large, 1)) - 0.5, 0, small - 1)
    first = position.astype(np.int64)
    return np.stack([first, np.minimum(first + 1, small - 1)]), (position - first).astype(np.float32)


def _levels(size: int) -> NDArray[np.float64]:
    """Give every code of `size` bytes as sRGB in [0, 1]."""
    return np.linspace(0, 1, 256**size)


@lru_cache
def _linear_table(size: int) -> Plane:
    """Linear RGB of every code, as a place in `_root_table`."""
    return (_ROOT_PIECES * srgb_decode(_levels(size))).astype(np.float32)


@lru_cache
def _fy_table(size: int) -> Plane:
    """f(Y) of every gray code."""
    return _root(srgb_decode(_levels(size))).astype(np.float32)


@lru_cache
def _L_table(size: int) -> Plane:
    """L of every gray code."""
    return (116 * _root(srgb_decode(_levels(size))) - 16).astype(np.float32)


def _root(t: NDArray[np.float64]) -> NDArray[np.float64]:
    """f(t) of CIE 15:2004."""
    return cast(NDArray[np.float64], np.where(t > DELTA**3, np.cbrt(t), t / (3 * DELTA**2) + 4 / 29))


@lru_cache
def _root_table() -> Plane:
    """Intercept and slope of f(t) over [0, 1] in pieces, and one piece beyond, so that t = 1 needs no test."""
    ends = _root(np.arange(_ROOT_PIECES + 2) / _ROOT_PIECES)
    slope = np.diff(ends)
    return np.stack([ends[:-1] - slope * np.arange(_ROOT_PIECES + 1), slope], axis=1).astype(np.float32)


@lru_cache
def _encode8_table() -> NDArray[np.uint8]:
    """Nearest 8-bit code of linear RGB over [0, 1]."""
    return np.rint(255 * srgb_encode(np.linspace(0, 1, _ENCODE8_ENTRIES))).astype(np.uint8)


@lru_cache
def _encode16_table() -> Plane:
    """16-bit codes, not rounded, of linear RGB over [0, 1], and one entry beyond, so that 1 needs no test."""
    return (65535 * srgb_encode(np.arange(_ENCODE16_ENTRIES + 1) / (_ENCODE16_ENTRIES - 1))).astype(np.float32)


def warm() -> None:
    """Load compiled loops and fill the table that the first photograph would wait for."""
    _shift_table()


@lru_cache
def _shift_table() -> Plane:
    """f(Y) less that of gray, by luma, a and b; one more of a and b, so that the ends need no test."""
    lumas = np.arange(256.0)
    nodes = np.linspace(-_loops.REACH, _loops.REACH, 2 * _SIDE + 1).astype(np.float32)
    table = np.zeros((len(lumas), len(nodes), len(nodes)), np.float32)
    fy = _root(srgb_decode(lumas / 255)).astype(np.float32)
    _loops.fill_shift_table(lumas.astype(np.float32), nodes, fy, _encode16_table(), table)
    table[:, _SIDE, _SIDE] = 0
    return np.pad(table, ((0, 0), (0, 1), (0, 1)), mode="edge")
