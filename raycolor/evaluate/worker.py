"""Evaluation on Ray Data: the mean colors of datasets, and a pool of workers that hold every network."""

from __future__ import annotations

import pickle
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import ray

from raycolor.cluster.errors import answers
from raycolor.color.scale import ab_to_net
from raycolor.dataset.info import DatasetInfo, read_shard
from raycolor.dataset.shards import decode_shard
from raycolor.errors import RaycolorError
from raycolor.evaluate.measure import Evaluator
from raycolor.evaluate.subjects import DatasetPlan
from raycolor.models.checkpoints import Checkpoint
from raycolor.storage import open_store


def mean_colors(
    datasets: Mapping[str, tuple[DatasetPlan, DatasetInfo]],
) -> tuple[list[tuple[float, float]], list[str]]:
    """Return the mean color of each dataset's train split, network units, and notes about it."""
    labels, found = list(datasets), list(datasets.values())
    tasks = [
        {"dataset": number, "shard": at}
        for number, (_, info) in enumerate(found)
        for at, shard in enumerate(info.shards)
        if shard.split == "train"
    ]

    def add_up(batch: dict[str, np.ndarray[Any, Any]]) -> dict[str, list[bytes]]:
        number, at = int(batch["dataset"][0]), int(batch["shard"][0])
        try:
            return {"result": [pickle.dumps((number, _sum_of_shard(found[number][0].uri, found[number][1], at)))]}
        except RaycolorError as exc:
            return {"result": [pickle.dumps(exc)]}

    shards = ray.data.from_items(tasks, override_num_blocks=len(tasks)).map_batches(add_up, batch_size=1, num_cpus=1)
    totals = np.zeros((len(found), 3), dtype=np.int64)  # integers: the order of the shards changes nothing
    for number, sums in answers(shards, "result"):
        totals[number] += sums
    first = int(totals[:, 2].nonzero()[0][0])
    notes = []
    for number in range(len(found)):
        if not totals[number, 2]:
            notes.append(f"{labels[number]} has no photographs to train on: its mean color is that of {labels[first]}.")
            totals[number] = totals[first]
    return [(float(ab_to_net(a / n)), float(ab_to_net(b / n))) for a, b, n in totals.tolist()], notes


def _sum_of_shard(uri: str, info: DatasetInfo, at: int) -> list[int]:
    """Return the sums of a and of b over a shard, Lab units, and its number of pixels."""
    shard = info.shards[at]
    store = open_store(uri)
    column = decode_shard(read_shard(store, shard), f"{store.uri}/{shard.path}").column("ab")
    totals = np.zeros(3, dtype=np.int64)
    for cell in column:
        ab = np.frombuffer(cell.as_buffer(), np.int8).reshape(2, -1)
        totals += [*ab.sum(axis=1, dtype=np.int64), ab.shape[1]]
    return [int(total) for total in totals]


@dataclass(frozen=True)
class Pool:
    """Runs batches through workers that hold every network."""

    checkpoints: Sequence[Checkpoint]
    plans: Sequence[DatasetPlan]
    gpu: bool
    workers: int
    options: dict[str, Any]
    """Of `Evaluator`."""

    def run(self, what: str, tasks: Sequence[tuple[int, int]]) -> Iterator[tuple[tuple[int, int], Any]]:
        """Yield each task and its result, in whatever order they finish.

        Args:
            what: `measure` or `pictures`, the method of `Evaluator`.
            tasks: (dataset, second argument of the method).
        """
        rows = [{"dataset": dataset, "at": at} for dataset, at in tasks]
        done = ray.data.from_items(rows, override_num_blocks=len(rows)).map_batches(
            _Worker,
            # By value: a checkpoint in a folder of this machine is then one on every node.
            fn_constructor_kwargs={
                "checkpoints": ray.put(list(self.checkpoints)),
                "options": self.options,
                "plans": list(self.plans),
                "what": what,
            },
            batch_size=1,
            num_cpus=1,
            num_gpus=1 if self.gpu else None,
            compute=ray.data.ActorPoolStrategy(size=min(self.workers, len(rows))),
        )
        yield from answers(done, "result")


class _Worker:
    """A pool member: holds one `Evaluator` and speaks Ray Data's batches."""

    def __init__(self, checkpoints: Any, options: dict[str, Any], plans: list[DatasetPlan], what: str) -> None:
        import torch

        # One thread per worker, whatever their number: sums over threads would change the last digits.
        torch.set_num_threads(1)
        if isinstance(checkpoints, ray.ObjectRef):
            checkpoints = ray.get(checkpoints)
        self._plans = plans
        self._call = getattr(Evaluator(checkpoints, **options), what)

    def __call__(self, batch: dict[str, np.ndarray[Any, Any]]) -> dict[str, list[bytes]]:
        dataset, at = int(batch["dataset"][0]), int(batch["at"][0])
        # A user's error travels as data: an exception would be retried, and end in a traceback.
        try:
            return {"result": [pickle.dumps(((dataset, at), self._call(self._plans[dataset], at)))]}
        except RaycolorError as exc:
            return {"result": [pickle.dumps(exc)]}
