"""Measure checkpoints and floors on a batch of photographs: metrics, timing, pictures."""

from __future__ import annotations

import contextlib
import importlib
import io
import platform
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from raycolor.color.resize import resize_area
from raycolor.color.scale import net_to_ab, net_to_L
from raycolor.dataset.info import read_dataset
from raycolor.dataset.loading import Batch, batches
from raycolor.dataset.shards import LabSplit
from raycolor.errors import CheckpointError
from raycolor.evaluate.subjects import DatasetPlan, subject
from raycolor.models.checkpoints import Checkpoint
from raycolor.models.fused import fuse
from raycolor.models.metrics import MetricSums, constant_color, to_pixels, to_rgb
from raycolor.models.precision import choose_precision, without_tf32
from raycolor.storage import open_store


def batch_size(device_type: str) -> int:
    """Return how many photographs share a batch: enough to fill the device; it never depends on the workers."""
    return 64 if device_type == "cuda" else 16


@dataclass
class Measured:
    """The measurements of one batch, per row of the table: the floors, then the checkpoints.

    Attributes:
        images: how many photographs.
        sums: metrics of each row.
        st_lpips: per row one number per image; empty where the package is not installed.
        seconds: per checkpoint the seconds that the network took for the batch.
        device: name of the device.
        precision: `bf16` or `fp32`.
    """

    images: int
    sums: list[MetricSums]
    st_lpips: list[list[float]]
    seconds: list[float]
    device: str
    precision: str


