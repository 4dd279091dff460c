"""Gray, toned, color: on drawn pictures of each kind, at both depths, through JPEG."""

import cv2
import numpy as np
import pytest

from raycolor.color.kernels import join, lightness
from raycolor.color.tone import classify_tone, measure
from raycolor.errors import ShapeError

RNG = np.random.default_rng(23)


def gray_picture() -> np.ndarray:
    """A gray picture with big and small shapes and grain, (300, 400) uint8."""
    coarse = cv2.resize(RNG.uniform(0, 255, (6, 8)), (400, 300), interpolation=cv2.INTER_CUBIC)
    fine = cv2.resize(RNG.uniform(-40, 40, (60, 80)), (400, 300))
    return np.clip(coarse + fine + RNG.normal(0, 4, (300, 400)), 0, 255).astype(np.uint8)


GRAY = gray_picture()
L = lightness(GRAY)
X = L / 100
CURVES = {
    "sepia": (10 * X * (1 - X) * 4 + 1, 20 * X * (1 - X) * 4 + 4),
    "selenium": (6 * (1 - X), -4 * (1 - X)),
    "cyanotype": (-4 * X * (1 - X) * 4, -36 * X * (1 - X) * 4),
    "faded": (2 + 2 * X, 8 + 5 * X),
    "split": (4 * X - 2, 12 * X - 7),
}


def jpeg(rgb: np.ndarray, quality: int) -> np.ndarray:
    """The same through JPEG."""
    coded = cv2.imencode(".jpg", rgb[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
    return np.ascontiguousarray(cv2.imdecode(coded, cv2.IMREAD_COLOR)[..., ::-1])


def joined(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """The gray picture with these a and b."""
    return join(np.uint8, L, np.stack(np.broadcast_arrays(a, b, L), axis=-1)[..., :2].astype(np.float32))


def colored() -> np.ndarray:
    """The gray picture with patches of unrelated colors."""
    ab = cv2.resize(np.random.default_rng(4).normal(0, 18, (6, 8, 2)), (400, 300), interpolation=cv2.INTER_NEAREST)
    return joined(ab[..., 0], ab[..., 1])


@pytest.mark.parametrize("quality", [None, 60, 95])
def test_gray(quality):
    """R = G = B is gray, before and after JPEG."""
    rgb = np.repeat(GRAY[..., None], 3, axis=-1)
    assert classify_tone(rgb if quality is None else jpeg(rgb, quality)) == "gray"


def test_gray_with_chroma_noise():
    """Chroma noise that averages out is no color."""
    noise = RNG.normal(0, 3, (*GRAY.shape, 3))
    assert classify_tone(np.clip(GRAY[..., None] + noise, 0, 255).astype(np.uint8)) == "gray"


@pytest.mark.parametrize("quality", [60, 80, 95])
@pytest.mark.parametrize("toning", CURVES)
def test_toned(toning, quality):
    """A single toning, split or not, is toned, through any JPEG."""
    assert classify_tone(jpeg(joined(*CURVES[toning]), quality)) == "toned"


@pytest.mark.parametrize("quality", [60, 95])
def test_color(quality):
    """Colors that lightness does not explain are color."""
    assert classify_tone(jpeg(colored(), quality)) == "color"


def test_color_on_a_sepia_ground():
    """A hand-colored sepia, a fifth of it painted, is color."""
    rgb = joined(*CURVES["sepia"])
    rgb[100:200, 100:340] = colored()[100:200, 100:340]
    assert classify_tone(rgb) == "color"


def test_a_stamp_changes_nothing():
    """A red stamp on one percent of the picture leaves gray gray and sepia toned."""
    gray = np.repeat(GRAY[..., None], 3, axis=-1)
    gray[:30, :40] = (200, 30, 30)
    assert classify_tone(gray) == "gray"
    sepia = joined(*CURVES["sepia"])
    sepia[:30, :40] = (200, 30, 30)
    assert classify_tone(sepia) == "toned"


def test_what_lies_in_patches_counts_more_than_noise():
    """Deviations from the toning of one and the same size are color in patches, and noise where they are scattered."""
    gray = cv2.resize(GRAY, (64, 64), interpolation=cv2.INTER_AREA)
    noise = np.random.default_rng(8).normal(0, 3, (64, 64)).astype(np.float32)
    patches = np.kron(np.random.default_rng(9).normal(0, 3, (8, 8)), np.ones((8, 8))).astype(np.float32)
    scattered, patched = (
        join(np.uint8, lightness(gray), np.stack([4 + rest, 12 + 0 * rest], axis=-1)) for rest in (noise, patches)
    )
    assert abs(measure(scattered).residual - measure(patched).residual) < 1
    assert (classify_tone(scattered), classify_tone(patched)) == ("toned", "color")


@pytest.mark.parametrize(("a", "b"), [(20, -30), (-30, 20)])
def test_a_hue_that_no_toning_has_is_color(a, b):
    """One hue all over is color where it is purple or green and strong."""
    middle = 4 * X * (1 - X)
    assert classify_tone(joined(a * middle, b * middle)) == "color"


def test_16_bits_judge_alike():
    """The same picture at 16 bits has the same traits, within rounding."""
    ab = np.stack(CURVES["sepia"], axis=-1).astype(np.float32)
    eight, sixteen = join(np.uint8, L, ab), join(np.uint16, L, ab)
    np.testing.assert_allclose(measure(sixteen), measure(eight), atol=0.3)
    assert classify_tone(sixteen) == "toned"


@pytest.mark.parametrize("shape", [(1, 1, 3), (1, 5000, 3), (3000, 2, 3), (2, 3, 3)])
def test_odd_sizes(shape):
    """One pixel and long strips are judged like anything else."""
    assert classify_tone(np.full(shape, 90, np.uint8)) == "gray"
    assert classify_tone(np.full(shape, (112, 66, 20), np.uint8)) == "toned"


@pytest.mark.parametrize(
    "rgb",
    [np.zeros((4, 4), np.uint8), np.zeros((4, 4, 4), np.uint8), np.zeros((4, 4, 3)), np.zeros((0, 4, 3), np.uint8)],
)
def test_refusals(rgb):
    """Another shape or type, and no pixels, are refused."""
    with pytest.raises(ShapeError, match="expected uint8 or uint16"):
        classify_tone(rgb)
