"""Distributions over colors, read by the compiled loop, against float64 in numpy."""

import numpy as np
import pytest
import torch

from raycolor.color.shares import read_shares
from raycolor.errors import ShapeError


def reference(logits, centers, weights):
    """Return means, mean squares and entropies in float64."""
    values = logits.astype(np.float64)
    share = np.exp(values - values.max(axis=1, keepdims=True))
    share /= share.sum(axis=1, keepdims=True)
    entropy = -(share * np.log(np.maximum(share, 1e-300))).sum(axis=1)
    heavy = share * weights
    squares = np.square(centers.astype(np.float64)).sum(axis=1)
    total = heavy.sum(axis=1)
    return heavy @ centers / total[:, None], heavy @ squares / total, entropy


def colors(size, seed=0):
    """Return centers and weights for as many colors."""
    rng = np.random.default_rng(seed)
    return rng.uniform(-1, 1, (size, 2)).astype(np.float32), rng.uniform(0.2, 5, size).astype(np.float32)


@pytest.mark.parametrize("spread", [0.0, 0.1, 1.0, 10.0, 1000.0])
@pytest.mark.parametrize(("count", "size"), [(1, 1), (3, 308), (1024, 17), (1025, 308), (2500, 5)])
def test_agrees_with_float64(count, size, spread):
    """From equal chances to certainty, for any number of rows and colors."""
    centers, weights = colors(size)
    logits = (np.random.default_rng(1).standard_normal((count, size)) * spread - 40).astype(np.float32)
    read = read_shares(torch.from_numpy(logits), centers, weights)
    mean, square, entropy = reference(logits, centers, weights)
    assert {part.dtype for part in read} == {np.dtype(np.float32)}
    np.testing.assert_allclose(read.mean, mean, atol=1e-5)
    np.testing.assert_allclose(read.square, square, atol=1e-5)
    np.testing.assert_allclose(read.entropy, entropy, atol=1e-5 + 1e-5 * np.log(size))


@pytest.mark.parametrize("temperature", [0.3, 0.6, 2.0])
def test_a_temperature_divides_the_logits_in_float32(temperature):
    """Also those of bfloat16, which would round once more."""
    centers, weights = colors(20)
    logits = torch.randn(40, 20, generator=torch.Generator().manual_seed(0)).bfloat16()
    for mine, theirs in zip(
        read_shares(logits, centers, weights, temperature),
        read_shares(logits.float() / temperature, centers, weights),
        strict=True,
    ):
        np.testing.assert_array_equal(mine, theirs)


def test_bfloat16_is_read_as_the_numbers_that_it_holds():
    """The same bytes come out as for the same numbers in float32."""
    centers, weights = colors(308)
    logits = torch.randn(100, 308, generator=torch.Generator().manual_seed(2)).bfloat16()
    for mine, theirs in zip(
        read_shares(logits, centers, weights), read_shares(logits.float(), centers, weights), strict=True
    ):
        assert np.array_equal(mine, theirs)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_failed_network_is_not_hidden(bad):
    """A logit that is no number spoils its own row and no other."""
    centers, weights = colors(20)
    logits = torch.zeros(5, 20)
    logits[2, 7] = bad
    read = read_shares(logits, centers, weights)
    spoiled = [False, False, True, False, False]
    assert np.isnan(read.mean).any(axis=1).tolist() == spoiled
    assert np.isnan(read.square).tolist() == spoiled
    assert np.isnan(read.entropy).tolist() == spoiled


def test_wrong_shapes_are_refused():
    """One center and one weight per logit."""
    centers, weights = colors(20)
    with pytest.raises(ShapeError, match="one of each per color"):
        read_shares(torch.zeros(2, 19), centers, weights)
    with pytest.raises(ShapeError, match="one of each per color"):
        read_shares(torch.zeros(2, 20), centers, weights[:-1])
