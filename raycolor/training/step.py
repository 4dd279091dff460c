"""One update of the weights per method: pixel loss alone, or a generator against its discriminator."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import get_ema_multi_avg_fn

from raycolor.errors import TrainingError
from raycolor.models.blocks import ColorNet, to_channels_last
from raycolor.models.checkpoints import Checkpoint
from raycolor.models.gan import PatchDiscriminator
from raycolor.models.losses import discriminator_loss, generator_loss
from raycolor.models.precision import Precision
from raycolor.training.config import LossConfig, OptimConfig
from raycolor.training.objective import Objective

Wrap = Callable[[nn.Module], nn.Module]
WARM_UP = 0.25  # share of a one-cycle schedule that rises
FLOOR = 0.01  # last learning rate as a share of the peak


@dataclass(frozen=True, kw_only=True)
class StepSettings:
    """How weights are updated.

    Attributes:
        total_steps: updates of the whole training; the schedule ends there.
        optim: the optimizer.
        loss: what is minimized.
        precision: `bf16` computes convolutions in bfloat16; weights and losses stay float32.
        compile: run the networks through torch.compile.
    """

    total_steps: int
    optim: OptimConfig = field(default_factory=OptimConfig)
    loss: LossConfig = field(default_factory=LossConfig)
    precision: Precision = "fp32"
    compile: bool = False


def learning_rate_factor(step: int, settings: StepSettings) -> float:
    """Return the share of the peak learning rate at an update, counted from 0; pure, so resuming is exact."""
    return schedule_factor(min(1.0, step / max(1, settings.total_steps - 1)), settings.optim.schedule)


def schedule_factor(done: float, schedule: str) -> float:
    """Return the share of the peak learning rate when a share `done` of all updates is done."""
    if schedule == "constant":
        return 1.0
    if schedule == "cosine":
        return FLOOR + (1 - FLOOR) * 0.5 * (1 + math.cos(math.pi * done))
    if done < WARM_UP:
        return 0.04 + 0.96 * 0.5 * (1 - math.cos(math.pi * done / WARM_UP))
    return FLOOR + (1 - FLOOR) * 0.5 * (1 + math.cos(math.pi * (done - WARM_UP) / (1 - WARM_UP)))


class MovingAverage:
    """A copy of a network whose weights follow the trained ones slowly."""

    def __init__(self, network: ColorNet, decay: float) -> None:
        self.decay = decay
        self.network = copy.deepcopy(network).eval().requires_grad_(False)

    @torch.no_grad()
    def update(self, network: ColorNet, step: int) -> None:
        """Move towards `network` after update `step`, counted from 0; young averages move faster."""
        decay = min(self.decay, (1 + step) / (10 + step))
        averaged = [parameter.detach() for parameter in self.network.parameters()]
        trained = [parameter.detach() for parameter in network.parameters()]
        get_ema_multi_avg_fn(decay)(averaged, trained, 0)  # type: ignore[no-untyped-call]
        # Running statistics of batch normalization are averages already.
        for mine, theirs in zip(self.network.buffers(), network.buffers(), strict=True):
            mine.copy_(theirs)


class UpdateStep(Protocol):
    """One update per batch, and everything needed to go on later."""

    network: ColorNet
    settings: StepSettings

    def update(self, L_net: Tensor, ab_net: Tensor, ids: Sequence[str], step: int) -> dict[str, float]:
        """Update on a batch: (B, 1, H, W) and (B, 2, H, W) on the step's device; `step` counts from 0.

        Returns:
            The losses, `loss` among them.

        Raises:
            TrainingError: the loss or a gradient is NaN or infinite; the weights are left as they were.
        """
        ...

    def predictor(self) -> ColorNet:
        """Return the network to validate and to ship: the moving average if there is one; set it to evaluation."""
        ...

    def state_dict(self) -> dict[str, Any]:
        """Return weights and optimizer states: plain values and tensors."""
        ...

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from what `state_dict` returned."""
        ...


