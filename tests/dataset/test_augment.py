"""Laws of varying training photographs."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from raycolor.color.arrays import rgb_to_lab
from raycolor.color.scale import L_to_net, ab_to_net
from raycolor.dataset import augment, loading
from raycolor.dataset.augment import crop_window, vary
from raycolor.dataset.config import AugmentConfig

ALL = AugmentConfig(zoom=0.5, film=1.0, aging=1.0)


def photograph(seed: int = 0, gray: bool = False) -> tuple[np.ndarray, np.ndarray]:
    rgb = np.random.default_rng(seed).random((24, 24, 1 if gray else 3)) * np.ones(3)
    lab = rgb_to_lab(rgb)
    planes = np.ascontiguousarray(np.moveaxis(lab, -1, 0)).astype(np.float32)
    return L_to_net(planes[0]), ab_to_net(planes[1:])


@pytest.mark.parametrize("seed", range(40))
def test_lightness_stays_lightness(seed):
    """Whatever happens, values are finite and in [-1, 1], and color is not touched."""
    L_net, ab_net = photograph(seed)
    before = ab_net.copy()
    vary(ALL, np.random.default_rng(seed), L_net, ab_net)
    assert np.isfinite(L_net).all()
    assert L_net.min() >= -1
    assert L_net.max() <= 1
    assert np.array_equal(ab_net, before)


class Stored:
    """A split of one photograph of 40 x 40 pixels."""

    def __init__(self, L, ab):
        self.L, self.ab = L, ab

    def planes(self, index):
        return self.L, self.ab


def is_lightness(L_net):
    return np.isfinite(L_net).all() and L_net.min() >= -1 and L_net.max() <= 1


def stored_planes():
    """Black, white, every constant, and what has both ends side by side."""
    noise = np.random.default_rng(0).integers(0, 256, (40, 40), dtype=np.uint8)
    extremes = np.where(noise > 127, 255, 0).astype(np.uint8)
    constants = st.one_of(st.sampled_from([0, 255]), st.integers(0, 255))
    flat = constants.map(lambda level: np.full((40, 40), level, dtype=np.uint8))
    return st.one_of(flat, st.sampled_from([noise, extremes, np.sort(noise, axis=None).reshape(40, 40)]))


@settings(max_examples=300, deadline=None)
@given(
    L=stored_planes(),
    chroma=st.integers(-128, 127),
    side=st.integers(8, 40),
    crop_px=st.sampled_from([8, 17, 32, 40]),
    seed=st.integers(0, 2**32 - 1),
)
@example(L=np.zeros((40, 40), dtype=np.uint8), chroma=0, side=40, crop_px=17, seed=0)
@example(L=np.full((40, 40), 255, dtype=np.uint8), chroma=127, side=37, crop_px=32, seed=0)
def test_lightness_stays_lightness_after_every_step(L, chroma, side, crop_px, seed):
    """Cut out of any plane at any side, seen by any film, and aged by any step: finite, and in [-1, 1] each time."""
    split = Stored(L, np.full((2, 40, 40), chroma, dtype=np.int8))
    rng = np.random.default_rng(seed)
    top, left = rng.integers(0, 40 - side + 1, 2)
    cut, ab_net = np.empty((1, crop_px, crop_px), np.float32), np.empty((2, crop_px, crop_px), np.float32)
    loading._cut(split.planes(0), (int(top), int(left), side), bool(seed % 2), cut, ab_net)
    assert is_lightness(cut), "cut out"
    for name, varied in (("film", AugmentConfig(film=1.0)), ("aging", AugmentConfig(aging=1.0)), ("both", ALL)):
        L_net = cut[0].copy()
        vary(varied, rng, L_net, ab_net)
        assert is_lightness(L_net), name
    for _, step in augment.AGING:
        L_net = cut[0].copy()
        aged(step, rng, L_net)
        assert is_lightness(L_net), step.__name__


def aged(step, rng, L_net):
    """Age by one step alone, as `vary` does."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(augment, "AGING", ((1.0, step),))
        vary(AugmentConfig(aging=1.0), rng, L_net, np.zeros((2, *L_net.shape), np.float32))


def test_the_same_numbers_give_the_same_photograph():
    """A generator's seed decides everything."""
    results = []
    for _ in range(2):
        L_net, ab_net = photograph()
        vary(ALL, np.random.default_rng([1, 2, 3]), L_net, ab_net)
        results.append(L_net)
    assert np.array_equal(*results)


def test_nothing_asked_nothing_changed():
    """Without film and aging, lightness is what it was."""
    L_net, ab_net = photograph()
    before = L_net.copy()
    vary(AugmentConfig(), np.random.default_rng(0), L_net, ab_net)
    assert np.array_equal(L_net, before)
    assert not AugmentConfig().is_on


@pytest.mark.parametrize("seed", range(8))
def test_another_film_sees_grays_alike(seed):
    """Any mix of equal channels is that gray; colors get another lightness."""
    film = AugmentConfig(film=1.0)
    L_net, ab_net = photograph(gray=True)
    before = L_net.copy()
    vary(film, np.random.default_rng(seed), L_net, ab_net)
    assert np.abs(L_net - before).max() < 2e-3
    L_net, ab_net = photograph()
    before = L_net.copy()
    vary(film, np.random.default_rng(seed), L_net, ab_net)
    assert np.abs(L_net - before).max() > 0.02


def test_windows_lie_within_the_photograph():
    """Every side from the smallest to the whole comes up, and none reaches beyond an edge."""
    rng = np.random.default_rng(0)
    windows = [crop_window(AugmentConfig(zoom=0.5), rng, 64, 48) for _ in range(2000)]
    assert {side for _, _, side in windows} == set(range(24, 65))
    assert all(top >= 0 and left >= 0 and max(top, left) + side <= 64 for top, left, side in windows)


def test_without_zoom_crops_keep_their_size():
    """Only the place of a crop is drawn."""
    rng = np.random.default_rng(0)
    assert {crop_window(AugmentConfig(film=1.0), rng, 64, 48)[2] for _ in range(100)} == {48}
