"""One network that is trained: its optimizer and schedule, its moving average, and what a NaN must not change."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import get_ema_multi_avg_fn

from raycolor.errors import TrainingError
from raycolor.models.blocks import ColorNet, to_channels_last
from raycolor.models.precision import TrainingPrecision
from raycolor.training.config import LossConfig, OptimConfig

Wrap = Callable[[nn.Module], nn.Module]
WARM_UP = 0.25  # share of a one-cycle schedule that rises
FLOOR = 0.01  # last learning rate as a share of the peak
_HALF: Final = {"bf16": torch.bfloat16, "fp16": torch.float16}
_SMALLEST_SCALE: Final = 1.0  # gradients that overflow fp16 without being enlarged are no accident


@dataclass(frozen=True, kw_only=True)
class StepSettings:
    """How weights are updated.

    Attributes:
        total_steps: updates of the whole training; the schedule ends there.
        optim: the optimizer.
        loss: what is minimized.
        precision: `bf16` and `fp16` compute convolutions so; weights and losses stay float32. `fp16` scales the loss,
            and leaves out updates whose gradients overflow.
        compile: run the networks through torch.compile.
        deferred: look for NaN on the device, and read what was found only when `check` is called: an update that waits
            for nothing. Default: on every device but the CPU, where reading costs nothing.
    """

    total_steps: int
    optim: OptimConfig = field(default_factory=OptimConfig)
    loss: LossConfig = field(default_factory=LossConfig)
    precision: TrainingPrecision = "fp32"
    compile: bool = False
    deferred: bool | None = None


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


def autocast(device: torch.device, precision: TrainingPrecision) -> torch.autocast:
    """Return the context in which a network computes in a precision."""
    dtype = _HALF.get(precision, torch.bfloat16)
    return torch.autocast(device_type=device.type, dtype=dtype, enabled=precision in _HALF)


class _Seen(NamedTuple):
    """What an update left to be looked at."""

    step: int
    ids: tuple[str, ...]
    loss: Tensor
    norm: Tensor


class Trained:
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
        self.deferred = device.type != "cpu" if settings.deferred is None else settings.deferred
        self.scaler = torch.amp.GradScaler(device.type) if settings.precision == "fp16" else None
        self._unread: list[_Seen] = []
        # 1 after the first update that was NaN or infinite: from then on the optimizer does nothing.
        self._stopped = torch.zeros((), device=device)

    def apply(self, loss: Tensor, ids: Sequence[str], step: int) -> float | Tensor:
        """Make one optimizer step on `loss`, none at all on NaN or infinity.

        Returns:
            The loss: a number, or on the device if `deferred`.

        Raises:
            TrainingError: as `check`, here only if not `deferred`.
        """
        self.optimizer.zero_grad(set_to_none=True)
        self._backward(loss)
        limit = math.inf if self.settings.optim.clip_norm is None else self.settings.optim.clip_norm
        # Behind the gradient exchange: every worker sees the same norm, so all of them stop at the same update.
        norm = nn.utils.clip_grad_norm_(self.network.parameters(), limit)
        self._unread.append(_Seen(step, tuple(ids), loss.detach(), norm.detach()))
        if not self.deferred:
            check([self])
        for group in self.optimizer.param_groups:
            group["lr"] = self.peak * group["share"] * learning_rate_factor(step, self.settings)
        self._step(loss.detach(), norm.detach())
        return loss.detach() if self.deferred else float(loss.detach())

    def _backward(self, loss: Tensor) -> None:
        if self.scaler is None:
            loss.backward()  # type: ignore[no-untyped-call]
            return
        # The scaler leaves out single updates; after a NaN it has to leave out all.
        self._stopped = torch.maximum(self._stopped, (~torch.isfinite(loss.detach())).to(self._stopped.dtype))
        self.scaler.scale(loss * torch.where(self._stopped > 0, math.nan, 1.0)).backward()  # type: ignore[no-untyped-call]
        self.scaler.unscale_(self.optimizer)

    def _step(self, loss: Tensor, norm: Tensor) -> None:
        if self.scaler is not None:
            self.scaler.step(self.optimizer)  # not where a gradient is infinite, which it finds on the device
            self.scaler.update()
        elif not self.deferred:
            self.optimizer.step()
        else:
            bad = ~(torch.isfinite(loss) & torch.isfinite(norm))
            self._stopped = torch.maximum(self._stopped, bad.to(self._stopped.dtype))
            # The way of torch's own GradScaler into fused optimizers: they look at it on the device.
            self.optimizer.found_inf, self.optimizer.grad_scale = self._stopped, None  # type: ignore[attr-defined]
            try:
                self.optimizer.step()
            finally:
                del self.optimizer.found_inf, self.optimizer.grad_scale  # type: ignore[attr-defined]

    def take_unread(self) -> list[_Seen]:
        """Return what has not been looked at, and forget it."""
        unread, self._unread = self._unread, []
        return unread

    def state_dict(self) -> dict[str, Any]:
        state = {"network": self.network.state_dict(), "optimizer": self.optimizer.state_dict()}
        return state if self.scaler is None else {**state, "scaler": self.scaler.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.network.load_state_dict(state["network"], strict=True)
        self.optimizer.load_state_dict(state["optimizer"])
        if self.scaler is not None:
            self.scaler.load_state_dict(state["scaler"])


def check(networks: Sequence[Trained]) -> None:
    """Look at all updates that nobody has looked at, in one reading of the device.

    Raises:
        TrainingError: a loss or a gradient was NaN or infinite; the first is named. No weight has changed since.
    """
    seen = [(network, one) for network in networks for one in network.take_unread()]
    if not seen:
        return
    losses = torch.stack([one.loss for _, one in seen]).tolist()
    norms = torch.stack([one.norm for _, one in seen]).tolist()
    for (network, one), loss, norm in sorted(zip(seen, losses, norms, strict=True), key=lambda entry: entry[0][1].step):
        scaled = network.scaler is not None and network.scaler.get_scale() > _SMALLEST_SCALE
        if not math.isfinite(loss):
            what = f"the loss is {loss} on photographs {', '.join(one.ids)}"
        elif not math.isfinite(norm) and not scaled:
            what = f"the gradient is {norm} on photographs {', '.join(one.ids)} or another worker's"
        else:
            continue
        raise TrainingError(
            f"update {one.step}: {what}: lower optim.lr or remove the damaged photographs; the last checkpoint is kept"
        )


def _groups(network: nn.Module) -> list[dict[str, Any]]:
    """Return the trainable parameters, each group with its share of the learning rate."""
    groups = network.parameter_groups() if isinstance(network, ColorNet) else [(network.parameters(), 1.0)]
    return [{"params": [p for p in members if p.requires_grad], "share": share} for members, share in groups]
