"""One update of the weights per method: pixel loss alone, or a generator against its discriminator."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from raycolor.models.blocks import ColorNet
from raycolor.models.checkpoints import Checkpoint
from raycolor.models.gan import PatchDiscriminator
from raycolor.models.losses import discriminator_loss, generator_loss
from raycolor.training.objective import Objective
from raycolor.training.trained import MovingAverage, StepSettings, Trained, Wrap, autocast, check


class UpdateStep(Protocol):
    """One update per batch, and everything needed to go on later."""

    network: ColorNet
    settings: StepSettings

    deferred: bool

    def update(self, L_net: Tensor, ab_net: Tensor, ids: Sequence[str], step: int) -> dict[str, float | Tensor]:
        """Update on a batch: (B, 1, H, W) and (B, 2, H, W) on the step's device; `step` counts from 0.

        Returns:
            The losses, `loss` among them: numbers, or on the device if `deferred`.

        Raises:
            TrainingError: the loss or a gradient is NaN or infinite; the weights are left as they were. If `deferred`,
                they are so, too, and `check` says it.
        """
        ...

    def check(self) -> None:
        """Look at the updates that have not been looked at; waits for the device.

        Raises:
            TrainingError: a loss or a gradient of one of them is NaN or infinite.
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


def _reported(losses: Mapping[str, Tensor], deferred: bool) -> dict[str, float | Tensor]:
    """Return losses as numbers, or, if `deferred`, on the device, without waiting for them."""
    return {name: term.detach() if deferred else float(term.detach()) for name, term in losses.items()}


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
        self._trained = Trained(network, settings.optim.lr, settings, device, wrap)
        self.deferred = self._trained.deferred
        self._average = MovingAverage(network, settings.optim.ema) if settings.optim.ema > 0 else None

    def update(self, L_net: Tensor, ab_net: Tensor, ids: Sequence[str], step: int) -> dict[str, float | Tensor]:
        """See `UpdateStep.update`."""
        self.network.train()
        L_net = L_net.contiguous(memory_format=torch.channels_last)
        with autocast(self.device, self.settings.precision):
            output = self._objective.predict(self._trained.forward, L_net, step)
            losses = self._objective.loss(output, L_net, ab_net, step)
        value = self._trained.apply(losses.pop("loss"), ids, step)
        if self._average is not None:
            self._average.update(self.network, step)
        return {"loss": value, **_reported(losses, self.deferred)}

    def check(self) -> None:
        """See `UpdateStep.check`."""
        check([self._trained])

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
        self._generator = Trained(network, settings.optim.lr, settings, device, wrap)
        self.deferred = self._generator.deferred
        self._adversary = Trained(discriminator, settings.optim.discriminator_lr, settings, device, wrap)
        self._average = MovingAverage(network, settings.optim.ema) if settings.optim.ema > 0 else None

    def update(self, L_net: Tensor, ab_net: Tensor, ids: Sequence[str], step: int) -> dict[str, float | Tensor]:
        """See `UpdateStep.update`; `loss` is the generator's, its parts and the discriminator's stand beside it."""
        settings = self.settings
        self.network.train()
        self.discriminator.train()
        L_net = L_net.contiguous(memory_format=torch.channels_last)
        with autocast(self.device, settings.precision):
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
            with autocast(self.device, settings.precision):
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
            **_reported({"pixel": loss.pixel, "adversarial": loss.adversarial}, self.deferred),
            "discriminator": discriminator_error,
        }

    def check(self) -> None:
        """See `UpdateStep.check`."""
        check([self._adversary, self._generator])

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
