"""The network of the bulk job in actors of its own: one per GPU, asked by workers that decode and encode on CPUs.

What travels is small: lightness planes there, color planes back as the network computes them, both as float16: some
0.2 MB a photograph whatever its size, and 0.06 MB of these back, which Ray sends within its answer. Pixels stay in the
worker that decoded them, which has other photographs to compute in the meantime.
"""

from __future__ import annotations

import asyncio
import os
import socket
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any, Final

import ray

from raycolor.cluster.arithmetic import describe, unfit
from raycolor.cluster.errors import last_line
from raycolor.cluster.fingerprint import made_of
from raycolor.cluster.placement import elsewhere, free_gpus
from raycolor.colorize.ask_network import ActorGoneError, Answers, Asking
from raycolor.colorize.execution import Execution
from raycolor.colorize.messages import Network, NetworkGoneError, PassFailedError
from raycolor.colorize.speeds import Speeds, measure_network, measure_photographs
from raycolor.colorizer.batches import Batcher, settle
from raycolor.colorizer.config import ColorizerConfig
from raycolor.errors import ConfigError, RaycolorError
from raycolor.machine import limit_instructions
from raycolor.sources import Input, Reader

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from raycolor.colorizer.predict import Predicted

_CALLS: Final = 10_000  # at a time: more than all workers have
_START_S: Final = 200.0  # an actor may take to start; none is missed for less
_PLACE_S: Final = 30.0
_MEASURE_S: Final = 120.0  # for a process to start, a network to load, and some photographs
_EXIT_HUNG: Final = 70
_REPLY_S: Final = 2.0  # for answers on their way, before an actor whose network hangs ends itself
_ENDS: Final = "its network hung or failed, and it is started anew"


class NetworkActor:
    """Holds a network and answers many workers at once, in passes over planes of one size.

    Args:
        make: makes the network, given settings and device.
        config: its settings.
        device: `cpu` or `cuda`.
        computed_with: what the job is computed with; "" for anything.
        drivers: code and libraries of the driver, which this node must have, too.
        timeout_s: seconds after which a pass has hung. Its callers are told so, and the actor ends; Ray starts it anew.

    Raises:
        ConfigError: on this node colors would differ.
    """

    def __init__(
        self,
        make: Callable[[ColorizerConfig, str], Network],
        config: ColorizerConfig,
        device: str,
        computed_with: str,
        drivers: Mapping[str, str | None],
        timeout_s: float,
    ) -> None:
        why = unfit(describe(device), computed_with, config.precision, device, drivers)
        if why is not None:
            raise ConfigError(f"node {socket.gethostname()}: {why}")
        limit_instructions(computed_with)
        import torch

        torch.set_num_threads(1)
        network = make(config, device)
        self._batches = Batcher(network.begin, network.places, ahead=network.ahead)
        self._timeout_s, self._on_gpu, self._ends = timeout_s, device == "cuda", False
        threading.Thread(target=self._watch, name="watch", daemon=True).start()

    async def ready(self) -> None:
        """Answer: the network is loaded, and this process lives and goes on living."""
        if self._ends:
            raise NetworkGoneError(_ENDS)

    async def predict(self, alone: bool, planes: NDArray[np.float16]) -> Any:
        """Return for each of the planes (n, h, w) ab (h', w', 2) float16 and confidence, or a `RaycolorError`."""
        if self._ends:
            found: list[object] = [NetworkGoneError(_ENDS)] * len(planes)
        else:
            asked = [self._batches.ask(plane.astype("float32"), alone=alone) for plane in planes]
            found = await asyncio.gather(*map(self._answered, asked))
        return tuple(found) if len(found) > 1 else found[0]

    async def _answered(self, answer: Future[Any]) -> object:
        try:
            ab, confidence = await asyncio.wrap_future(answer)
        except RaycolorError as exc:
            known = isinstance(exc, PassFailedError | NetworkGoneError | ConfigError)
            return exc if known else PassFailedError(f"the network failed: {exc}")
        # A defect, or a photograph that the network fails on: it is found out which.
        except Exception as exc:  # noqa: BLE001
            why = f"the network failed: {type(exc).__name__}: {exc}"
            if self._on_gpu:
                # After an error of its kernels a process can compute nothing more on a GPU.
                threading.Thread(target=self._end, args=[why], daemon=True).start()
            return PassFailedError(why)
        return ab.astype("float16"), confidence

    def _watch(self) -> None:
        """End this process if a pass hangs, once those who wait for it know."""
        while True:
            time.sleep(min(1.0, self._timeout_s / 4))
            hung = self._batches.hung(self._timeout_s)
            if hung:
                why = f"the network took more than {self._timeout_s:.0f} s over it"
                for answer in hung:
                    settle(answer, PassFailedError(why))
                self._end(why)

    def _end(self, why: str) -> None:
        """Hand back what this process owes, and end it; Ray starts another one."""
        self._ends = True
        for answer in self._batches.owed():
            settle(answer, NetworkGoneError(_ENDS))
        time.sleep(_REPLY_S)
        sys.stderr.write(f"raycolor: {why}: this actor ends, and another one is started\n")
        sys.stderr.flush()
        os._exit(_EXIT_HUNG)