def _autocast(device: torch.device, precision: Precision) -> torch.autocast:
    return torch.autocast(device_type=device.type, dtype=torch.bfloat16, enabled=precision == "bf16")


class _Trained:
    """A network with its optimizer, clipping and schedule."""

    def __init__(
        self, network: nn.Module, peak: float, settings: StepSettings, device: torch.device, wrap: Wrap
    ) -> None:
        self.network = to_channels_last(network.to(device))
        self.wrapped = wrap(self.network)
        self.forward = torch.compile(self.wrapped) if settings.compile else self.wrapped
        optim = settings.optim
        kind = torch.optim.AdamW if optim.weight_decay > 0 else torch.optim.Adam
        # Fused: one pass over the weights instead of ten; on a CPU that is a fifth of the autoencoder's time.
        self.optimizer = kind(_groups(network), lr=peak, betas=optim.betas, weight_decay=optim.weight_decay, fused=True)
        self.peak, self.settings = peak, settings

    def apply(self, loss: Tensor, ids: Sequence[str], step: int) -> float:
        """Make one optimizer step on `loss`; refuse NaN or infinity before any weight changes."""
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        limit = math.inf if self.settings.optim.clip_norm is None else self.settings.optim.clip_norm
        # Behind the gradient exchange: every worker sees the same norm, so all of them stop at the same update.
        norm = float(nn.utils.clip_grad_norm_(self.network.parameters(), limit))
        value = float(loss.detach())
        if not math.isfinite(value):
            raise TrainingError(
                f"update {step}: the loss is {value} on photographs {', '.join(ids)}: "
                "lower optim.lr or remove the damaged photographs; the last checkpoint is kept"
            )
        if not math.isfinite(norm):
            raise TrainingError(
                f"update {step}: the gradient is {norm} on photographs {', '.join(ids)} or another worker's: "
                "lower optim.lr or remove the damaged photographs; the last checkpoint is kept"
            )
        for group in self.optimizer.param_groups:
            group["lr"] = self.peak * group["share"] * learning_rate_factor(step, self.settings)
        self.optimizer.step()
        return value

    def state_dict(self) -> dict[str, Any]:
        return {"network": self.network.state_dict(), "optimizer": self.optimizer.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.network.load_state_dict(state["network"], strict=True)
        self.optimizer.load_state_dict(state["optimizer"])


def _groups(network: nn.Module) -> list[dict[str, Any]]:
    """Return the trainable parameters, each group with its share of the learning rate."""
    groups = network.parameter_groups() if isinstance(network, ColorNet) else [(network.parameters(), 1.0)]
    return [{"params": [p for p in members if p.requires_grad], "share": share} for members, share in groups]


def _identity(module: nn.Module) -> nn.Module:
    return module


class PixelStep:
    """Minimize a pixel loss and further terms: every method but the GAN."""

    def __init__(
        self,
        network: ColorNet,
        settings: StepSettings,
        device: torch.device,
        wrap: Wrap = _identity,
        teacher: Checkpoint | None = None,
    ) -> None:
        """Prepare training.

        Args:
            network: moved to `device`, changed in place.
            settings: how weights are updated.
            device: where batches will be.
            wrap: for example into DistributedDataParallel.
            teacher: checkpoint to learn from beside the truth.

        Raises:
            ConfigError: terms of the loss that the network does not have.
        """
        self.network, self.settings, self.device = network, settings, device
        self._objective = Objective(network, settings.loss, device, teacher)
        self._trained = _Trained(network, settings.optim.lr, settings, device, wrap)
        self._average = MovingAverage(network, settings.optim.ema) if settings.optim.ema > 0 else None

    def update(self, L_net: Tensor, ab_net: Tensor, ids: Sequence[str], step: int) -> dict[str, float]:
        """See `UpdateStep.update`."""
        self.network.train()
        L_net = L_net.contiguous(memory_format=torch.channels_last)
        with _autocast(self.device, self.settings.precision):
            output = self._objective.predict(self._trained.forward, L_net, step)
            losses = self._objective.loss(output, L_net, ab_net, step)
        value = self._trained.apply(losses.pop("loss"), ids, step)
        if self._average is not None:
            self._average.update(self.network, step)
        return {"loss": value, **{name: float(term.detach()) for name, term in losses.items()}}

    def predictor(self) -> ColorNet:
        """See `UpdateStep.predictor`."""
        return (self._average.network if self._average is not None else self.network).eval()

    def state_dict(self) -> dict[str, Any]:
        """See `UpdateStep.state_dict`."""
        average = self._average.network.state_dict() if self._average is not None else None
        return {"trained": self._trained.state_dict(), "average": average}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """See `UpdateStep.load_state_dict`."""
        self._trained.load_state_dict(state["trained"])
        if self._average is not None:
            self._average.network.load_state_dict(state["average"], strict=True)


class GanStep:
    """Train a generator (or another network, briefly) against a discriminator, one update of each per batch."""

    def __init__(
        self,
        network: ColorNet,
        discriminator: PatchDiscriminator,
        settings: StepSettings,
        device: torch.device,
        wrap: Wrap = _identity,
    ) -> None:
        """Prepare training; arguments as in `PixelStep`, both networks are wrapped."""
        self.network, self.discriminator = network, discriminator
        self.settings, self.device = settings, device
        self._generator = _Trained(network, settings.optim.lr, settings, device, wrap)
        self._adversary = _Trained(discriminator, settings.optim.discriminator_lr, settings, device, wrap)
        self._average = MovingAverage(network, settings.optim.ema) if settings.optim.ema > 0 else None

    def update(self, L_net: Tensor, ab_net: Tensor, ids: Sequence[str], step: int) -> dict[str, float]:
        """See `UpdateStep.update`; `loss` is the generator's, its parts and the discriminator's stand beside it."""
        settings = self.settings
        self.network.train()
        self.discriminator.train()
        L_net = L_net.contiguous(memory_format=torch.channels_last)
        with _autocast(self.device, settings.precision):
            fake = self._generator.forward(L_net).float()
            # One forward for both: two under DistributedDataParallel break batch normalization (pytorch#175024).
            logits = self._adversary.forward(torch.cat([L_net, L_net]), torch.cat([ab_net, fake.detach()]))
        real_logits, fake_logits = logits.chunk(2)
        found = discriminator_loss(settings.loss.adversarial, real_logits, fake_logits)
        discriminator_error = self._adversary.apply(found, ids, step)

        # The generator's gradient runs through the discriminator without changing it, so the bare module will do:
        # its wrapper would wait for gradients of the discriminator that never come.
        self.discriminator.requires_grad_(False)
        try:
            with _autocast(self.device, settings.precision):
                verdict = self.discriminator(L_net, fake)
            loss = generator_loss(
                verdict,
                fake,
                ab_net,
                adversarial=settings.loss.adversarial,
                pixel=settings.loss.pixel_loss,
                lambda_pixel=settings.loss.lambda_pixel,
            )
            value = self._generator.apply(loss.total, ids, step)
        finally:
            self.discriminator.requires_grad_(True)
        if self._average is not None:
            self._average.update(self.network, step)
        return {
            "loss": value,
            "pixel": float(loss.pixel.detach()),
            "adversarial": float(loss.adversarial.detach()),
            "discriminator": discriminator_error,
        }

    def predictor(self) -> ColorNet:
        """See `UpdateStep.predictor`."""
        return (self._average.network if self._average is not None else self.network).eval()

    def state_dict(self) -> dict[str, Any]:
        """See `UpdateStep.state_dict`."""
        average = self._average.network.state_dict() if self._average is not None else None
        return {
            "generator": self._generator.state_dict(),
            "discriminator": self._adversary.state_dict(),
            "average": average,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """See `UpdateStep.load_state_dict`."""
        self._generator.load_state_dict(state["generator"])
        # Runs of an earlier raycolor have it under another name.
        self._adversary.load_state_dict(state["discriminator" if "discriminator" in state else "judge"])
        if self._average is not None:
            self._average.network.load_state_dict(state["average"], strict=True)
