"""Batches for training and validation: a seeded order, crops and flips, whatever the number of workers."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from functools import lru_cache
from typing import NamedTuple

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from raycolor.color.scale import L_to_net, ab_to_net, bytes_to_L
from raycolor.dataset.augment import crop_window, vary
from raycolor.dataset.config import AugmentConfig
from raycolor.dataset.shards import LabSplit
from raycolor.errors import DatasetError, ShapeError


class Batch(NamedTuple):
    """What one training or validation step reads."""

    L_net: torch.Tensor
    """(B, 1, c, c) float32, network units."""
    ab_net: torch.Tensor
    """(B, 2, c, c) float32, network units."""
    ids: tuple[str, ...]
    """Key of each photograph."""


def steps_per_epoch(split: LabSplit, *, world_size: int, batch_size: int) -> int:
    """Return how many batches each rank gets in one epoch of training.

    Photographs that do not fill the last global batch wait for another epoch, whose order differs.

    Raises:
        DatasetError: the split does not fill one global batch.
    """
    steps = len(split) // (batch_size * world_size)
    if steps == 0:
        raise DatasetError(
            f"{split.name} holds {len(split)} photographs, fewer than one batch of {batch_size} on each of "
            f"{world_size} workers: take a smaller batch or fewer workers"
        )
    return steps


def batches(
    split: LabSplit,
    *,
    epoch: int,
    seed: int,
    rank: int = 0,
    world_size: int = 1,
    batch_size: int,
    crop_px: int,
    flip: bool = True,
    start_step: int = 0,
    training: bool | None = None,
    prefetch: int = 3,
    threads: int = 1,
    pin: bool = False,
    augment: AugmentConfig | None = None,
) -> Iterator[Batch]:
    """Yield this rank's batches of one epoch.

    In training, photographs come in a random order that (seed, epoch) alone decides; global batch k is entries
    [k·G, (k+1)·G) of that order, G = batch_size · world_size, and rank r takes the r-th piece of it, so all ranks make
    the same number of steps. Crop and flip follow from (seed, epoch, index of the photograph): neither workers nor
    their timing nor a restart changes what a photograph looks like in an epoch.

    Otherwise (validation) each photograph comes exactly once over all ranks, in order, with a center crop and
    unflipped; the last batch may be smaller, and ranks may differ by one batch.

    Args:
        split: what to read.
        epoch: counted from 0; gives another order, other crops and flips.
        seed: of the training.
        rank: this worker, in [0, world_size).
        world_size: number of workers.
        batch_size: photographs per batch and worker.
        crop_px: side of the crops.
        flip: mirror half of the photographs (training only).
        start_step: batches to leave out without reading them.
        training: default: whether the split is called `train`.
        prefetch: batches prepared ahead by a background thread; 0 prepares them in the caller's.
        threads: photographs of a batch prepared at once.
        pin: into memory that a GPU copies from while the CPU goes on; needs one.
        augment: how photographs are varied (training only); decided by (seed, epoch, index), too.

    Raises:
        ShapeError: the crop is larger than the stored photographs.
        DatasetError: the split does not fill one global batch.
    """
    if not 0 < crop_px <= split.size_px:
        raise ShapeError(f"crop of {crop_px} pixels out of photographs of {split.size_px}: take 1..{split.size_px}")
    if training is None:
        training = split.name == "train"
    if training:
        order = np.random.default_rng([seed, epoch]).permutation(len(split))
        steps = steps_per_epoch(split, world_size=world_size, batch_size=batch_size)
        mine = order[: steps * world_size * batch_size].reshape(steps, world_size, batch_size)[:, rank]
        pieces = list(mine)
        tops, lefts, flips = _crops(order, seed, epoch, split.size_px - crop_px)
        if not flip:
            flips[:] = False
    else:
        own = np.arange(len(split))[rank::world_size]
        pieces = [own[start : start + batch_size] for start in range(0, len(own), batch_size)]
        tops = lefts = np.full(len(split), (split.size_px - crop_px) // 2)
        flips = np.zeros(len(split), dtype=np.bool_)
    varied = augment if training and augment is not None and augment.is_on else None

    def fill(index: int, L_out: NDArray[np.float32], ab_out: NDArray[np.float32]) -> None:
        window, flip = (int(tops[index]), int(lefts[index]), crop_px), bool(flips[index])
        if varied is None:
            _cut(split.planes(index), window, flip, L_out, ab_out)
            return
        rng = np.random.default_rng([seed, epoch, index])
        if varied.zoom < 1:
            window = crop_window(varied, rng, split.size_px, crop_px)
        _cut(split.planes(index), window, flip, L_out, ab_out)
        vary(varied, rng, L_out[0], ab_out)

    made = _make(split, pieces[start_step:], crop_px, fill, threads, pin)
    return _prefetched(made, prefetch) if prefetch > 0 else made


def _make(
    split: LabSplit,
    pieces: list[NDArray[np.int64]],
    crop_px: int,
    fill: Callable[[int, NDArray[np.float32], NDArray[np.float32]], None],
    threads: int,
    pin: bool,
) -> Iterator[Batch]:
    """Yield a batch for each piece; `fill` writes one photograph, given by its index, into L and ab."""
    with ThreadPoolExecutor(threads) if threads > 1 else nullcontext() as pool:
        for piece in pieces:
            indices: list[int] = piece.tolist()
            L_net, ab_net = (
                torch.empty((len(indices), channels, crop_px, crop_px), dtype=torch.float32, pin_memory=pin)
                for channels in (1, 2)
            )
            rows = indices, L_net.numpy(), ab_net.numpy()
            list(map(fill, *rows) if pool is None else pool.map(fill, *rows))
            yield Batch(L_net, ab_net, tuple(split.id(index) for index in indices))


def _cut(
    planes: tuple[NDArray[np.uint8], NDArray[np.int8]],
    window: tuple[int, int, int],
    flip: bool,
    L_out: NDArray[np.float32],
    ab_out: NDArray[np.float32],
) -> None:
    """Write a square (top, left, side) of a photograph, resized: L_out (1, c, c) in [-1, 1], ab_out (2, c, c)."""
    (L, ab), (top, left, side) = planes, window
    crop_px = L_out.shape[-1]
    L_table, ab_table = _tables()
    for plane, table, out in (
        (L, L_table, L_out[0]),
        (ab[0].view(np.uint8), ab_table, ab_out[0]),
        (ab[1].view(np.uint8), ab_table, ab_out[1]),
    ):
        crop = plane[top : top + side, left : left + side]
        # A table of 256 entries in one pass of OpenCV, which drops the GIL; mirrored while still one byte per pixel.
        values = cv2.LUT(cv2.flip(crop, 1) if flip else crop, table, dst=out if side == crop_px else None)
        if side != crop_px:
            smooth = cv2.INTER_AREA if side > crop_px else cv2.INTER_LINEAR
            cv2.resize(values, (crop_px, crop_px), dst=out, interpolation=smooth)
    if side != crop_px:
        # Weights that sum to a hair more than 1 take black to -1.0000002, of which nothing can take a root.
        np.clip(L_out, -1, 1, out=L_out)


@lru_cache(maxsize=1)
def _tables() -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return network units of every stored byte: of L, and of a or b read as unsigned."""
    codes = np.arange(256, dtype=np.uint8)
    L_table = np.asarray(L_to_net(bytes_to_L(codes)), dtype=np.float32)
    ab_table = np.asarray(ab_to_net(codes.view(np.int8).astype(np.float32)), dtype=np.float32)
    return L_table, ab_table


