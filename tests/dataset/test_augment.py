"""Laws of varying training photographs."""

from __future__ import annotations

import numpy as np
import pytest

from raycolor.color.arrays import rgb_to_lab
from raycolor.color.scale import L_to_net, ab_to_net
from raycolor.dataset.augment import Augment, crop_window, vary

ALL = Augment(zoom=0.5, film=1.0, aging=1.0)


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
    vary(Augment(), np.random.default_rng(0), L_net, ab_net)
    assert np.array_equal(L_net, before)
    assert not Augment().is_on


@pytest.mark.parametrize("seed", range(8))
def test_another_film_sees_grays_alike(seed):
    """Any mix of equal channels is that gray; colors get another lightness."""
    film = Augment(film=1.0)
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
    windows = [crop_window(Augment(zoom=0.5), rng, 64, 48) for _ in range(2000)]
    assert {side for _, _, side in windows} == set(range(24, 65))
    assert all(top >= 0 and left >= 0 and max(top, left) + side <= 64 for top, left, side in windows)


def test_without_zoom_crops_keep_their_size():
    """Only the place of a crop is drawn."""
    rng = np.random.default_rng(0)
    assert {crop_window(Augment(film=1.0), rng, 64, 48)[2] for _ in range(100)} == {48}
