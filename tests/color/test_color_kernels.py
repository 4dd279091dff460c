"""Compiled conversion and join: against the float64 reference, OpenCV and torch, and exact laws."""

import cv2
import numpy as np
import pytest
import torch
from fitting import fit_chroma
from skimage.color import rgb2lab

from raycolor.color import arrays, kernels
from raycolor.errors import ShapeError

RNG = np.random.default_rng(11)
NO_AB = np.zeros((2, 3, 2), np.float32)


def plane_of(red: int, step: int = 1) -> np.ndarray:
    """All greens and every `step`-th blue of one red, (256, n, 3) uint8."""
    blue = np.unique(np.r_[0:256:step, 255])
    plane = np.empty((256, len(blue), 3), np.uint8)
    plane[..., 0], plane[..., 1], plane[..., 2] = red, np.arange(256)[:, None], blue
    return plane


def check_plane(rgb: np.ndarray) -> None:
    """Assert that 8-bit colors convert within 0.01 of scikit-image, within 0.003 of ours, and come back unchanged."""
    L, a, b = kernels.pixels_to_lab(rgb)
    lab = np.stack([L, a, b], axis=-1)
    assert np.linalg.norm(lab - rgb2lab(rgb), axis=-1).max() < 0.01
    assert np.linalg.norm(lab - arrays.rgb_to_lab(rgb / 255), axis=-1).max() < 0.003
    np.testing.assert_array_equal(kernels.join(np.uint8, L, np.ascontiguousarray(lab[..., 1:])), rgb)


def smooth_ab(height: int, width: int, spread: float, seed: int = 0) -> np.ndarray:
    """Random ab, (height, width, 2) float32."""
    return (np.random.default_rng(seed).standard_normal((height, width, 2)) * spread).astype(np.float32)


@pytest.mark.parametrize("red", [0, 1, 10, 11, 64, 127, 200, 254, 255])
def test_dense_sample_of_8_bit_colors(red):
    """On a sample of planes through the cube: near scikit-image, near the reference, and every color comes back."""
    check_plane(plane_of(red, 5))


@pytest.mark.slow
def test_every_8_bit_color():
    """The same for all 2^24 colors."""
    for red in range(256):
        check_plane(plane_of(red))


def test_16_bit_colors():
    """16-bit colors convert within 0.003 of the reference and come back within one code of 65535."""
    rgb = RNG.integers(0, 65536, (80, 90, 3), dtype=np.uint16)
    rgb[:20] //= 400  # near black, where codes are close
    L, a, b = kernels.pixels_to_lab(rgb)
    lab = np.stack([L, a, b], axis=-1)
    assert np.linalg.norm(lab - arrays.rgb_to_lab(rgb / 65535), axis=-1).max() < 0.003
    back = kernels.join(np.uint16, L, np.ascontiguousarray(lab[..., 1:]))
    codes_of_table = 24  # 0.003 delta E near black, where a code is smallest
    assert np.abs(back.astype(int) - rgb).max() <= codes_of_table


def test_lightness_alone_is_the_same_lightness():
    """L alone equals L of the three planes; a gray plane gives L of R = G = B to rounding."""
    rgb8, rgb16 = RNG.integers(0, 256, (9, 7, 3), dtype=np.uint8), RNG.integers(0, 65536, (9, 7, 3), dtype=np.uint16)
    np.testing.assert_allclose(kernels.lightness(rgb8), kernels.pixels_to_lab(rgb8)[0], atol=1e-5)
    np.testing.assert_allclose(kernels.lightness(rgb16), kernels.pixels_to_lab(rgb16)[0], atol=1e-5)
    gray8 = np.arange(256, dtype=np.uint8).reshape(16, 16)
    gray16 = np.arange(65536, dtype=np.uint16).reshape(256, 256)
    expected = arrays.rgb_to_lab(np.repeat(gray16[..., None] / 65535, 3, axis=-1))[..., 0]
    np.testing.assert_allclose(kernels.lightness(gray16), expected, atol=1e-5)
    np.testing.assert_allclose(kernels.lightness(gray8), kernels.lightness(gray8.astype(np.uint16) * 257), atol=1e-5)


def test_every_8_bit_gray_without_color_stays():
    """8-bit join of gray codes, or of their L, with ab = 0 gives R = G = B = gray exactly."""
    gray = np.arange(256, dtype=np.uint8).reshape(16, 16)
    expected = np.repeat(gray[..., None], 3, axis=-1)
    np.testing.assert_array_equal(kernels.join(np.uint8, gray, NO_AB), expected)
    np.testing.assert_array_equal(kernels.join(np.uint8, kernels.lightness(gray), NO_AB), expected)


