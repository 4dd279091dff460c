"""Compare checkpoints on Ray Data: batches of a dataset through a pool of workers that hold every network."""

from __future__ import annotations

import logging
import pickle
import statistics
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import ray

from raycolor.cluster.placement import cluster_resources, worker_count
from raycolor.color.scale import ab_to_net
from raycolor.dataset.info import DatasetInfo, read_dataset, read_shard
from raycolor.dataset.shards import decode_shard
from raycolor.errors import ConfigError, DatasetError, RaycolorError
from raycolor.evaluate.examples import Pick, choose, rank_correlation
from raycolor.evaluate.measure import Evaluator, Measured, batch_size
from raycolor.evaluate.subjects import FLOORS, DatasetPlan, Subject, input_sizes, short_names, subject
from raycolor.evaluate.table import Row
from raycolor.models.checkpoints import Checkpoint, load
from raycolor.models.metrics import bootstrap_interval
from raycolor.storage import open_store

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Shown:
    """A chosen photograph: why, and its pictures: input, one per checkpoint, truth; (H, W, 3) uint8 each."""

    dataset: str
    pick: Pick
    pictures: list[np.ndarray[Any, Any]]


@dataclass(frozen=True)
class Comparison:
    """What an evaluation came to.

    Attributes:
        rows: of the table: per dataset the floors, then the checkpoints.
        shown: the chosen photographs.
        subjects: the checkpoints, in the order asked for.
        datasets: what the table calls each dataset -> its plan and its dataset.json.
        notes: sentences that belong to the table.
    """

    rows: list[Row]
    shown: list[Shown]
    subjects: dict[str, Subject]
    datasets: dict[str, tuple[DatasetPlan, DatasetInfo]]
    notes: list[str]


