"""One update of the weights per method: pixel loss alone, or a generator against its discriminator."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from raycolor.models.blocks import ColorNet
from raycolor.models.checkpoints import Checkpoint
from raycolor.models.gan import PatchDiscriminator
from raycolor.models.losses import discriminator_loss, generator_adversarial_loss, pixel_loss
from raycolor.training.objective import Objective
from raycolor.training.trained import MovingAverage, StepSettings, Trained, Wrap, autocast, check


class UpdateStep(ABC):
    """One update per batch, and everything needed to go on later.

    Attributes:
        network: that is trained and shipped.
        settings: how weights are updated.
        deferred: losses stay on the device, and `check` says what was wrong.
    """

    def __init__(self, network: ColorNet, settings: StepSettings, device: torch.device, **trained: Trained) -> None:
        """Take what is trained, by the names that its states have in checkpoints."""
        self.network, self.settings, self.device = network, settings, device
        self._trained = trained
        self.deferred = next(iter(trained.values())).deferred
        self._average = MovingAverage(network, settings.optim.ema) if settings.optim.ema > 0 else None

    @abstractmethod
    def _update(self, L_net: Tensor, ab_net: Tensor, ids: Sequence[str], step: int) -> dict[str, float | Tensor]:
        """Update the weights; see `update`."""

    def update(self, L_net: Tensor, ab_net: Tensor, ids: Sequence[str], step: int) -> dict[str, float | Tensor]:
        """Update on a batch: (B, 1, H, W) and (B, 2, H, W) on the step's device; `step` counts from 0.

        Returns:
            The losses, `loss` among them: numbers, or on the device if `deferred`.

        Raises:
            TrainingError: the loss or a gradient is NaN or infinite; the weights are left as they were. If `deferred`,
                they are so, too, and `check` says it.
        """
        for trained in self._trained.values():
            trained.network.train()
        losses = self._update(L_net.contiguous(memory_format=torch.channels_last), ab_net, ids, step)
        if self._average is not None:
            self._average.update(self.network, step)
        return losses

    def check(self) -> None:
        """Look at the updates that have not been looked at; waits for the device.

        Raises:
            TrainingError: a loss or a gradient of one of them is NaN or infinite.
        """
        check(list(reversed(self._trained.values())))  # the discriminator is updated before the generator

    def predictor(self) -> ColorNet:
        """Return the network to validate and to ship: the moving average if there is one; set it to evaluation."""
        return (self._average.network if self._average is not None else self.network).eval()

    def state_dict(self) -> dict[str, Any]:
        """Return weights and optimizer states: plain values and tensors."""
        average = self._average.network.state_dict() if self._average is not None else None
        return {**{name: trained.state_dict() for name, trained in self._trained.items()}, "average": average}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from what `state_dict` returned."""
        for name, trained in self._trained.items():
            # Runs of an earlier raycolor have the discriminator under another name.
            trained.load_state_dict(state["judge" if name == "discriminator" and "judge" in state else name])
        if self._average is not None:
            self._average.network.load_state_dict(state["average"], strict=True)

    def _reported(self, losses: Mapping[str, Tensor]) -> dict[str, float | Tensor]:
        """Return losses as numbers, or, if `deferred`, on the device, without waiting for them."""
        return {name: term.detach() if self.deferred else float(term.detach()) for name, term in losses.items()}


def _identity(module: nn.Module) -> nn.Module:
    return module


class PixelStep(UpdateStep):
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
        self._objective = Objective(network, settings.loss, device, teacher)
        self._one = Trained(network, settings.optim.lr, settings, device, wrap)
        super().__init__(network, settings, device, trained=self._one)

    def _update(self, L_net: Tensor, ab_net: Tensor, ids: Sequence[str], step: int) -> dict[str, float | Tensor]:
        with autocast(self.device, self.settings.precision):
            output = self._objective.predict(self._one.forward, L_net, step)
            losses = self._objective.loss(output, L_net, ab_net, step)
        value = self._one.apply(losses.pop("loss"), ids, step)
        return {"loss": value, **self._reported(losses)}


class GanStep(UpdateStep):
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
        self.discriminator = discriminator
        self._generator = Trained(network, settings.optim.lr, settings, device, wrap)
        self._adversary = Trained(discriminator, settings.optim.discriminator_lr, settings, device, wrap)
        super().__init__(network, settings, device, generator=self._generator, discriminator=self._adversary)

    def _update(self, L_net: Tensor, ab_net: Tensor, ids: Sequence[str], step: int) -> dict[str, float | Tensor]:
        """Return as `loss` the generator's; its parts and the discriminator's stand beside it."""
        chosen, precision = self.settings.loss, self.settings.precision
        with autocast(self.device, precision):
            fake = self._generator.forward(L_net).float()
            # One forward for both: two under DistributedDataParallel break batch normalization (pytorch#175024).
            logits = self._adversary.forward(torch.cat([L_net, L_net]), torch.cat([ab_net, fake.detach()]))
        real_logits, fake_logits = logits.chunk(2)
        found = discriminator_loss(chosen.adversarial, real_logits, fake_logits)
        discriminator_error = self._adversary.apply(found, ids, step)

        # The generator's gradient runs through the discriminator without changing it, so the bare module will do:
        # its wrapper would wait for gradients of the discriminator that never come.
        self.discriminator.requires_grad_(False)
        try:
            with autocast(self.device, precision):
                verdict = self.discriminator(L_net, fake)
            # Section 2.7 of the report with `l1`, its equation (2) with `mse`.
            adversarial = generator_adversarial_loss(chosen.adversarial, verdict)
            pixel = pixel_loss(chosen.pixel_loss, fake, ab_net)
            value = self._generator.apply(adversarial + chosen.lambda_pixel * pixel, ids, step)
        finally:
            self.discriminator.requires_grad_(True)
        parts = self._reported({"pixel": pixel, "adversarial": adversarial})
        return {"loss": value, **parts, "discriminator": discriminator_error}