def test_every_16_bit_gray_without_color_stays():
    """16-bit join of gray codes, or of their L, with ab = 0 gives R = G = B = gray exactly: 65,536 levels."""
    gray = np.arange(65536, dtype=np.uint16).reshape(256, 256)
    expected = np.repeat(gray[..., None], 3, axis=-1)
    np.testing.assert_array_equal(kernels.join(np.uint16, gray, NO_AB), expected)
    np.testing.assert_array_equal(kernels.join(np.uint16, kernels.lightness(gray), NO_AB), expected)


@pytest.mark.parametrize(("small", "large"), [((7, 9), (40, 61)), ((1, 1), (5, 4)), ((4, 6), (8, 6)), ((6, 5), (6, 5))])
def test_upsampling_equals_opencv_and_torch(small, large):
    """ab is upsampled as cv2.resize INTER_LINEAR and torch interpolate(align_corners=False) do."""
    ab = smooth_ab(*small, 3.0)
    L = np.full(large, 50, np.float32)
    by_opencv = cv2.resize(ab, large[::-1], interpolation=cv2.INTER_LINEAR)
    planes = torch.from_numpy(ab).permute(2, 0, 1)[None]
    by_torch = torch.nn.functional.interpolate(planes, large, mode="bilinear", align_corners=False)[0].permute(1, 2, 0)
    result = kernels.join(np.uint16, L, ab).astype(int)
    for full in (by_opencv, by_torch.numpy()):
        assert np.abs(result - kernels.join(np.uint16, L, np.ascontiguousarray(full))).max() <= 2  # float32 weights


def test_join_equals_the_reference():
    """The fused pass gives what the float64 reference gives after fitting: 16 bits within 20 codes, 8 bits within 1."""
    L = RNG.uniform(2, 98, (90, 70)).astype(np.float32)
    ab = RNG.uniform(-110, 110, (90, 70, 2)).astype(np.float32)
    fitted = fit_chroma(np.concatenate([L[..., None], ab], axis=-1))
    rgb = arrays.srgb_encode(arrays.lab_to_linear(fitted))
    assert not arrays.in_gamut(np.concatenate([L[..., None], ab], axis=-1)).all()
    assert np.abs(kernels.join(np.uint16, L, ab) - rgb * 65535).max() < 20
    assert np.abs(kernels.join(np.uint8, L, ab) - rgb * 255).max() < 1


def test_join_keeps_lightness_and_hue():
    """In and out of gamut, L of the 16-bit output is the input's within 0.002 and ab stays on its ray within 0.02."""
    L = RNG.uniform(0, 100, (120, 80)).astype(np.float32)
    ab = RNG.uniform(-110, 110, (120, 80, 2)).astype(np.float32)
    lab = arrays.rgb_to_lab(kernels.join(np.uint16, L, ab) / 65535)
    assert np.abs(lab[..., 0] - L).max() < 0.002
    crossed = (lab[..., 1] * ab[..., 1] - lab[..., 2] * ab[..., 0]) / np.hypot(ab[..., 0], ab[..., 1])
    assert np.abs(crossed).max() < 0.02
    assert (lab[..., 1] * ab[..., 0] + lab[..., 2] * ab[..., 1]).min() > -1


def test_gray_codes_and_their_lightness_join_alike():
    """A gray plane and its float L give the same picture, for 8 and 16 bits."""
    ab = smooth_ab(5, 6, 20)
    gray8 = RNG.integers(0, 256, (30, 40), dtype=np.uint8)
    gray16 = RNG.integers(0, 65536, (30, 40), dtype=np.uint16)
    np.testing.assert_array_equal(
        kernels.join(np.uint8, gray8, ab), kernels.join(np.uint8, kernels.lightness(gray8), ab)
    )
    difference = kernels.join(np.uint16, gray16, ab).astype(int) - kernels.join(
        np.uint16, kernels.lightness(gray16), ab
    )
    assert np.abs(difference).max() <= 2  # float32


def test_join_writes_into_out():
    """`out` is filled and returned; parts of arrays (views) are taken as input."""
    gray = RNG.integers(0, 256, (20, 30), dtype=np.uint8)[::2, ::-1]
    out = np.zeros((10, 30, 3), np.uint8)
    assert kernels.join(np.uint8, gray, smooth_ab(3, 3, 5)[:, ::-1], out=out) is out
    np.testing.assert_array_equal(out, kernels.join(np.uint8, gray.copy(), smooth_ab(3, 3, 5)[:, ::-1].copy()))


