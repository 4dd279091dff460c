"""Run the network: small lightness planes in, small color planes out; may run on another machine."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from raycolor.color import scale
from raycolor.colorizer.config import ColorizerConfig
from raycolor.errors import ConfigError, ShapeError
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

Begin = Callable[[Sequence[NDArray[np.float32]]], Callable[[], list[Predicted]]]
"""Begins one pass over planes of one size; what it returns waits for the pass and gives the color of each."""


def as_sent(plane: NDArray[np.float32]) -> NDArray[np.float32]:
    """Round L or ab to float16, as it travels between machines: by 0.03 at most, L or Lab units.

    Every colorizer rounds, so that it does not matter where the network runs.
    """
    # Rounds as NumPy does, in a twentieth of the time.
    return np.asarray(torch.from_numpy(plane).half().float())


class Predictor:
    """The network of a checkpoint, ready to color lightness planes on one device.

    Args:
        config: names the checkpoint, and says how it computes.
        checkpoint: that one, where it is loaded already.
        device: where the network runs: `cpu` or `cuda`.
        places: planes in each pass; by default `gpu_batch` on a GPU. On a CPU it is 1, as a batch gains nothing there.

    Raises:
        CheckpointError: the checkpoint cannot be loaded.
        ConfigError: a device that this machine has not.
    """

    def __init__(
        self,
        config: ColorizerConfig,
        checkpoint: Checkpoint | None = None,
        *,
        device: str = "cpu",
        places: int | None = None,
    ) -> None:
        self.config = config
        self.device = torch.device(device)
        on_gpu = self.device.type == "cuda"
        if on_gpu:
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
        self.places = places or (config.gpu_batch if on_gpu else 1)
        self.ahead = 2 if on_gpu else 1
        """Passes to begin before the first is waited for: while one computes, the next is copied."""
        self._copying: Any = torch.cuda.Stream() if on_gpu else None  # type: ignore[no-untyped-call]
        self._returning: Any = torch.cuda.Stream() if on_gpu else None  # type: ignore[no-untyped-call]

    def predict(self, L_small: Sequence[NDArray[np.float32]]) -> list[Predicted]:
        """Predict color for small lightness planes; the result never depends on the neighbors.

        Args:
            L_small: planes (h, w) float32 in 0..100.

        Returns:
            Color per plane, and the confidence in it.
        """
        results: dict[int, Predicted] = {}
        begun: deque[tuple[list[int], Callable[[], list[Predicted]]]] = deque()

        def finish() -> None:
            members, wait = begun.popleft()
            results.update(zip(members, wait(), strict=True))

        for shape in {plane.shape for plane in L_small}:
            members = [i for i, plane in enumerate(L_small) if plane.shape == shape]
            for start in range(0, len(members), self.places):
                some = members[start : start + self.places]
                begun.append((some, self.begin([L_small[i] for i in some])))
                if len(begun) == self.ahead:
                    finish()
        while begun:
            finish()
        return [results[i] for i in range(len(L_small))]

    def begin(self, planes: Sequence[NDArray[np.float32]]) -> Callable[[], list[Predicted]]:
        """Begin one pass over at most `places` planes of one size; see `Begin`. On a CPU it is over at once.

        A pass always has `places` places, filled or not: other sizes of batch may be computed in another order, and
        differ in the last digit.

        Raises:
            ShapeError: more planes, or none, or of several sizes.
            ConfigError: they do not fit into the GPU's memory.
        """
        shapes = {plane.shape for plane in planes}
        if len(shapes) != 1 or len(planes) > self.places:
            raise ShapeError(f"{len(planes)} planes, {len(shapes)} sizes: a pass takes 1 to {self.places} of one size")
        try:
            return self._begin_on_cpu(planes) if self._copying is None else self._begin_on_gpu(planes)
        except torch.OutOfMemoryError as exc:
            height, width = planes[0].shape[:2]
            raise ConfigError(
                f"--gpu-batch {self.config.gpu_batch}: the GPU's memory does not hold so many photographs of "
                f"{width} x {height} px at once: give a smaller --gpu-batch"
            ) from exc

    def _begin_on_cpu(self, planes: Sequence[NDArray[np.float32]]) -> Callable[[], list[Predicted]]:
        batch = np.zeros((self.places, *planes[0].shape), np.float32)
        for place, plane in enumerate(planes):
            batch[place] = plane
        ab, confidence = self._color(_in_network_units(torch.from_numpy(batch)))
        return lambda: _apart(ab, confidence, len(planes))

    def _begin_on_gpu(self, planes: Sequence[NDArray[np.float32]]) -> Callable[[], list[Predicted]]:
        """Copy, compute and copy back on three streams, so that copies of one pass go beside another's computing."""
        # Pinned blocks come from torch's pool, which gives none out again before the copy from it is over.
        pinned = torch.empty((self.places, *planes[0].shape), dtype=torch.float16, pin_memory=True)
        places = pinned.numpy()
        places[len(planes) :] = 0
        for place, plane in enumerate(planes):
            places[place] = plane
        computing = torch.cuda.current_stream()
        with torch.cuda.stream(self._copying):
            L = pinned.to(self.device, non_blocking=True)
        computing.wait_stream(self._copying)
        L.record_stream(computing)
        ab, confidence = self._color(_in_network_units(L.float()))
        self._returning.wait_stream(computing)
        with torch.cuda.stream(self._returning):
            ab_back = _copy_back(ab.half())
            confidence_back = None if confidence is None else _copy_back(confidence)
            for tensor in (ab, confidence):
                if tensor is not None:
                    tensor.record_stream(self._returning)
            # By default a wait takes the CPU meanwhile.
            done = torch.cuda.Event(blocking=True)  # type: ignore[no-untyped-call]
            done.record()

        def wait() -> list[Predicted]:
            done.synchronize()
            return _apart(ab_back, confidence_back, len(planes))

        return wait

    def _color(self, L_net: Tensor) -> tuple[Tensor, Tensor | None]:
        """Run the network on (n, c, h, w): ab (n, h', w', 2), Lab units, and confidence (n,), both on the device."""
        batch = L_net.to(self.device, memory_format=torch.channels_last)
        with torch.inference_mode(), torch.autocast(self.device.type, torch.bfloat16, enabled=self.bf16):
            ab_net, confidence = self.net.color_with(self.config.tta, batch)
            ab = scale.net_to_ab(ab_net.float()).permute(0, 2, 3, 1)
            return ab, None if confidence is None else confidence.float()


def _in_network_units(planes: Tensor) -> Tensor:
    """Return what a network reads, (n, 1, h, w) or with hints (n, 4, h, w), of planes (n, h, w) or (n, h, w, 4)."""
    if planes.ndim == 3:
        return scale.L_to_net(planes)[:, None]
    stacked = planes.permute(0, 3, 1, 2)
    return torch.cat([scale.L_to_net(stacked[:, :1]), scale.ab_to_net(stacked[:, 1:3]), stacked[:, 3:]], dim=1)


def _copy_back(tensor: Tensor) -> Tensor:
    pinned = torch.empty(tensor.shape, dtype=tensor.dtype, pin_memory=True)
    return pinned.copy_(tensor, non_blocking=True)


def _apart(ab: Tensor, confidence: Tensor | None, count: int) -> list[Predicted]:
    """Return what the first places of a pass hold."""
    colors = ab[:count].float().numpy()
    confidences = [None] * count if confidence is None else confidence[:count].tolist()
    return [Predicted(np.ascontiguousarray(one), c) for one, c in zip(colors, confidences, strict=True)]
