"""ab bins: count, encoding, weights, annealed mean."""

import numpy as np
import pytest
import torch

from raycolor.color.bins import ab_bins, annealed_mean, count_bins, nearest_bin, rebalancing_weights, soft_encode
from raycolor.errors import ShapeError

BINS = ab_bins()
AB = torch.rand(2, 2, 6, 5, generator=torch.Generator().manual_seed(1)) * 100 - 50


def test_261_bins():
    """Spacing 10, nearest center, every 8-bit sRGB color: 261 distinct multiples of 10, gray among them."""
    assert BINS.shape == (261, 2)
    assert len({tuple(center) for center in BINS.tolist()}) == 261
    assert (BINS % 10 == 0).all()
    assert [0.0, 0.0] in BINS.tolist()
    assert BINS.min(dim=0).values.tolist() == [-90, -110]
    assert BINS.max(dim=0).values.tolist() == [100, 90]


def test_wider_spacing_gives_fewer_bins():
    """At spacing 20 every center is a multiple of 20 and there are fewer."""
    wide = ab_bins(20)
    assert (wide % 20 == 0).all()
    assert 50 < len(wide) < 100


def test_centers_are_their_own_bins():
    """Encoding a center finds that center, and the annealed mean of its one-hot code gives it back."""
    ab = BINS.T.reshape(1, 2, 1, -1)
    index = nearest_bin(ab, BINS)
    assert index.reshape(-1).tolist() == list(range(261))
    logits = 100.0 * torch.nn.functional.one_hot(index, 261).permute(0, 3, 1, 2).float()
    np.testing.assert_allclose(annealed_mean(logits, BINS), ab, atol=1e-3)


def test_soft_codes():
    """Codes sum to 1, use five bins, weigh the nearest most, and follow the Gaussian."""
    codes = soft_encode(AB, BINS)
    assert codes.shape == (2, 261, 6, 5)
    np.testing.assert_allclose(codes.sum(dim=1), 1, rtol=1e-5)
    assert ((codes > 0).sum(dim=1) == 5).all()
    assert torch.equal(codes.argmax(dim=1), nearest_bin(AB, BINS))
    pixel, code = AB[1, :, 2, 3], codes[1, :, 2, 3]
    used = code.nonzero().reshape(-1)
    by_hand = torch.exp(-((BINS[used] - pixel) ** 2).sum(dim=1) / 50)
    np.testing.assert_allclose(code[used], by_hand / by_hand.sum(), rtol=1e-5)


def test_far_colors_still_have_a_code():
    """A color far outside every bin goes to the nearest ones instead of dividing zero by zero."""
    codes = soft_encode(torch.full((1, 2, 1, 1), 400.0), BINS)
    assert codes.sum() == pytest.approx(1)


def test_annealed_mean_runs_from_mean_to_mode():
    """Temperature 1 gives the mean of the centers, towards 0 the most likely center, 0.38 between them."""
    logits = torch.full((1, 261, 1, 1), -50.0)
    logits[0, 10], logits[0, 200] = 1.0, 0.0
    share = torch.sigmoid(torch.tensor(1.0))
    mean = share * BINS[10] + (1 - share) * BINS[200]
    np.testing.assert_allclose(annealed_mean(logits, BINS, 1.0).reshape(2), mean, atol=1e-3, rtol=1e-4)
    np.testing.assert_allclose(annealed_mean(logits, BINS, 0.01).reshape(2), BINS[10], atol=1e-4)
    between = annealed_mean(logits, BINS).reshape(2)
    assert (between - BINS[10]).norm() < (mean - BINS[10]).norm()


def test_weights():
    """Weights average 1 under the counts, rare bins weigh most, and mix = 1 makes them all 1."""
    counts = count_bins(AB, BINS) + 1
    counts[7] = 1000
    weights = rebalancing_weights(counts, BINS, sigma=0)
    prior = counts / counts.sum()
    assert (prior * weights).sum().item() == pytest.approx(1, rel=1e-5)
    assert weights.argmin() == 7
    by_hand = 1 / (0.5 * prior + 0.5 / 261)
    np.testing.assert_allclose(weights.double() / weights[0], by_hand / by_hand[0], rtol=1e-5, atol=0)
    np.testing.assert_allclose(rebalancing_weights(counts, BINS, mix=1.0), 1, rtol=1e-6)


def test_smoothing_lends_counts_to_neighbors():
    """With sigma, a bin next to a common one weighs less than a far empty one."""
    counts = torch.zeros(261, dtype=torch.float64)
    middle = BINS.tolist().index([0.0, 0.0])
    counts[middle] = 100
    weights = rebalancing_weights(counts, BINS)
    assert weights[middle] < weights[BINS.tolist().index([10.0, 0.0])] < weights[0]


def test_counts_add_up():
    """Counting gives every pixel to one bin."""
    assert count_bins(AB, BINS).sum() == 60


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: ab_bins(0), "spacing = 0"),
        (lambda: ab_bins(65), "spacing = 65"),
        (lambda: nearest_bin(AB[0], BINS), r"\(B, 2, H, W\)"),
        (lambda: soft_encode(AB, BINS.T), r"\(Q, 2\)"),
        (lambda: soft_encode(AB, BINS, neighbors=0), "neighbors = 0"),
        (lambda: soft_encode(AB, BINS, neighbors=262), "neighbors = 262"),
        (lambda: annealed_mean(AB, BINS), "261"),
        (lambda: annealed_mean(torch.zeros(1, 261, 1, 1), BINS, 0.0), "temperature = 0"),
        (lambda: rebalancing_weights(torch.ones(5), BINS), "one for each bin"),
        (lambda: rebalancing_weights(torch.ones(261), BINS, mix=1.5), "mix = 1.5"),
        (lambda: rebalancing_weights(torch.zeros(261), BINS), "count some pixels"),
        (lambda: rebalancing_weights(torch.eye(261)[0], BINS, mix=0.0, sigma=0), "empty bins"),
    ],
)
def test_refusals(call, message):
    """Shapes and settings that cannot be used are refused by name."""
    with pytest.raises(ShapeError, match=message):
        call()