@pytest.mark.parametrize("wild", [np.nan, np.inf, -np.inf, 1e30])
def test_broken_predictions_become_gray(wild):
    """ab that is no number, infinite or absurd gives gray there: nothing is read past a table's end."""
    ab = np.full((2, 2, 2), wild, np.float32)
    gray = RNG.integers(0, 256, (6, 6), dtype=np.uint8)
    np.testing.assert_array_equal(kernels.join(np.uint8, gray, ab), np.repeat(gray[..., None], 3, axis=-1))
    assert all((plane == 128).all() for plane in kernels.chroma_planes(gray, ab))


@pytest.mark.parametrize("L", [-50.0, 130.0, np.nan])
def test_lightness_out_of_range_is_clipped(L):
    """L outside 0..100 gives black or white, and no crash."""
    rgb = kernels.join(np.uint8, np.full((2, 2), L, np.float32), smooth_ab(2, 2, 10))
    assert (rgb == (255 if L > 100 else 0)).all()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: kernels.pixels_to_lab(np.zeros((4, 4), np.uint8)), r"uint8 \(4, 4\)"),
        (lambda: kernels.pixels_to_lab(np.zeros((4, 4, 3), np.int16)), "rgb is int16"),
        (lambda: kernels.lightness(np.zeros((4, 4, 4), np.uint8)), r"\(4, 4, 4\)"),
        (lambda: kernels.lightness(np.zeros((4, 4, 3), np.float32)), "float32"),
        (lambda: kernels.lightness(np.zeros((4, 4, 1), np.uint8)), r"\(4, 4, 1\)"),
        (lambda: kernels.lightness(np.zeros((4, 4), np.float64)), "float64"),
        (lambda: kernels.join(np.uint8, np.zeros((4, 4), np.uint16), NO_AB), "uint16"),
        (lambda: kernels.join(np.uint16, np.zeros((4, 4), np.uint8), NO_AB), "uint8"),
        (lambda: kernels.join(np.uint8, np.zeros((4, 4), np.float64), NO_AB), "float64"),
        (lambda: kernels.join(np.uint8, np.zeros((4, 4), np.uint8), NO_AB[..., 0]), r"ab is float32 \(2, 3\)"),
        (lambda: kernels.join(np.uint8, np.zeros((4, 4), np.uint8), NO_AB.astype(float)), "ab is float64"),
        (lambda: kernels.join(np.uint8, np.zeros((4, 4), np.uint8), NO_AB[:0]), "at least 1"),
        (lambda: kernels.join(np.uint8, np.zeros((4, 4), np.uint8), NO_AB, np.zeros((4, 5, 3), np.uint8)), "out is"),
        (
            lambda: kernels.join(np.uint8, np.zeros((4, 4), np.uint8), NO_AB, np.zeros((4, 4, 3), np.uint16)),
            "out is uint16",
        ),
        (
            lambda: kernels.join(np.uint8, np.zeros((4, 4), np.uint8), NO_AB, np.zeros((3, 4, 4), np.uint8).T),
            "contiguous",
        ),
        (lambda: kernels.chroma_planes(np.zeros((4, 4), np.uint16), NO_AB), "luma is uint16"),
        (lambda: kernels.chroma_planes(np.zeros((4, 4), np.uint8), NO_AB[0]), "ab is"),
    ],
)
def test_refusals(call, message):
    """Another shape or type is refused by name, shape and type."""
    with pytest.raises(ShapeError, match=message):
        call()


def test_empty_pictures_give_empty_pictures():
    """A picture without pixels is converted to one without pixels."""
    assert kernels.pixels_to_lab(np.zeros((0, 5, 3), np.uint8))[0].shape == (0, 5)
    assert kernels.join(np.uint8, np.zeros((5, 0), np.uint8), NO_AB).shape == (5, 0, 3)


