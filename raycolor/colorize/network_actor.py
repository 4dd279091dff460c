"""The network of the bulk job in actors of its own: one per GPU, asked by workers that decode and encode on CPUs.

What travels is small: lightness planes there, color planes back, some 0.4 MB a photograph whatever its size. Pixels
stay in the worker that decoded them, which has other photographs to compute in the meantime.
"""

from __future__ import annotations

import itertools
import random
import socket
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import ray

from raycolor.cluster.arithmetic import describe, unfit
from raycolor.cluster.errors import last_line
from raycolor.cluster.placement import elsewhere
from raycolor.colorize.execution import Execution
from raycolor.colorize.messages import NetworkGoneError
from raycolor.colorizer.config import ColorizerConfig
from raycolor.errors import ConfigError
from raycolor.machine import limit_instructions

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from raycolor.colorizer.predict import Predicted

_CALLS = 1024  # that may wait in one actor: more than there are workers to call


class NetworkActor:
    """Holds a network and answers many workers at once, in batches."""

    def __init__(self, config: ColorizerConfig, device: str, computed_with: str) -> None:
        why = unfit(describe(device), computed_with, config.precision, device)
        if why is not None:
            raise ConfigError(f"node {socket.gethostname()}: {why}")
        limit_instructions(computed_with)
        import torch

        from raycolor.colorizer.predict import Batcher, Predictor

        torch.set_num_threads(1)
        self._ask = Batcher(Predictor(config, device=device).predict, config.gpu_batch if device == "cuda" else 1)

    def predict(self, L_small: Sequence[NDArray[np.float32]]) -> list[Predicted]:
        """As `Predictor.predict`."""
        return self._ask(L_small)


class RemoteNetwork:
    """The network as workers see it: a `Predict` that asks one actor after the other; picklable."""

    def __init__(self, actors: Sequence[Any], timeout_s: float) -> None:
        self._actors, self._timeout_s = list(actors), timeout_s
        self._next_actor = itertools.count(random.randrange(len(self._actors)))

    def __reduce__(self) -> tuple[type[RemoteNetwork], tuple[list[Any], float]]:
        return type(self), (self._actors, self._timeout_s)

    def __call__(self, L_small: Sequence[NDArray[np.float32]]) -> list[Predicted]:
        """Ask, and wait.

        Raises:
            NetworkGoneError: no answer, or one that no photograph can be the reason of.
        """
        actor = self._actors[next(self._next_actor) % len(self._actors)]
        try:
            predicted: list[Predicted] = ray.get(actor.predict.remote(list(L_small)), timeout=self._timeout_s)
        except (ray.exceptions.RayError, ray.exceptions.RayTaskError) as exc:
            why = last_line(exc)
            raise NetworkGoneError(f"the network's actor does not answer ({why}): run the same command again") from exc
        return predicted


def start_networks(execution: Execution, config: ColorizerConfig, timeout_s: float) -> RemoteNetwork:
    """Start the actors and return what workers ask; Ray starts one anew that dies, and asks it again."""
    needs = {"num_gpus": 1, "num_cpus": 0} if execution.device == "cuda" else {"num_cpus": 1}
    kind = ray.remote(NetworkActor).options(
        max_restarts=-1, max_task_retries=-1, max_concurrency=_CALLS, **needs, **elsewhere(execution.left_out)
    )
    actors = [kind.remote(config, execution.device, execution.computed_with) for _ in range(execution.networks)]
    return RemoteNetwork(actors, timeout_s)
