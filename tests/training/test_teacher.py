"""Laws of learning from another network's distribution."""

from __future__ import annotations

import pytest
import torch
from synthetic import step_settings

from raycolor.errors import ConfigError
from raycolor.models import checkpoints
from raycolor.models.bins import BinsHead
from raycolor.models.build import build_model
from raycolor.training.config import LossConfig, TrainingConfig
from raycolor.training.objective import Objective
from raycolor.training.settings import resolve
from raycolor.training.step import PixelStep
from raycolor.training.teacher import Teacher

CPU = torch.device("cpu")
BINS = {"head": "bins", "pretrained": False, "widths": [16, 16, 8, 8], "convs": 1}


def unet(seed: int, **settings):
    """Return a network whose distributions are far from even."""
    torch.manual_seed(seed)
    network = build_model("unet", {**BINS, **settings})
    if isinstance(network.head, BinsHead):
        torch.nn.init.normal_(network.head.conv.weight, std=0.3)
    return network.eval()


def saved(folder, network, method="unet"):
    """Return a network as a loaded checkpoint."""
    checkpoints.save(folder, network, method=method, training={}, dataset={}, metrics={})
    return checkpoints.load(folder)


def lightness():
    """Return two planes of noise."""
    return torch.rand(2, 1, 64, 64, generator=torch.Generator().manual_seed(0)) * 2 - 1


def test_an_ensemble_teaches_the_mean_of_its_distributions(tmp_path):
    """Shares sum to 1 at every pixel that is asked for, and are the mean of those of the members."""
    members = [unet(1), unet(2)]
    together = build_model(
        "ensemble", {"members": [{"name": "unet", "config": one.config()} for one in members]}, pretrained=False
    )
    together.load_state_dict({f"members.{i}.{k}": v for i, m in enumerate(members) for k, v in m.state_dict().items()})
    teacher = Teacher(saved(tmp_path / "t", together, "ensemble"), members[0], CPU)
    shares = teacher.shares(lightness(), (1, 2))
    with torch.no_grad():
        each = [one(lightness(), subsample=(1, 2), whole=False).logits.softmax(dim=1) for one in members]
    assert shares.shape == (2, members[0].head.count, len(range(1, 32, 3)), len(range(2, 32, 3)))
    assert torch.allclose(shares.sum(dim=1), torch.ones(()), atol=1e-5)
    assert torch.allclose(shares, (each[0] + each[1]) / 2, atol=1e-5)


def test_a_teacher_of_another_output_stride_is_asked_for_the_learners_squares(tmp_path):
    """What it says of a square is what it says of the mean of its features there."""
    taught, teaching = unet(1, output_stride=4), unet(2)
    shares = Teacher(saved(tmp_path / "t", teaching), taught, CPU).shares(lightness(), (1, 0))
    with torch.no_grad():
        squares = torch.nn.functional.avg_pool2d(teaching.features(lightness()), 2)
        expected = teaching.head(squares)[:, :, 1::2, 0::2].softmax(dim=1)
    assert torch.allclose(shares, expected, atol=1e-5)


def test_who_says_what_the_teacher_says_has_nothing_to_learn(tmp_path):
    """The gradient of the term is zero at the teacher itself, and is not elsewhere."""
    own = unet(1)
    slopes = []
    for teaching in (own, unet(2)):
        settings = LossConfig(pixel="huber", classes=1.0, distillation=1.0)
        objective = Objective(own, settings, CPU, saved(tmp_path / str(len(slopes)), teaching))
        output = objective.predict(own, lightness(), 0)
        found = objective.loss(output, lightness(), torch.zeros(2, 2, 64, 64), 0)
        (slope,) = torch.autograd.grad(found["distillation"], own.head.conv.bias)
        slopes.append(float(slope.abs().max()))
    assert slopes[0] < 1e-6 < 1e-3 < slopes[1]


def test_updates_bring_the_network_to_its_teacher(tmp_path):
    """Forty updates on what the teacher says, whatever the truth is, take half of the distance to its distribution."""
    settings = step_settings(
        total_steps=40, lr=1e-2, pixel="huber", classes=1.0, distillation=1.0, schedule="constant", clip_norm=None
    )
    own, checkpoint = unet(1), saved(tmp_path / "t", unet(2))
    shares = Teacher(checkpoint, own, CPU).shares(lightness(), (0, 0))
    least = -(shares * shares.log()).sum(dim=1).mean()  # the cross-entropy of the teacher with itself
    step = PixelStep(own, settings, CPU, teacher=checkpoint)
    truth = torch.zeros(2, 2, 64, 64)
    losses = [step.update(lightness(), truth, ["a", "b"], number)["distillation"] for number in range(40)]
    assert losses[-1] - least < 0.5 * (losses[0] - least)


def test_teachers_that_cannot_teach_are_named(tmp_path):
    """A network without a distribution, one with another grid, and a teacher without its weight in the loss."""
    own = unet(1)
    taught = LossConfig(pixel="huber", distillation=0.5)
    with pytest.raises(ConfigError, match="unet predicts no distribution"):
        Objective(own, taught, CPU, saved(tmp_path / "ab", unet(1, head="ab")))
    with pytest.raises(ConfigError, match="its bins are 20 Lab units apart, those of this network 10"):
        Objective(own, taught, CPU, saved(tmp_path / "coarse", unet(1, bin_spacing=20.0)))
    with pytest.raises(ConfigError, match=r"loss.distillation = 0.5: needs a teacher"):
        resolve(TrainingConfig(method="unet", loss=taught))
    with pytest.raises(ConfigError, match=r"loss.distillation = 0: needs a teacher"):
        resolve(TrainingConfig(method="unet", teacher="default"))
    with pytest.raises(ConfigError, match=r"only unet with network.head=bins learns from one"):
        Objective(unet(1, head="ab"), taught, CPU, saved(tmp_path / "t", own))
