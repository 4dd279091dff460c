"""Run the network: small lightness planes in, small color planes out; may run on another machine."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from raycolor.color import scale
from raycolor.colorizer.config import ColorizerConfig
from raycolor.errors import ConfigError
from raycolor.models.blocks import ColorNet
from raycolor.models.checkpoints import Checkpoint, load
from raycolor.models.fused import fuse
from raycolor.models.precision import choose_precision, without_tf32


class Predicted(NamedTuple):
    """The network's color and confidence for one page."""

    ab: NDArray[np.float32]
    """(h, w, 2), Lab units."""
    confidence: float | None


Predict = Callable[[Sequence[NDArray[np.float32]]], list[Predicted]]
"""Lightness planes (h, w) float32 in 0..100, of any sizes, to color for each; for a network that takes hints also
(h, w, 4), as `hints.as_input` makes them."""


class Predictor:
    """The network of a checkpoint, ready to color lightness planes on one device.

    Args:
        config: names the checkpoint, and says how it computes.
        checkpoint: that one, where it is loaded already.
        device: where the network runs: `cpu` or `cuda`.

    Raises:
        CheckpointError: the checkpoint cannot be loaded.
        ConfigError: a device that this machine has not.
    """

    def __init__(self, config: ColorizerConfig, checkpoint: Checkpoint | None = None, *, device: str = "cpu") -> None:
        self.config = config
        self.device = torch.device(device)
        if self.device.type == "cuda":
            if not torch.cuda.is_available():
                raise ConfigError("torch finds no GPU that works here: check its driver, or give --shape fused")
            # What a photograph becomes must depend on neither its neighbors nor what was measured at the start.
            torch.backends.cudnn.benchmark = False
            torch.backends.cudnn.deterministic = True
            without_tf32()
        network = (checkpoint or load(config.checkpoint)).model().to(self.device)
        # A network of others computes as it is.
        self.bf16 = network.fusible and choose_precision(config.precision, self.device) == "bf16"
        self.net: ColorNet = fuse(network, torch.bfloat16 if self.bf16 else torch.float32)

    def predict(self, L_small: Sequence[NDArray[np.float32]]) -> list[Predicted]:
        """Predict color for small lightness planes.

        The result never depends on the neighbors. On a CPU planes go through the network one by one, as a batch gains
        nothing there. On a GPU planes of one size share a batch, which always has `gpu_batch` places, filled or not:
        other sizes of batch may be computed in another order, and differ in the last digit.

        Args:
            L_small: planes (h, w) float32 in 0..100.

        Returns:
            Color per plane, and the confidence in it.
        """
        if self.device.type == "cpu":
            return [self._forward(plane[None])[0] for plane in L_small]
        return self._in_batches(L_small, self.config.gpu_batch)

    def _in_batches(self, L_small: Sequence[NDArray[np.float32]], places: int) -> list[Predicted]:
        results: dict[int, Predicted] = {}
        for shape in {plane.shape for plane in L_small}:
            members = [i for i, plane in enumerate(L_small) if plane.shape == shape]
            for start in range(0, len(members), places):
                some = members[start : start + places]
                batch = np.zeros((places, *shape), np.float32)
                for place, i in enumerate(some):
                    batch[place] = L_small[i]
                results.update(zip(some, self._forward(batch), strict=False))
        return [results[i] for i in range(len(L_small))]

    def _forward(self, L: NDArray[np.float32]) -> list[Predicted]:
        """Run the network on planes (n, h, w) or (n, h, w, 4); ConfigError where the GPU cannot hold them."""
        try:
            return self._compute(L)
        except torch.OutOfMemoryError as exc:
            raise ConfigError(
                f"--gpu-batch {self.config.gpu_batch}: the GPU's memory does not hold so many photographs of "
                f"{L.shape[2]} x {L.shape[1]} px at once: give a smaller --gpu-batch"
            ) from exc

    def _compute(self, L: NDArray[np.float32]) -> list[Predicted]:
        if L.ndim == 4:
            stacked = np.concatenate([scale.L_to_net(L[..., :1]), scale.ab_to_net(L[..., 1:3]), L[..., 3:]], axis=3)
            planes = np.ascontiguousarray(stacked.transpose(0, 3, 1, 2))
        else:
            planes = scale.L_to_net(L)[:, None]
        batch = torch.from_numpy(planes).to(self.device, memory_format=torch.channels_last)
        with torch.inference_mode(), torch.autocast(self.device.type, torch.bfloat16, enabled=self.bf16):
            ab_net, confidence = self.net.color_with(self.config.tta, batch)
        ab = scale.net_to_ab(ab_net.float()).permute(0, 2, 3, 1).cpu().numpy()
        confidences = [None] * len(ab) if confidence is None else confidence.float().cpu().tolist()
        return [Predicted(np.ascontiguousarray(one), c) for one, c in zip(ab, confidences, strict=True)]


class Batcher:
    """Collects the planes of callers in many threads into batches for one `Predict`.

    While one call runs, the next gathers: nobody waits for a batch to fill, and the busier it is, the fuller they are.

    Args:
        predict: is called from one thread alone.
        most: planes in one call, those of one caller staying together.
    """

    def __init__(self, predict: Predict, most: int) -> None:
        self._predict, self._most = predict, most
        self._waiting: queue.SimpleQueue[tuple[Sequence[NDArray[np.float32]], Future[list[Predicted]]]] = (
            queue.SimpleQueue()
        )
        threading.Thread(target=self._serve, name="network", daemon=True).start()

    def __call__(self, L_small: Sequence[NDArray[np.float32]]) -> list[Predicted]:
        """As `Predictor.predict`; raises what that raised on these planes or their neighbors."""
        answer: Future[list[Predicted]] = Future()
        self._waiting.put((L_small, answer))
        return answer.result()

    def _serve(self) -> None:
        while True:
            taken = [self._waiting.get()]
            while sum(len(planes) for planes, _ in taken) < self._most and not self._waiting.empty():
                taken.append(self._waiting.get())
            try:
                results = iter(self._predict([plane for planes, _ in taken for plane in planes]))
                for planes, answer in taken:
                    answer.set_result([next(results) for _ in planes])
            # Whatever it is, it belongs to those who wait; the next batch may do.
            except BaseException as exc:  # noqa: BLE001
                for _, answer in taken:
                    if not answer.done():
                        answer.set_exception(exc)
