"""Laws of one update."""

from __future__ import annotations

import copy
import math

import pytest
import torch
from synthetic import SyntheticData, step_settings
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from raycolor.errors import ConfigError, TrainingError
from raycolor.models.build import build_discriminator, build_model
from raycolor.models.precision import choose_training_precision, fastest_on_gpu
from raycolor.training.step import GanStep, PixelStep
from raycolor.training.trained import learning_rate_factor

CPU = torch.device("cpu")


def make(method: str, seed: int = 0, **settings):
    torch.manual_seed(seed)
    chosen = step_settings(**{"total_steps": 60, "schedule": "constant", **settings})
    if method == "gan":
        discriminator = build_discriminator({"base": 8, "layers": 2})
        return GanStep(build_model("gan", {"base": 8, "levels": 3}), discriminator, chosen, CPU)
    return PixelStep(build_model(method, {"bottleneck": 16} if method == "autoencoder" else {}), chosen, CPU)


@pytest.mark.parametrize(("method", "steps"), [("regression", 90), ("gan", 60)])
def test_eight_images_can_be_overfit(method, steps):
    """Eight pictures are learned far below their mean-color floor: gradients reach what matters."""
    data = SyntheticData(count=8, batch_size=8)
    step = make(method, pixel="mse", lr=3e-3)
    batch = next(data.train_batches(0, 0))
    for k in range(steps):
        step.update(batch.L_net, batch.ab_net, batch.ids, k)
    with torch.no_grad():
        error = (step.predictor()(batch.L_net) - batch.ab_net).square().mean()
    assert error < 0.1 * batch.ab_net.var((0, 2, 3)).mean()


@pytest.mark.slow
def test_autoencoder_overfits_eight_images():
    """The autoencoder, dense bottleneck and all, learns eight pictures below a fifth of their mean-color floor."""
    data = SyntheticData(count=8, batch_size=8, size_px=224)
    step = make("autoencoder", lr=1e-3)
    batch = next(data.train_batches(0, 0))
    for k in range(60):
        step.update(batch.L_net, batch.ab_net, batch.ids, k)
    step.network.train()
    with torch.no_grad():
        error = (step.network(batch.L_net) - batch.ab_net).square().mean()
    assert error < 0.2 * batch.ab_net.var((0, 2, 3)).mean()


@pytest.mark.parametrize("method", ["regression", "gan"])
def test_state_dict_is_complete(method):
    """Another step that loads the state after three updates makes the same fourth update, bit by bit."""
    data = SyntheticData()
    batches = list(data.train_batches(0, 0))[:4]
    first = make(method, ema=0.9)
    for k, batch in enumerate(batches[:3]):
        first.update(batch.L_net, batch.ab_net, batch.ids, k)
    second = make(method, seed=1, ema=0.9)
    second.load_state_dict(copy.deepcopy(first.state_dict()))
    last = batches[3]
    assert first.update(last.L_net, last.ab_net, last.ids, 3) == second.update(last.L_net, last.ab_net, last.ids, 3)
    for a, b in [(first.network, second.network), (first.predictor(), second.predictor())]:
        for key, value in a.state_dict().items():
            assert torch.equal(value, b.state_dict()[key]), key


def test_states_of_an_earlier_raycolor_are_read():
    """A GAN's training that began before its discriminator's state was called so goes on."""
    first, second = make("gan"), make("gan", seed=1)
    state = copy.deepcopy(first.state_dict())
    state["judge"] = state.pop("discriminator")
    second.load_state_dict(state)
    for key, value in first.discriminator.state_dict().items():
        assert torch.equal(value, second.discriminator.state_dict()[key]), key


@pytest.mark.parametrize("method", ["regression", "gan"])
def test_a_nan_loss_stops_before_the_weights_change(method):
    """A NaN in a photograph stops training with update and ids, and leaves the generator's weights as they were."""
    batch = next(SyntheticData().train_batches(0, 0))
    step = make(method)
    before = {key: value.clone() for key, value in step.network.named_parameters()}
    truth = batch.ab_net.clone()
    truth[0, 0, 0, 0] = math.nan
    with pytest.raises(TrainingError, match=rf"update 7: the loss is nan on photographs {batch.ids[0]}, "):
        step.update(batch.L_net, truth, batch.ids, 7)
    for key, value in step.network.named_parameters():
        assert torch.equal(value, before[key]), key


