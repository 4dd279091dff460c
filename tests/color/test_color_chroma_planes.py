"""JFIF chroma at constant luma: exact gray, a and b as asked, gamut, compiled without a cache folder."""

import os
import subprocess
import sys
from functools import partial
from pathlib import Path

import numpy as np

from raycolor.color import _loops, arrays, kernels

RNG = np.random.default_rng(17)
LUMA = np.array([0.299, 0.587, 0.114])


def decoded(luma: np.ndarray, cb: np.ndarray, cr: np.ndarray) -> np.ndarray:
    """JFIF to RGB in [0, 1], not clipped (ITU-T T.871)."""
    y, u, v = luma.astype(float), cb - 128.0, cr - 128.0
    return np.stack([y + 1.402 * v, y - 0.344136 * u - 0.714136 * v, y + 1.772 * u], axis=-1) / 255


def solved(luma: np.ndarray, ab: np.ndarray) -> np.ndarray:
    """L at which in-gamut (L, a, b) has this luma, by halving in float64."""
    low, high = np.zeros(luma.shape), np.full(luma.shape, 100.0)
    for _ in range(50):
        L = (low + high) / 2
        rgb = arrays.srgb_encode(arrays.lab_to_linear(np.concatenate([L[..., None], ab], axis=-1)))
        bright = rgb @ LUMA * 255 > luma
        low, high = np.where(bright, low, L), np.where(bright, L, high)
    return L


def test_the_polynomial_of_srgb_is_sharp():
    """Codes from the polynomial lie within 0.003 of sRGB's curve, both sides of its knee and at both ends."""
    linear = np.unique(np.concatenate([np.linspace(0, 1, 20001), np.linspace(0, 0.01, 5001)])).astype(np.float32)
    found = np.array([_loops._encode255(value) for value in linear])
    assert np.abs(found - 255 * arrays.srgb_encode(linear.astype(float))).max() < 0.003


def test_no_color_is_exactly_128():
    """ab = 0 gives Cb = Cr = 128 at every luma."""
    luma = np.arange(256, dtype=np.uint8).reshape(16, 16)
    cb, cr = kernels.chroma_planes(luma, np.zeros((3, 5, 2), np.float32))
    assert (cb == 128).all()
    assert (cr == 128).all()


def test_a_and_b_come_out_as_asked():
    """For in-gamut colors the planes are the exact ones within one code (99.5%), and a and b come out."""
    luma = RNG.integers(20, 236, (120, 120)).astype(np.uint8)
    ab = RNG.uniform(-25, 25, (120, 120, 2)).astype(np.float32)
    lab = np.concatenate([solved(luma, ab)[..., None], ab], axis=-1)
    rgb = arrays.srgb_encode(arrays.lab_to_linear(lab))
    inside = arrays.in_gamut(lab) & (np.abs(rgb @ LUMA * 255 - luma) < 1e-3)
    assert inside.mean() > 0.8
    cb, cr = kernels.chroma_planes(luma, ab)
    blue = np.abs(cb.astype(float) - 128 - (rgb[..., 2] * 255 - luma) / 1.772)[inside]
    red = np.abs(cr.astype(float) - 128 - (rgb[..., 0] * 255 - luma) / 1.402)[inside]
    for off in (blue, red):  # 0.5 is rounding; the rest is the table, worst where red is nearly 0
        assert np.quantile(off, 0.995) < 1
        assert off.max() < 4
    error = np.linalg.norm(arrays.rgb_to_lab(decoded(luma, cb, cr).clip(0, 1))[..., 1:] - ab, axis=-1)[inside]
    assert np.median(error) < 0.5
    assert np.quantile(error, 0.99) < 1.5


def test_out_of_gamut_colors_shrink_along_their_hue():
    """Whatever is asked for, decoding clips by no more than rounding does, and hue stays."""
    luma = RNG.integers(30, 226, (100, 100)).astype(np.uint8)
    ab = RNG.uniform(-128, 128, (100, 100, 2)).astype(np.float32)
    cb, cr = kernels.chroma_planes(luma, ab)
    rgb = decoded(luma, cb, cr)
    assert max(-rgb.min(), rgb.max() - 1) * 255 < 1  # half a code of chroma, times 1.772
    out = arrays.rgb_to_lab(rgb.clip(0, 1))[..., 1:]
    crossed = (out[..., 0] * ab[..., 1] - out[..., 1] * ab[..., 0]) / np.hypot(ab[..., 0], ab[..., 1])
    assert np.quantile(np.abs(crossed), 0.99) < 2.5
    assert (out * ab).sum(axis=-1).min() > -2 * 181  # nothing turns to its complement, rounding aside


def test_a_color_becomes_the_same_whatever_lies_beside_it():
    """Colors are lowered to the gamut many at a time; each comes out as it does alone."""
    gray = RNG.integers(0, 256, (1, 300)).astype(np.uint8)
    ab = RNG.normal(0, 60, (1, 300, 2)).astype(np.float32)
    for call in (partial(kernels.join, np.uint8), lambda *one: np.stack(kernels.chroma_planes(*one), axis=-1)):
        alone = [call(gray[:, i : i + 1], ab[:, i : i + 1]) for i in range(gray.shape[1])]
        assert np.array_equal(call(gray, ab), np.concatenate(alone, axis=1))


def test_black_and_white_stay():
    """At luma 0 and 255 no chroma fits."""
    luma = np.array([[0, 255]], np.uint8)
    cb, cr = kernels.chroma_planes(luma, np.full((1, 1, 2), 40, np.float32))
    assert cb.tolist() == [[128, 128]]
    assert cr.tolist() == [[128, 128]]


def test_upsampling_is_that_of_the_join():
    """Planes from small ab equal those from ab upsampled before."""
    import cv2

    ab = RNG.uniform(-20, 20, (4, 5, 2)).astype(np.float32)
    luma = np.full((20, 31), 120, np.uint8)
    full = np.ascontiguousarray(cv2.resize(ab, (31, 20), interpolation=cv2.INTER_LINEAR))
    for small, large in zip(kernels.chroma_planes(luma, ab), kernels.chroma_planes(luma, full), strict=True):
        assert np.abs(small.astype(int) - large).max() <= 1


def test_compiles_without_a_writable_cache(tmp_path):
    """Where numba finds no folder to write to, the kernels are compiled in memory instead."""
    script = (
        "from numba.core import caching\n"
        "caching.CacheImpl._locator_classes = []\n"  # what an unwritable site-packages and home come down to
        "import numpy as np\n"
        "from raycolor.color import _loops, kernels\n"
        "assert type(_loops.look_up._cache).__name__ == 'NullCache'\n"
        "gray = np.arange(256, dtype=np.uint8)[None]\n"
        "assert kernels.lightness(gray)[0, 255] == 100\n"
    )
    root = Path(__file__).resolve().parents[2]
    environment = {**os.environ, "PYTHONPATH": str(root)}
    done = subprocess.run([sys.executable, "-c", script], env=environment, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
