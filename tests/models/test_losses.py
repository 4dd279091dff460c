"""Laws of the losses."""

from __future__ import annotations

import pytest
import torch

from raycolor.errors import ConfigError
from raycolor.models import losses


def test_pixel_losses_match_hand_computed_values():
    """Errors 0, 0.01, 0.3 and 0.5 give the mean square, the mean size, and Huber's two branches."""
    predicted = torch.tensor([0.0, 0.01, 0.3, -0.5]).view(1, 2, 1, 2)
    truth = torch.zeros_like(predicted)
    assert losses.pixel_loss("mse", predicted, truth).item() == pytest.approx((0.0001 + 0.09 + 0.25) / 4)
    assert losses.pixel_loss("l1", predicted, truth).item() == pytest.approx(0.81 / 4)
    huber = 0.5 * 0.0001 / 0.03 + (0.3 - 0.015) + (0.5 - 0.015)
    assert losses.pixel_loss("huber", predicted, truth).item() == pytest.approx(huber / 4)


def test_pixel_losses_are_taken_in_float32():
    """bf16 predictions do not make the loss bf16, where small errors would be lost in the sum."""
    predicted = torch.full((1, 2, 64, 64), 0.1, dtype=torch.bfloat16)
    assert losses.pixel_loss("mse", predicted, torch.zeros(1, 2, 64, 64)).dtype == torch.float32


def test_lsgan_matches_the_report():
    """Mean of the squared errors against label 1 for true and label 0 for predicted color, averaged over both."""
    real, fake = torch.tensor([[[[0.5, 1.0]]]]), torch.tensor([[[[0.0, 0.6]]]])
    assert losses.discriminator_loss("lsgan", real, fake).item() == pytest.approx(0.5 * (0.125 + 0.18))
    assert losses.generator_adversarial_loss("lsgan", fake).item() == pytest.approx((1 + 0.16) / 2)


def test_minimax_matches_equation_3():
    """With D = sigmoid(logit): -log D(x) and -log(1 - D(G)) for the discriminator, -log D(G) for the generator."""
    real, fake = torch.tensor([[[[0.7]]]]), torch.tensor([[[[-0.4]]]])
    d_real, d_fake = torch.sigmoid(real), torch.sigmoid(fake)
    expected = -0.5 * (d_real.log() + (1 - d_fake).log()).item()
    assert losses.discriminator_loss("minimax", real, fake).item() == pytest.approx(expected)
    assert losses.generator_adversarial_loss("minimax", fake).item() == pytest.approx(-d_fake.log().item())


@pytest.mark.parametrize("kind", ["lsgan", "minimax"])
def test_discriminator_and_generator_pull_apart(kind):
    """A higher logit for predicted color costs the discriminator and gains the generator."""
    fake = torch.zeros(1, 1, 2, 2, requires_grad=True)
    (down,) = torch.autograd.grad(losses.discriminator_loss(kind, torch.ones_like(fake), fake + 0.2), fake)
    (up,) = torch.autograd.grad(losses.generator_adversarial_loss(kind, fake + 0.2), fake)
    assert (down > 0).all()
    assert (up < 0).all()


def test_unknown_losses_are_refused():
    """A name that is none of ours never falls back to another loss."""
    one = torch.zeros(1, 1, 1, 1)
    with pytest.raises(ConfigError, match="pixel loss 'mae'"):
        losses.pixel_loss("mae", one, one)
    with pytest.raises(ConfigError, match="adversarial loss 'wgan'"):
        losses.discriminator_loss("wgan", one, one)
    with pytest.raises(ConfigError, match="adversarial loss 'wgan'"):
        losses.generator_adversarial_loss("wgan", one)