class RemoteNetwork:
    """The network as workers see it: a `Predict` that asks the actors; picklable."""

    def __init__(self, actors: Sequence[Any], timeout_s: float) -> None:
        self._actors, self._timeout_s = list(actors), timeout_s
        self._asking: Asking | None = None
        self._lock = threading.Lock()

    def __reduce__(self) -> tuple[type[RemoteNetwork], tuple[list[Any], float]]:
        return type(self), (self._actors, self._timeout_s)

    def __call__(self, L_small: Sequence[NDArray[np.float32]]) -> list[Predicted]:
        """As `Asking`."""
        with self._lock:
            if self._asking is None:
                self._asking = Asking([_RayPeer(actor) for actor in self._actors], self._timeout_s)
        return self._asking(L_small)


class _RayPeer:
    """An actor of Ray as a `Peer`."""

    def __init__(self, actor: Any) -> None:
        self._actor = actor

    def ping(self, done: Callable[[Callable[[], object]], None]) -> None:
        self._then([self._actor.ready.remote()], lambda refs: done(lambda: _get(refs)))

    def ask(self, planes: NDArray[np.float16], alone: bool, done: Callable[[Callable[[], Answers]], None]) -> None:
        # An answer for each, as those below 100 KB need no shared memory.
        refs = self._actor.predict.options(num_returns=len(planes)).remote(alone, planes)
        self._then(refs if isinstance(refs, list) else [refs], lambda refs: done(lambda: _colors(_get(refs))))

    @staticmethod
    def _then(refs: list[Any], act: Callable[[list[Any]], None]) -> None:
        # They all come at once. In Ray's own thread nothing may be asked of Ray.
        refs[0].future().add_done_callback(lambda _: act(refs))


def _get(refs: list[Any]) -> list[Any]:
    try:
        found: list[Any] = ray.get(refs, timeout=_START_S)
    except ray.exceptions.ActorDiedError as exc:
        raise ActorGoneError(last_line(exc), for_good=True) from exc
    except ray.exceptions.RayError as exc:
        raise ActorGoneError(last_line(exc)) from exc
    return found


def _colors(answers: list[Any]) -> Answers:
    from raycolor.colorizer.predict import Predicted

    return [one if isinstance(one, RaycolorError) else Predicted(one[0].astype("float32"), one[1]) for one in answers]


def load_network(config: ColorizerConfig, device: str) -> Network:
    """Load the network of a checkpoint on this machine."""
    from raycolor.colorizer.predict import Predictor

    return Predictor(config, device=device)


def start_networks(
    execution: Execution,
    config: ColorizerConfig,
    timeout_s: float,
    make: Callable[[ColorizerConfig, str], Network] = load_network,
) -> RemoteNetwork:
    """Start the actors and return what workers ask; Ray starts one anew that dies.

    Args:
        execution: how many, on what device, and where not.
        config: settings of the network.
        timeout_s: seconds after which a pass over planes has hung, and longest wait while no actor lives.
        make: see `NetworkActor`.
    """
    gpus = execution.networks if execution.device == "cuda" else 0
    before = free_gpus() if gpus else 0.0
    # Whoever is asked again decides itself what: a plane that ends an actor shall not end all of them.
    kind = ray.remote(NetworkActor).options(
        max_restarts=-1,
        max_task_retries=0,
        max_concurrency=_CALLS,
        num_cpus=1,
        num_gpus=1 if gpus else 0,
        **elsewhere(execution.left_out),
    )
    made_from = (make, config, execution.device, execution.computed_with, made_of(), timeout_s)
    actors = [kind.remote(*made_from) for _ in range(execution.networks)]
    # Workers take every CPU that they find: first the networks get theirs, which must be beside a GPU.
    deadline = time.monotonic() + _PLACE_S
    while gpus and free_gpus() > before - gpus and time.monotonic() < deadline:
        time.sleep(0.1)
    return RemoteNetwork(actors, max(timeout_s, _START_S))


def measure(
    config: ColorizerConfig,
    reader: Reader,
    inputs: Sequence[Input],
    left_out: Sequence[str] = (),
    make: Callable[[ColorizerConfig, str], Network] = load_network,
) -> Speeds:
    """Measure on a GPU and on a CPU of the connected cluster at a time what photographs of a job cost.

    Raises:
        RaycolorError: one of them does not answer in time, or cannot compute.
    """
    here = elsewhere(left_out)
    on_gpu: Any = ray.remote(measure_network).options(num_cpus=1, num_gpus=1, max_retries=1, **here)
    on_cpu: Any = ray.remote(measure_photographs).options(num_cpus=1, max_retries=0, **here)
    asked = [on_gpu.remote(make, config, "cuda"), on_cpu.remote(config, reader, list(inputs))]
    try:
        try:
            network_s, rest_s = ray.get(asked[1], timeout=_MEASURE_S)
        except ray.exceptions.RayError:
            # A photograph may be the reason.
            network_s, rest_s = ray.get(on_cpu.remote(config, reader, []), timeout=_MEASURE_S)
        return Speeds(ray.get(asked[0], timeout=_MEASURE_S), network_s, rest_s)
    except ray.exceptions.RayError as exc:
        # Not what has ended: Ray ends a process that cancels by force what it does not know any more.
        for one in ray.wait(asked, num_returns=len(asked), timeout=0)[1]:
            ray.cancel(one, force=True)
        raise RaycolorError(last_line(exc)) from exc