def evaluate(
    checkpoints: Sequence[str],
    data: Sequence[str],
    *,
    split: str = "val",
    network_size: int | None = None,
    images: int | None = None,
    precision: str = "auto",
    tta: str = "none",
    workers: int | None = None,
    use_gpu: bool | None = None,
    seed: int = 0,
    cache_dir: str | None = None,
    on_progress: Callable[[int, int], None] | None = None,
) -> Comparison:
    """Measure checkpoints and floors on datasets. Ray must be connected.

    Metrics do not depend on the number of workers: batches are fixed, and sums are merged in their order.

    Args:
        checkpoints: shipped names, folders or s3://bucket/prefix. This process reads them and sends them to workers.
        data: datasets made by `prepare`: folders or s3://bucket/prefix that every worker reaches.
        split: `val` or `train`.
        network_size: side of the center crop that networks see; 0: all that is stored; None: what each was trained on.
        images: at most this many photographs of each dataset, the first of the split.
        precision: `auto`, `fp32` or `bf16`.
        tta: `none`, or `flip`: colors are averaged with those of the mirrored photographs.
        workers: default: one per GPU, or one per CPU without GPUs.
        use_gpu: default: whether the cluster has GPUs.
        seed: of the bootstrap intervals.
        cache_dir: where workers keep decoded shards; default as `LabSplit`.
        on_progress: called with photographs done and in all.

    Raises:
        CheckpointError: a checkpoint is missing, damaged, or takes another size.
        DatasetError: a dataset is missing, of another version, damaged, or has no photographs in the split.
        ConfigError: a path named twice, a size larger than the photographs, or more workers than the cluster has.
        StorageError: a place cannot be reached.
    """
    names = short_names(checkpoints, FLOORS)
    labels = short_names(data)
    loaded = [load(source) for source in checkpoints]
    subjects = [subject(checkpoint) for checkpoint in loaded]
    infos = [read_dataset(open_store(uri, must_exist=True)) for uri in data]
    plans = [
        _plan(uri, info, split, images, subjects, network_size) for uri, info in zip(data, infos, strict=True)
    ]  # fmt: skip
    gpu, pool_size = _placement(workers, use_gpu)
    means, notes = _mean_colors(data, labels, infos)
    plans = [replace(plan, mean_ab_net=mean) for plan, mean in zip(plans, means, strict=True)]

    options = {"device": "cuda" if gpu else "cpu", "precision": precision, "tta": tta, "cache_dir": cache_dir}
    pool = _Pool(loaded, plans, gpu, pool_size, options)
    size = batch_size("cuda" if gpu else "cpu")
    tasks = [(number, step) for number, plan in enumerate(plans) for step in range(-(-plan.images // size))]
    total, done = sum(plan.images for plan in plans), 0
    found: dict[tuple[int, int], Measured] = {}
    for task, measured in pool.run("measure", tasks):
        found[task] = measured
        done += measured.images
        if on_progress is not None:
            on_progress(done, total)

    rows: list[Row] = []
    picked: list[tuple[int, Pick]] = []
    for number, plan in enumerate(plans):
        mine = [found[task] for task in tasks if task[0] == number]
        merged = _merge(mine)
        rows += _rows(labels[number], plan, names, subjects, mine, merged, seed)
        picked += [(number, pick) for pick in choose(merged)]
    if tta == "flip":
        notes.append("Colors are the mean of those of each photograph and of its mirror image; images/s are of both.")
    pictures = dict(pool.run("pictures", [(number, pick.index) for number, pick in picked]))
    return Comparison(
        rows=rows,
        shown=[Shown(labels[number], pick, pictures[number, pick.index]) for number, pick in picked],
        subjects=dict(zip(names, subjects, strict=True)),
        datasets={label: (plan, info) for label, plan, info in zip(labels, plans, infos, strict=True)},
        notes=notes,
    )


def _plan(
    uri: str,
    info: DatasetInfo,
    split: str,
    images: int | None,
    subjects: Sequence[Subject],
    network_size: int | None,
) -> DatasetPlan:
    """Check that a dataset can be measured, before anything is started."""
    count = sum(shard.rows for shard in info.shards if shard.split == split)
    if not count:
        have = ", ".join(f"{name} {number:,}" for name, number in info.counts.items()) or "nothing"
        raise DatasetError(
            f"{uri}: no photographs in split {split!r} (it holds {have}): give another --split or prepare it again"
        )
    sizes = input_sizes(subjects, stored_px=info.image_size, wanted_px=network_size, dataset=uri)
    return DatasetPlan(uri, split, min(count, images or count), sizes, min(sizes))


def _placement(workers: int | None, use_gpu: bool | None) -> tuple[bool, int]:
    """Return whether GPUs are used, and how many workers."""
    gpus = int(cluster_resources().get("GPU", 0))
    if use_gpu and not gpus:
        raise ConfigError("--use-gpu: the cluster has no GPU: leave it out to measure on CPUs")
    if not gpus or use_gpu is False:
        return False, worker_count(workers)
    if workers is not None and workers > gpus:
        raise ConfigError(f"--workers {workers}: the cluster has {gpus} GPUs: ask for at most {gpus}")
    return True, workers or gpus


def _mean_colors(
    data: Sequence[str], labels: Sequence[str], infos: Sequence[DatasetInfo]
) -> tuple[list[tuple[float, float]], list[str]]:
    """Return the mean color of each dataset's train split, network units, and what is to be said about it."""
    tasks = [
        {"dataset": number, "shard": at}
        for number, info in enumerate(infos)
        for at, shard in enumerate(info.shards)
        if shard.split == "train"
    ]
    if not tasks:
        raise DatasetError(
            f"{data[0]}: no photographs in train, whose mean is the floor 'mean color': "
            "add a dataset that has some with --data, or prepare it again"
        )

    def add_up(batch: dict[str, np.ndarray[Any, Any]]) -> dict[str, list[bytes]]:
        number, at = int(batch["dataset"][0]), int(batch["shard"][0])
        try:
            return {"result": [pickle.dumps((number, _sum_of_shard(data[number], infos[number], at)))]}
        except RaycolorError as exc:
            return {"result": [pickle.dumps(exc)]}

    shards = ray.data.from_items(tasks, override_num_blocks=len(tasks)).map_batches(add_up, batch_size=1, num_cpus=1)
    totals = np.zeros((len(infos), 3), dtype=np.int64)  # integers: the order of the shards changes nothing
    for number, sums in _results(shards):
        totals[number] += sums
    first = int(totals[:, 2].nonzero()[0][0])
    notes = []
    for number in range(len(infos)):
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
class _Pool:
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
        yield from _results(done)


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


def _results(dataset: ray.data.Dataset) -> Iterator[Any]:
    """Yield what workers returned; raise what they could not do."""
    for row in dataset.iter_rows():
        result = pickle.loads(row["result"])
        if isinstance(result, RaycolorError):
            raise result
        yield result


def _merge(batches: Sequence[Measured]) -> Measured:
    """Put the batches of one dataset together, in the order given; the first one takes in the others."""
    first = batches[0]
    count = sum(batch.images for batch in batches)
    whole = Measured(count, first.sums, first.st_lpips, [], first.device, first.precision)
    for batch in batches[1:]:
        for mine, theirs in zip(whole.sums, batch.sums, strict=True):
            mine.merge(theirs)
        for values, more in zip(whole.st_lpips, batch.st_lpips, strict=True):
            values.extend(more)
    return whole


def _rows(
    label: str,
    plan: DatasetPlan,
    names: Sequence[str],
    subjects: Sequence[Subject],
    batches: Sequence[Measured],
    merged: Measured,
    seed: int,
) -> list[Row]:
    """Make the rows of one dataset; `merged` is all of `batches`."""
    rows = []
    for number, (method, sums) in enumerate(zip([*FLOORS, *names], merged.sums, strict=True)):
        metrics = sums.result(seed=seed)
        if merged.st_lpips:
            values = merged.st_lpips[number]
            low, high = bootstrap_interval(values, seed)
            metrics["st_lpips"] = {"value": float(np.mean(values)), "low": low, "high": high}
        row = Row(
            dataset=label,
            method=method,
            n=len(sums.ids),
            metrics=metrics,
            colorfulness_truth=float(np.mean(sums.values["colorfulness_truth"])),
            measured_px=plan.measured_px,
        )
        if number >= len(FLOORS):
            at = number - len(FLOORS)
            row = replace(
                row,
                checkpoint=subjects[at].source,
                weights_sha256=subjects[at].weights_sha256,
                parameters=subjects[at].parameters,
                input_px=plan.sizes_px[at],
                images_per_second=_rate(batches, at),
                device=", ".join(sorted({batch.device for batch in batches})),
                precision=merged.precision,
                confidence_rank=rank_correlation(sums, seed) if "confidence" in sums.values else None,
            )
        rows.append(row)
    return rows


def _rate(batches: Sequence[Measured], checkpoint: int) -> float:
    """Return images per second of one worker: the median over full batches, which one hiccup does not move."""
    counted = [(batch.images, batch.seconds[checkpoint]) for batch in batches]
    full = max(count for count, _ in counted)
    return statistics.median(count / max(seconds, 1e-9) for count, seconds in counted if count == full)