class NothingIsRead(TorchDispatchMode):
    """Fails where a number is asked of a device, which is to wait for it."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        assert "_local_scalar_dense" not in str(func), "a number was read"
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("method", ["regression", "gan"])
def test_a_deferred_update_reads_nothing_and_computes_the_same(method):
    """As on a GPU: nothing is waited for, and weights and losses are those of the usual way, bit by bit."""
    usual, deferred = make(method, ema=0.9), make(method, ema=0.9, deferred=True)
    for k, batch in enumerate(list(SyntheticData().train_batches(0, 0))[:3]):
        losses = usual.update(batch.L_net, batch.ab_net, batch.ids, k)
        with NothingIsRead():
            later = deferred.update(batch.L_net, batch.ab_net, batch.ids, k)
        assert {name: float(value) for name, value in later.items()} == losses
    deferred.check()
    with pytest.raises(AssertionError, match="a number was read"), NothingIsRead():
        usual.update(batch.L_net, batch.ab_net, batch.ids, 3)


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
@pytest.mark.parametrize("method", ["regression", "gan"])
def test_a_deferred_nan_changes_no_weight_until_it_is_told(method, precision):
    """The update with NaN and all after it leave the generator's weights as they were; the first is named."""
    step = make(method, deferred=True, precision=precision)
    batches = list(SyntheticData().train_batches(0, 0))
    step.update(batches[0].L_net, batches[0].ab_net, batches[0].ids, 6)
    before = {key: value.clone() for key, value in step.network.named_parameters()}
    truth = batches[1].ab_net.clone()
    truth[0, 0, 0, 0] = math.nan
    step.update(batches[1].L_net, truth, batches[1].ids, 7)
    step.update(batches[2].L_net, batches[2].ab_net, batches[2].ids, 8)
    for key, value in step.network.named_parameters():
        assert torch.equal(value, before[key]), key
    with pytest.raises(TrainingError, match=rf"update 7: the loss is nan on photographs {batches[1].ids[0]}, "):
        step.check()


def test_fp16_scales_the_loss_and_leaves_out_what_overflows():
    """Weights learn though the first scale is too large for fp16; the scale stands in the state, and goes on."""
    step = make("regression", precision="fp16", lr=3e-3)
    scaler = step._trained["trained"].scaler
    scaler.load_state_dict({**scaler.state_dict(), "scale": 2.0**40})
    batch = next(SyntheticData(count=8, batch_size=8).train_batches(0, 0))
    before = step.network.encoder.conv1.weight.clone()
    step.update(batch.L_net, batch.ab_net, batch.ids, 0)
    assert torch.equal(step.network.encoder.conv1.weight, before)
    for k in range(1, 40):
        step.update(batch.L_net, batch.ab_net, batch.ids, k)
    assert not torch.equal(step.network.encoder.conv1.weight, before)
    assert all(torch.isfinite(value).all() for value in step.network.parameters())
    assert 1 < scaler.get_scale() < 2.0**40
    again = make("regression", precision="fp16")
    again.load_state_dict(copy.deepcopy(step.state_dict()))
    assert again._trained["trained"].scaler.state_dict() == scaler.state_dict()
    assert "scaler" not in make("regression").state_dict()["trained"]


@pytest.mark.parametrize(
    ("capability", "found"), [((6, 0), "fp32"), ((7, 0), "fp32"), ((7, 5), "fp16"), ((8, 0), "bf16"), ((12, 0), "bf16")]
)
def test_gpus_train_in_what_they_compute_fast(capability, found):
    """bf16 from Ampere on, fp16 on Turing; what is asked for is taken as it is."""
    assert fastest_on_gpu(capability) == found
    assert choose_training_precision("fp32", torch.device("cuda")) == "fp32"
    assert choose_training_precision("bf16", torch.device("cpu")) == "bf16"
    with pytest.raises(ConfigError, match="precision 'fp8': unknown"):
        choose_training_precision("fp8", torch.device("cpu"))