def _crops(
    indices: NDArray[np.int64], seed: int, epoch: int, slack_px: int
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.bool_]]:
    """Return top, left (0..slack_px) and flip by photograph, each decided by (seed, epoch, index) alone."""
    n = len(indices)
    base = np.random.SeedSequence([seed, epoch]).generate_state(1, np.uint64)[0]
    mixed = _splitmix(np.arange(n, dtype=np.uint64) + base)
    tops = _splitmix(mixed ^ np.uint64(1)) % np.uint64(slack_px + 1)
    lefts = _splitmix(mixed ^ np.uint64(2)) % np.uint64(slack_px + 1)
    flips = (_splitmix(mixed ^ np.uint64(3)) >> np.uint64(63)).astype(np.bool_)
    return tops.astype(np.int64), lefts.astype(np.int64), flips


def _splitmix(x: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Scramble 64-bit numbers. Source: S. Vigna, splitmix64.c (public domain), https://prng.di.unimi.it."""
    x = x + np.uint64(0x9E3779B97F4A7C15)
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


def _prefetched(source: Iterator[Batch], depth: int) -> Iterator[Batch]:
    """Run `source` in a thread, `depth` batches ahead; its exceptions are raised here."""
    pool = ThreadPoolExecutor(1, thread_name_prefix="raycolor-batches")
    try:
        ahead = deque(pool.submit(next, source, None) for _ in range(depth))
        while (batch := ahead.popleft().result()) is not None:
            ahead.append(pool.submit(next, source, None))
            yield batch
    finally:
        pool.shutdown(cancel_futures=True)