def edge_of(height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """A vertical edge in lightness and color at the same place: L (height, width), ab (height, width, 2)."""
    right = (np.arange(width) >= width // 2)[None, :].repeat(height, axis=0)
    L = np.where(right, np.float32(70), np.float32(40)).astype(np.float32)
    ab = np.where(right[..., None], np.float32([20, 30]), np.float32([-10, -20])).astype(np.float32)
    return L, ab


def small(planes: np.ndarray, factor: int) -> np.ndarray:
    """The planes averaged over factor x factor."""
    height, width = planes.shape[0] // factor, planes.shape[1] // factor
    return planes.reshape(height, factor, width, factor, -1).mean(axis=(1, 3)).squeeze().astype(np.float32)


def test_guided_enlarging_keeps_color_within_its_edges():
    """Where an edge of color is one of lightness, it stays sharp: the error beside it is under half of bilinear's."""
    L, ab = edge_of(90, 140)
    low = small(ab, 10)
    guided, bilinear = (
        np.stack(kernels.pixels_to_lab(kernels.join(np.uint8, L, planes))[1:], axis=-1)
        for planes in (kernels.with_guide(low, small(L, 10)), low)
    )
    beside = np.s_[:, 62:78]
    errors = [np.abs(planes - ab)[beside].mean() for planes in (guided, bilinear)]
    assert errors[0] < errors[1] / 2


@pytest.mark.parametrize("flat", ["L", "ab"])
def test_without_an_edge_guided_is_bilinear(flat):
    """Where lightness, or color, is the same all over, there is nothing to be guided by."""
    L, ab = np.full((40, 60), 50, np.float32), smooth_ab(5, 6, 20)
    low = np.full((5, 6), 50, np.float32)
    if flat == "ab":
        L, ab = RNG.uniform(20, 80, (40, 60)).astype(np.float32), np.full((5, 6, 2), 9, np.float32)
        low = RNG.uniform(20, 80, (5, 6)).astype(np.float32)
    one_code = np.abs(
        kernels.join(np.uint8, L, kernels.with_guide(ab, low)).astype(int) - kernels.join(np.uint8, L, ab)
    ).max()
    assert one_code <= 1


def test_detail_moves_color_by_at_most_twice_its_local_deviation():
    """A dark line across a gentle slope of lightness and color moves color a little; unbounded, it would by 40."""
    slope = np.linspace(50, 70, 8, dtype=np.float32)[None].repeat(6, axis=0)
    ab = np.stack([slope - 60, 60 - slope], axis=-1) * 2
    dark = np.full((6, 8), 20, np.float32)
    guided, bilinear = (
        np.stack(kernels.pixels_to_lab(kernels.join(np.uint16, dark, planes))[1:], axis=-1)
        for planes in (kernels.with_guide(ab, slope), ab)
    )
    moved = np.abs(guided - bilinear)[:, 2:6]
    deviation = (40 / 7) / np.sqrt(2)  # of 1-2-1 weighted neighbors
    assert moved.max() < 2 * deviation
    assert moved.min() > deviation


@pytest.mark.parametrize("code", [np.uint8, np.uint16])
def test_guided_gray_stays_gray(code):
    """No color in, none out, whatever the edges: R = G = B = gray to the last bit."""
    gray = RNG.integers(0, 256, (50, 70)).astype(code)
    low = RNG.uniform(0, 100, (7, 9)).astype(np.float32)
    rgb = kernels.join(code, gray, kernels.with_guide(np.zeros((5, 6, 2), np.float32), low))
    np.testing.assert_array_equal(rgb, gray[..., None].repeat(3, axis=-1))


def test_guided_chroma_planes_keep_color_within_its_edges():
    """The exact JPEG's chroma follows the edges of its luma likewise."""
    L, ab = edge_of(90, 140)
    gray = kernels.join(np.uint8, L, NO_AB)[..., 0]
    low, guide = small(ab, 10), small(L, 10)
    sharp = kernels.chroma_planes(gray, ab)
    errors = [
        np.abs(np.stack(kernels.chroma_planes(gray, planes)).astype(int) - sharp)[:, :, 62:78].mean()
        for planes in (kernels.with_guide(low, guide), low)
    ]
    assert errors[0] < errors[1] / 2


@pytest.mark.parametrize("wild", [np.nan, np.inf, 1e30])
def test_wild_color_beside_a_guide_spoils_no_neighbor(wild):
    """What is no color becomes gray, and the slopes around it stay finite."""
    ab = smooth_ab(5, 6, 10)
    ab[2, 3] = wild
    planes = kernels.with_guide(ab, RNG.uniform(20, 80, (5, 6)).astype(np.float32))
    assert np.isfinite(planes[..., 2:]).all()
    assert kernels.join(np.uint8, np.full((5, 6), 50, np.float32), planes).std() > 0


@pytest.mark.parametrize("L", [np.zeros((3, 3)), np.zeros((0, 3), np.float32), np.zeros((3, 3, 1), np.float32)])
def test_with_guide_refuses(L):
    """Another type or shape of lightness, and none at all, are refused."""
    with pytest.raises(ShapeError, match="expected float32"):
        kernels.with_guide(NO_AB, L)