class Evaluator:
    """Holds the networks of a comparison on one device and measures batches of photographs."""

    def __init__(
        self, checkpoints: Sequence[Checkpoint], *, device: str = "cpu", precision: str = "auto",
        tta: str = "none", cache_dir: str | None = None,
    ) -> None:  # fmt: skip
        """Build the networks.

        Args:
            checkpoints: what is compared.
            device: where the networks run, `cpu` or `cuda`.
            precision: `auto` (bf16 where the device computes it natively), `fp32` or `bf16`.
            tta: `none`, or `flip`: the mean with the color of the mirrored photograph.
            cache_dir: where decoded shards are kept; default as `LabSplit`.
        """
        self.checkpoints, self.cache_dir, self.device = checkpoints, cache_dir, torch.device(device)
        self.bf16 = choose_precision(precision, self.device) == "bf16"
        without_tf32()
        self.tta = tta
        # As `colorize` computes them: what is measured is what users get.
        dtype = torch.bfloat16 if self.bf16 else torch.float32
        networks = [checkpoint.model() for checkpoint in self.checkpoints]
        self._subjects = [subject(*pair) for pair in zip(self.checkpoints, networks, strict=True)]
        self._networks = [fuse(network.to(self.device), dtype) for network in networks]
        self._splits: dict[tuple[str, str], LabSplit] = {}
        self._warm: set[tuple[int, torch.Size]] = set()
        self._st_lpips = load_st_lpips(self.device)

    def measure(self, plan: DatasetPlan, step: int) -> Measured:
        """Measure one batch of a dataset.

        Args:
            plan: the dataset.
            step: batch of photographs [step * B, (step + 1) * B), B = `batch_size`.

        Raises:
            DatasetError: a shard is missing or damaged.
            CheckpointError: a network predicts what is no number.
        """
        batch = self._batch(plan, step)
        L, truth = (_center(plane, plan.measured_px) for plane in (batch.L_net, batch.ab_net))
        predicted = [constant_color(truth), constant_color(truth, plan.mean_ab_net)]
        confidences: list[list[float] | None] = [None, None]
        seconds = []
        for number, size_px in enumerate(plan.sizes_px):
            ab, confidence, took = self._predict(number, _center(batch.L_net, size_px), batch.ids)
            predicted.append(_center(ab, plan.measured_px))
            confidences.append(confidence)
            seconds.append(took)
        sums: list[MetricSums] = []
        st_lpips: list[list[float]] = []
        for ab, confidence in zip(predicted, confidences, strict=True):
            one = MetricSums()
            # The first of them is gray itself.
            one.add(L, ab, truth, batch.ids, sums[0].values["delta_e00"] if sums else None)
            if confidence is not None:
                one.values["confidence"] = confidence
            sums.append(one)
            if self._st_lpips is not None:
                pictures = (to_rgb(net_to_L(L), net_to_ab(plane)) for plane in (ab, truth))
                with torch.inference_mode():
                    found = self._st_lpips(*pictures, normalize=True)
                st_lpips.append([float(number) for number in found.flatten().cpu()])
        precision = "bf16" if self.bf16 else "fp32"
        return Measured(len(batch.ids), sums, st_lpips, seconds, device_name(self.device), precision)

    def pictures(self, plan: DatasetPlan, index: int) -> list[NDArray[np.uint8]]:
        """Return one photograph as input (gray), as each checkpoint colors it, and as it was: (H, W, 3) each."""
        size = batch_size(self.device.type)
        # The whole batch it was measured in: with another batch size the last digits may differ.
        batch = self._batch(plan, index // size)
        row = slice(index % size, index % size + 1)
        L, truth = (_center(plane, plan.measured_px)[row] for plane in (batch.L_net, batch.ab_net))
        planes = [constant_color(truth)]
        for number, size_px in enumerate(plan.sizes_px):
            ab, _, _ = self._predict(number, _center(batch.L_net, size_px), batch.ids)
            planes.append(_center(ab, plan.measured_px)[row])
        return [to_pixels(L, ab)[0] for ab in (*planes, truth)]

    def _batch(self, plan: DatasetPlan, step: int) -> Batch:
        """Read a batch at its stored size, on the device."""
        key = (plan.uri, plan.split)
        if key not in self._splits:
            store = open_store(plan.uri)
            self._splits[key] = LabSplit(read_dataset(store), store, plan.split, self.cache_dir)
        split, size = self._splits[key], batch_size(self.device.type)
        found = next(
            batches(
                split, epoch=0, seed=0, batch_size=size, crop_px=split.size_px,
                training=False, start_step=step, prefetch=0,
            )
        )  # fmt: skip
        count = min(size, plan.images - step * size)
        return Batch(found.L_net[:count].to(self.device), found.ab_net[:count].to(self.device), found.ids[:count])

    def _predict(self, number: int, L_net: Tensor, ids: Sequence[str]) -> tuple[Tensor, list[float] | None, float]:
        """Return ab (B, 2, H, W), network units, the confidence of the network, and the seconds that it took."""
        network, crop = self._networks[number], L_net.shape[2:]
        side = self._subjects[number].shown_px(crop[0])
        if crop != (side, side):
            planes = [resize_area(plane, side, side) for plane in L_net[:, 0].cpu().numpy()]
            L_net = torch.from_numpy(np.stack(planes))[:, None].to(L_net.device)
        L_net = L_net.contiguous(memory_format=torch.channels_last)
        bf16 = self.bf16 and network.fusible  # as in `colorize`, a network of others computes as it is
        with torch.inference_mode(), torch.autocast(self.device.type, torch.bfloat16, enabled=bf16):
            if (number, L_net.shape) not in self._warm:
                network.color(L_net)  # the first call of a shape chooses and compiles kernels: not what is to be timed
                self._warm.add((number, L_net.shape))
            self._wait()
            started = time.perf_counter()
            ab_net, confidence = network.color_with(self.tta, L_net)
            self._wait()
            took = time.perf_counter() - started
        ab_net = ab_net.float()
        if ab_net.shape[2:] != crop:  # a fused network leaves the last doubling out
            ab_net = torch.nn.functional.interpolate(
                ab_net, size=crop, mode="bilinear", align_corners=False, antialias=ab_net.shape[2] > crop[0]
            )
        finite = torch.isfinite(ab_net).flatten(1).all(1)
        if not bool(finite.all()):
            first = ids[int((~finite).nonzero()[0])]
            raise CheckpointError(
                f"{self.checkpoints[number].source}: predicts NaN (photograph {first}): "
                "try --precision fp32, or train it again"
            )
        return ab_net, None if confidence is None else confidence.float().cpu().tolist(), took

    def _wait(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)


def _center(planes: Tensor, size_px: int) -> Tensor:
    """Cut the center square out of (B, C, c, c), at the pixel where `batches` cuts it.

    A center of a center is the center of the whole, for strides make all network sizes even.
    """
    at = (planes.shape[-1] - size_px) // 2
    return planes[:, :, at : at + size_px, at : at + size_px]


def load_st_lpips(device: torch.device) -> Any | None:
    """Return shift-tolerant LPIPS (AlexNet), which takes two RGB batches, or None where its package is missing.

    Source: Ghildyal & Liu 2022, arXiv:2207.13686, package `stlpips-pytorch`, which brings its weights.
    """
    try:
        stlpips = importlib.import_module("stlpips_pytorch.stlpips")
    except ImportError:
        return None
    with contextlib.redirect_stdout(io.StringIO()):  # it prints where its weights lie
        metric = stlpips.LPIPS(net="alex", variant="shift_tolerant", verbose=False)
    return metric.to(device)


def device_name(device: torch.device) -> str:
    """Name a device as in `NVIDIA H100` or `1 thread of Intel Xeon ...`."""
    if device.type == "cuda":
        return str(torch.cuda.get_device_name(device))
    threads = torch.get_num_threads()
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        text = ""
    models = [line.partition(":")[2].strip() for line in text.splitlines() if line.startswith("model name")]
    name = models[0] if models else platform.machine()
    return f"{threads} thread{'s' if threads > 1 else ''} of {name}"