def test_discriminator_learns_and_is_not_changed_by_the_generator():
    """Each update of a GAN moves both networks; gradients of the discriminator come from its own loss alone."""
    batch = next(SyntheticData().train_batches(0, 0))
    step = make("gan")
    discriminator, network = step.discriminator, step.network
    frozen = make("gan", lr=1e-12)  # the generator stands still: the discriminator alone learns
    before = [p.clone() for p in discriminator.parameters()]
    losses = step.update(batch.L_net, batch.ab_net, batch.ids, 0)
    assert set(losses) == {"loss", "pixel", "adversarial", "discriminator"}
    assert losses["loss"] == pytest.approx(losses["adversarial"] + 100 * losses["pixel"], rel=1e-5)
    assert any(not torch.equal(p, q) for p, q in zip(discriminator.parameters(), before, strict=True))
    assert all(p.requires_grad for p in [*discriminator.parameters(), *network.parameters()])
    first = frozen.update(batch.L_net, batch.ab_net, batch.ids, 0)["discriminator"]
    for k in range(1, 25):
        last = frozen.update(batch.L_net, batch.ab_net, batch.ids, k)["discriminator"]
    assert last < 0.5 * first


def test_wrapped_networks_are_the_ones_trained():
    """`wrap` sees each network once, and forward passes go through what it returns."""
    calls = []

    class Wrapper(nn.Module):
        def __init__(self, inner):
            super().__init__()
            self.module = inner

        def forward(self, *inputs):
            calls.append(type(self.module).__name__)
            return self.module(*inputs)

    settings = step_settings(total_steps=4)
    step = GanStep(
        build_model("gan", {"base": 8, "levels": 3}),
        build_discriminator({"base": 8, "layers": 1}),
        settings,
        CPU,
        Wrapper,
    )
    batch = next(SyntheticData().train_batches(0, 0))
    step.update(batch.L_net, batch.ab_net, batch.ids, 0)
    # The discriminator's wrapper runs once an update, on true and predicted color together.
    assert calls == ["GanGenerator", "PatchDiscriminator"]


def test_gradients_are_clipped():
    """With a tiny norm limit and plain numbers, the gradient that reaches the optimizer has that norm."""
    batch = next(SyntheticData().train_batches(0, 0))
    step = make("regression", clip_norm=1e-3)
    step.update(batch.L_net, batch.ab_net, batch.ids, 0)
    norm = torch.stack([p.grad.norm() for p in step.network.parameters()]).norm().item()
    assert norm == pytest.approx(1e-3, rel=1e-3)


def test_moving_average_follows_the_weights():
    """The average moves towards the weights, lags behind them, and is what is shipped."""
    batch = next(SyntheticData().train_batches(0, 0))
    step = make("regression", ema=0.9)
    start = step.predictor().encoder.conv1.weight.clone()
    for k in range(3):
        step.update(batch.L_net, batch.ab_net, batch.ids, k)
    average, now = step.predictor().encoder.conv1.weight, step.network.encoder.conv1.weight
    assert 0 < (now - average).norm() < (now - start).norm()
    assert step.predictor() is not step.network
    assert not step.predictor().training


def test_schedules():
    """One-cycle rises to the peak and falls to 1%, cosine falls from it, constant stays."""
    base = step_settings(total_steps=101, schedule="onecycle")
    curve = [learning_rate_factor(k, base) for k in range(101)]
    assert (max(curve), curve.index(max(curve))) == (pytest.approx(1.0), 25)
    assert curve[0] == pytest.approx(0.04)
    assert curve[-1] == pytest.approx(0.01)
    cosine = step_settings(total_steps=101, schedule="cosine")
    assert learning_rate_factor(0, cosine) == 1
    assert learning_rate_factor(50, cosine) == pytest.approx(0.505)
    assert learning_rate_factor(500, cosine) == pytest.approx(0.01)
    assert learning_rate_factor(99, step_settings(total_steps=101, schedule="constant")) == 1
