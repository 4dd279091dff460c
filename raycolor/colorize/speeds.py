"""What a job's photographs cost on the devices that there are, and whether GPUs for the network make it faster."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from raycolor.colorize.messages import Network
from raycolor.colorizer.config import ColorizerConfig
from raycolor.errors import RaycolorError
from raycolor.sources import Input, Reader

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from raycolor.colorizer.photograph import FileColorizer

PHOTOGRAPHS: Final = 6
"""Of the job that are colorized to find out what one costs."""
_PASSES: Final = 4  # of the network
_MEASURE_S: Final = 5.0  # after which no further pass is begun
_FILLED: Final = 0.9  # of a GPU's time that a job with mixed sizes uses (`benchmarks/staged.py`)
_ASK_S: Final = 0.001  # of a worker's CPU, to send planes to a GPU (`benchmarks/staged.py`)


class Speeds(NamedTuple):
    """What was measured."""

    gpu_per_s: float
    """Planes of the network's size that a GPU colors."""
    network_s: float
    """Of one CPU, for the network on one photograph."""
    rest_s: float
    """Of one CPU, for decoding, shrinking, enlarging, joining and encoding one photograph; 0 if none could be read."""


def expected(speeds: Speeds, cpus: int, gpus: int) -> tuple[float, float]:
    """Return photographs a second that the CPUs make alone, and those that they make with GPUs for the network.

    Args:
        speeds: as measured.
        cpus: for workers, without GPUs.
        gpus: each takes one of the CPUs.
    """
    alone = cpus / (speeds.network_s + speeds.rest_s)
    others = max(cpus - gpus, 0) / (speeds.rest_s + _ASK_S)
    return alone, min(_FILLED * gpus * speeds.gpu_per_s, others)


def measure_network(make: Callable[[ColorizerConfig, str], Network], config: ColorizerConfig, device: str) -> float:
    """Return planes a second that a device of this machine colors, in full passes; the first one is not counted.

    Raises:
        RaycolorError: the network cannot be loaded there, or does not compute.
    """
    network = make(config, device)
    planes = [_plane(config)] * network.places
    network.begin(planes)()
    begun, passes = time.monotonic(), 0
    while passes < _PASSES and time.monotonic() - begun < _MEASURE_S:
        for wait in [network.begin(planes) for _ in range(network.ahead)]:
            wait()
            passes += 1
    return passes * network.places / (time.monotonic() - begun)


def measure_photographs(config: ColorizerConfig, reader: Reader, inputs: Sequence[Input]) -> tuple[float, float]:
    """Return CPU seconds of the network and of all else for one photograph, means over some of the job's.

    What cannot be read or colorized is passed over. The clock is this process's own, so that waits do not count.
    """
    import torch

    from raycolor.colorizer.photograph import FileColorizer

    torch.set_num_threads(1)
    colorizer = FileColorizer(config)
    plane, begun = _plane(config), time.monotonic()
    colorizer.predict([plane])
    started = time.process_time()
    colorizer.predict([plane])
    network_s, rest = time.process_time() - started, list[float]()
    for info in inputs:
        if time.monotonic() - begun > _MEASURE_S:
            break
        with suppress(RaycolorError):
            data = reader.get(info)
            if not rest:
                colorizer.colorize(data)  # code is compiled and loaded
            rest += _rest_s(colorizer, data)
    return network_s, sum(rest) / len(rest) if rest else 0.0


def _rest_s(colorizer: FileColorizer, data: bytes) -> list[float]:
    """Return the CPU seconds of one photograph but for the network; none if it needs none."""
    from raycolor.colorizer.photograph import Colorized

    started = time.process_time()
    prepared = colorizer.prepare(data)
    if isinstance(prepared, Colorized):
        return []
    before = time.process_time() - started
    predicted = colorizer.predict(prepared.L_small)
    started = time.process_time()
    colorizer.finish(prepared, predicted)
    return [before + time.process_time() - started]


def _plane(config: ColorizerConfig) -> NDArray[Any]:
    """Return the lightness of a square photograph at the size at which the network sees it."""
    from raycolor.colorize.in_process import TEST_PICTURE
    from raycolor.colorizer.photograph import FileColorizer, Prepared

    prepared = FileColorizer(config, predict=lambda planes: []).prepare(TEST_PICTURE)
    assert isinstance(prepared, Prepared)
    return prepared.L_small[0]
