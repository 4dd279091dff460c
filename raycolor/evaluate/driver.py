"""Compare checkpoints on Ray Data: settings in, a table of every metric and a page out."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from typing import Any

from raycolor.cluster import session
from raycolor.cluster.placement import cluster_resources, worker_count
from raycolor.dataset.info import DatasetInfo, read_dataset
from raycolor.errors import ConfigError, DatasetError
from raycolor.evaluate.comparison import Comparison, Shown, make_rows, merge
from raycolor.evaluate.config import EvaluateConfig
from raycolor.evaluate.examples import Pick, choose
from raycolor.evaluate.measure import Measured, batch_size
from raycolor.evaluate.report import EvaluateResult, print_table, write_report
from raycolor.evaluate.subjects import FLOORS, DatasetPlan, Subject, input_sizes, short_names, subject
from raycolor.evaluate.table import Row
from raycolor.evaluate.worker import Pool, mean_colors
from raycolor.models.card import say_license
from raycolor.models.checkpoints import load
from raycolor.progress import Progress
from raycolor.storage import absolute, open_store

_PROBE = "summary.json.check"


def run(config: EvaluateConfig) -> int:
    """Compare checkpoints and print the table; see `compare` for what is raised."""
    progress = Progress("evaluate", None, "photographs")

    def show(done: int, total: int) -> None:
        progress.total = total
        progress.update(done - progress.done)

    print_table(evaluate(config, show, progress))
    return 0


def evaluate(
    config: EvaluateConfig,
    on_progress: Callable[[int, int], None] | None = None,
    display: AbstractContextManager[Any] | None = None,
) -> EvaluateResult:
    """Join or start Ray, compare checkpoints, and write the report.

    Args:
        config: what is compared, and where the report goes.
        on_progress: called with photographs done and in all.
        display: entered as soon as Ray is there, and left when all is measured.

    Raises:
        StorageError: `out` cannot be written.
        RaycolorError: as `compare`.
    """
    started = time.monotonic()
    out = open_store(absolute(config.out))
    # Found out now, not after an hour of measuring.
    out.put(_PROBE, b"")
    out.delete(_PROBE)
    with (
        session.connect(config.address, scale_to=config.scale_to, gpu=bool(config.use_gpu)),
        display or nullcontext(),
    ):
        comparison = compare(config, on_progress=on_progress)
    return write_report(out, comparison, settings=config.model_dump(mode="json"), seconds=time.monotonic() - started)


def compare(
    config: EvaluateConfig,
    *,
    cache_dir: str | None = None,
    on_progress: Callable[[int, int], None] | None = None,
) -> Comparison:
    """Measure checkpoints and floors on datasets. Ray must be connected.

    Metrics do not depend on the number of workers: batches are fixed, and sums are merged in their order.

    Args:
        config: this process reads the checkpoints and sends them to workers; every worker reaches the datasets.
        cache_dir: where workers keep decoded shards; default as `LabSplit`.
        on_progress: called with photographs done and in all.

    Raises:
        CheckpointError: a checkpoint is missing, damaged, or takes another size.
        DatasetError: a dataset is missing, of another version, damaged, or has no photographs in the split.
        ConfigError: a path named twice, a size larger than the photographs, or more workers than the cluster has.
        StorageError: a place cannot be reached.
    """
    data = [absolute(uri) for uri in config.data]
    names = short_names(config.checkpoint, FLOORS)
    labels = short_names(data)
    loaded = [load(source) for source in config.checkpoint]
    for name, checkpoint in zip(names, loaded, strict=True):
        if checkpoint.card is not None:
            say_license(name, checkpoint.card)
    subjects = [subject(checkpoint) for checkpoint in loaded]
    infos = [read_dataset(open_store(uri, must_exist=True)) for uri in data]
    plans = [_plan(uri, info, subjects, config) for uri, info in zip(data, infos, strict=True)]
    gpu, pool_size = _placement(config.workers, config.use_gpu)
    means, notes = mean_colors(data, labels, infos)
    plans = [replace(plan, mean_ab_net=mean) for plan, mean in zip(plans, means, strict=True)]

    device = "cuda" if gpu else "cpu"
    options = {"device": device, "precision": config.precision, "tta": config.tta, "cache_dir": cache_dir}
    pool = Pool(loaded, plans, gpu, pool_size, options)
    size = batch_size(device)
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
        merged = merge(mine)
        rows += make_rows(labels[number], plan, names, subjects, mine, merged, config.seed)
        picked += [(number, pick) for pick in choose(merged)]
    if config.tta == "flip":
        notes.append("Colors are the mean of those of each photograph and of its mirror image; images/s are of both.")
    pictures = dict(pool.run("pictures", [(number, pick.index) for number, pick in picked]))
    return Comparison(
        rows=rows,
        shown=[Shown(labels[number], pick, pictures[number, pick.index]) for number, pick in picked],
        subjects=dict(zip(names, subjects, strict=True)),
        datasets={label: (plan, info) for label, plan, info in zip(labels, plans, infos, strict=True)},
        notes=notes,
    )


def _plan(uri: str, info: DatasetInfo, subjects: Sequence[Subject], config: EvaluateConfig) -> DatasetPlan:
    """Check that a dataset can be measured, before anything is started."""
    count = sum(shard.rows for shard in info.shards if shard.split == config.split)
    if not count:
        have = ", ".join(f"{name} {number:,}" for name, number in info.counts.items()) or "nothing"
        raise DatasetError(
            f"{uri}: no photographs in split {config.split!r} (it holds {have}): "
            "give another --split or prepare it again"
        )
    sizes = input_sizes(subjects, stored_px=info.image_size, wanted_px=config.network_size, dataset=uri)
    return DatasetPlan(uri, config.split, min(count, config.images or count), sizes, min(sizes))


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
