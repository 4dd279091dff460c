"""Metrics against scikit-image and values computed by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from skimage.color import deltaE_ciede2000
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from raycolor.color.difference import delta_e00
from raycolor.color.scale import L_to_net, ab_to_net
from raycolor.errors import ConfigError, ShapeError
from raycolor.models import metrics


def noise(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def batch(count: int = 4, size_px: int = 16, seed: int = 0):
    """L, predicted and true ab (network units) of muted colors that stay inside sRGB."""
    L = 40 + 20 * noise(count, 1, size_px, size_px, seed=seed)
    predicted, truth = (30 * noise(count, 2, size_px, size_px, seed=seed + k) - 15 for k in (1, 2))
    return L_to_net(L).float(), ab_to_net(predicted).float(), ab_to_net(truth).float()


def test_psnr_is_scikit_images():
    """Per image, data range 1; equal pictures read 100 dB instead of infinity."""
    a, b = noise(3, 3, 20, 24), noise(3, 3, 20, 24, seed=1)
    expected = [peak_signal_noise_ratio(x.numpy(), y.numpy(), data_range=1) for x, y in zip(a, b, strict=True)]
    assert metrics.psnr_db(a, b).tolist() == pytest.approx(expected, abs=1e-9)
    assert metrics.psnr_db(a, a).tolist() == pytest.approx([100.0] * 3)


def test_ssim_is_scikit_images():
    """The Gaussian form of Wang et al.; a picture smaller than the window is refused."""
    a = noise(2, 3, 24, 31)
    b = (a + 0.2 * noise(2, 3, 24, 31, seed=4)).clamp(0, 1)
    expected = [
        structural_similarity(
            x.numpy(), y.numpy(), channel_axis=0, data_range=1.0, gaussian_weights=True, use_sample_covariance=False
        )
        for x, y in zip(a, b, strict=True)
    ]
    assert metrics.ssim(a, b).tolist() == pytest.approx(expected, abs=1e-9)
    with pytest.raises(ShapeError, match="at least 11x11"):
        metrics.ssim(a[..., :10], b[..., :10])


def test_delta_e00_is_scikit_images():
    """All of Lab, with grays and equal colors among the pixels, where hue is undefined."""
    span = torch.tensor([100.0, 240.0, 240.0], dtype=torch.float64).view(1, 3, 1, 1)
    low = torch.tensor([0.0, 120.0, 120.0], dtype=torch.float64).view(1, 3, 1, 1)
    a, b = noise(2, 3, 60, 60) * span - low, noise(2, 3, 60, 60, seed=1) * span - low
    a[:, 1:, :9] = 0
    b[:, 1:, 5:15] = 0
    b[:, :, 20:25] = a[:, :, 20:25]
    expected = deltaE_ciede2000(np.moveaxis(a.numpy(), 1, -1), np.moveaxis(b.numpy(), 1, -1))
    assert np.abs(delta_e00(a, b).numpy() - expected).max() < 1e-9


def test_delta_e00_matches_published_pairs():
    """Pairs 1, 7, 17 and 25 of the test data of Sharma, Wu & Dalal 2005, table 1."""
    first = torch.tensor([[50, 2.6772, -79.7751], [50, 0, 0], [50, 2.5, 0], [60.2574, -34.0099, 36.2677]])
    second = torch.tensor([[50, 0, -82.7485], [50, -1, 2], [73, 25, -18], [60.4626, -34.1751, 39.4387]])
    found = delta_e00(first.double().view(4, 3, 1, 1), second.double().view(4, 3, 1, 1)).flatten()
    assert found.tolist() == pytest.approx([2.0425, 2.3669, 27.1492, 1.2644], abs=1e-4)


def test_colorfulness_matches_hand_computed_values():
    """Grays have none; half pure red and half pure blue: spread and mean by the formula."""
    gray = torch.full((1, 3, 4, 4), 0.4, dtype=torch.float64)
    halves = torch.zeros(1, 3, 2, 2, dtype=torch.float64)
    halves[:, 0, 0], halves[:, 2, 1] = 1, 1
    # rg is 255 and 0, yb is 127.5 and -255.
    spread = np.hypot(127.5, 191.25)
    mean = np.hypot(127.5, -63.75)
    assert metrics.colorfulness(gray).item() == pytest.approx(0, abs=1e-9)
    assert metrics.colorfulness(halves).item() == pytest.approx(spread + 0.3 * mean)


def test_accuracy_counts_the_limit_itself():
    """Distances 0, 10 (as 6 and 8), 10.1 and 50: half of the pixels are within 10 Lab units."""
    ab = torch.tensor([[0.0, 6.0, 10.1, 30.0], [0.0, 8.0, 0.0, 40.0]]).view(1, 2, 2, 2)
    assert metrics.accuracy(ab.square().sum(1).sqrt()).item() == 0.5


def test_auc_is_the_area_under_the_sampled_curve():
    """The sum over pixels equals the trapezoid rule on the curve of thresholds 0, 1, ..., 150."""
    distance = torch.tensor([0.0, 0.3, 1.0, 7.7, 149.5, 150.0, 150.2, 170.0], dtype=torch.float64)
    thresholds = np.arange(151)
    curve = (distance.numpy()[:, None] <= thresholds).mean(0)
    expected = np.trapezoid(curve, thresholds) / 150
    assert metrics.auc_of_distance(distance).mean().item() == pytest.approx(expected, abs=1e-12)


def test_rebalanced_auc_weighs_rare_colors_up():
    """A prediction that is right on the common color alone loses; one that is right on the rare color alone gains."""
    L_net = torch.zeros(1, 1, 16, 16)
    truth = torch.zeros(1, 2, 16, 16)
    truth[:, 0, 0] = 80 / 110  # one row of sixteen is red
    common, rare = torch.zeros_like(truth), torch.full_like(truth, 0.0)
    rare[:, 0] = 80 / 110
    found = {}
    for name, prediction in [("common", common), ("rare", rare), ("perfect", truth)]:
        sums = metrics.MetricSums()
        sums.add(L_net, prediction, truth, ["x"])
        found[name] = {key: value["value"] for key, value in sums.result().items()}
    assert found["perfect"]["auc"] == found["perfect"]["auc_rebalanced"] == 1
    assert found["common"]["auc_rebalanced"] < found["common"]["auc"] - 0.1
    assert found["rare"]["auc_rebalanced"] > found["rare"]["auc"] + 0.1
    # Both cells lie far apart: smoothing leaves each its own share, so each weighs half.
    half = 0.5 * (1 + (150.5 - 80) / 150)
    assert found["common"]["auc_rebalanced"] == pytest.approx(half, abs=1e-3)


def test_merged_workers_equal_one_worker():
    """Images measured by two workers, in uneven batches, give what one worker gives."""
    L_net, predicted, truth = batch(7)
    ids = [f"p{k}" for k in range(7)]
    whole = metrics.MetricSums()
    whole.add(L_net, predicted, truth, ids)
    first, second = metrics.MetricSums(), metrics.MetricSums()
    for part, rows in [(first, slice(0, 2)), (first, slice(2, 5)), (second, slice(5, 7))]:
        part.add(L_net[rows], predicted[rows], truth[rows], ids[rows])
    merged = first.merge(second)
    assert merged.ids == whole.ids
    for name, entry in whole.result().items():
        assert merged.result()[name] == pytest.approx(entry, rel=1e-6), name
    assert set(whole.result()) == set(metrics.FULL)


def test_mse_is_in_network_units():
    """An error of 11 Lab units in one of the two channels is 0.01 / 2."""
    L_net, _, truth = batch(1)
    off = truth.clone()
    off[:, 0] += 0.1
    sums = metrics.MetricSums(full=False)
    sums.add(L_net, off, truth, ["x"])
    assert sums.result()["mse"]["value"] == pytest.approx(0.005, rel=1e-4)
    assert set(sums.result()) == set(metrics.CHEAP)
    assert sums.sums()["n"] == 1


def test_delta_colorfulness_compares_means():
    """Gray predictions are off by the whole colorfulness of the truth; the truth itself by nothing."""
    L_net, _, truth = batch(3)
    for prediction, expected in [(torch.zeros_like(truth), None), (truth, 0.0)]:
        sums = metrics.MetricSums()
        sums.add(L_net, prediction, truth, list("abc"))
        mean = float(np.mean(sums.values["colorfulness_truth"]))
        found = sums.result()["delta_colorfulness"]["value"]
        # float32 leaves a rest of color in grays.
        assert found == pytest.approx(mean if expected is None else expected, abs=1e-2)


def test_bootstrap_interval_is_seeded_and_covers():
    """The same seed gives the same interval; of 200 samples of a known mean about 95% cover it."""
    rng = np.random.default_rng(0)
    samples = rng.normal(3.0, 1.0, (200, 60))
    intervals = [metrics.bootstrap_interval(list(row), seed=1, rounds=300) for row in samples]
    covered = sum(low <= 3.0 <= high for low, high in intervals)
    assert 176 <= covered <= 199  # 190 expected, standard deviation 3.1
    assert metrics.bootstrap_interval([1.0, 2.0, 4.0], seed=5) == metrics.bootstrap_interval([1.0, 2.0, 4.0], seed=5)
    with pytest.raises(ConfigError, match="no values"):
        metrics.bootstrap_interval([], seed=0)


def test_floors():
    """A constant has the size of what it stands for, and none has a lower mse than the mean color."""
    _, _, truth = batch(5)
    truth = truth + torch.tensor([0.1, -0.2]).view(1, 2, 1, 1)
    mean = tuple(truth.mean((0, 2, 3)).tolist())

    def error(color: tuple[float, float]) -> float:
        return (metrics.constant_color(truth, color) - truth).square().mean().item()

    assert metrics.constant_color(truth).shape == truth.shape
    assert error(mean) < error((0.0, 0.0))
    assert error(mean) < min(error((mean[0] + 0.01, mean[1])), error((mean[0], mean[1] - 0.01)))


def test_mismatched_shapes_are_refused():
    """Measuring a prediction of another size is an error, never a broadcast."""
    L_net, predicted, truth = batch(2)
    with pytest.raises(ShapeError, match="expected"):
        metrics.MetricSums().add(L_net, predicted[:1], truth, ["a", "b"])
    with pytest.raises(ConfigError, match="cannot be merged"):
        metrics.MetricSums().merge(metrics.MetricSums(full=False))


def test_farther_than_gray_is_the_share_that_color_made_worse():
    """Half of the way to the truth is nearer than gray, its opposite is farther, and gray itself is neither."""
    L, _, truth = batch(4)
    predicted = truth * torch.tensor([0.5, -0.5, 0.0, 1.0]).view(4, 1, 1, 1)
    sums = metrics.MetricSums()
    sums.add(L, predicted, truth, list("abcd"))
    cell = sums.result(rounds=200)["farther_than_gray"]
    assert cell["value"] == 0.25
    assert 0 <= cell["low"] < 0.25 < cell["high"] <= 1
