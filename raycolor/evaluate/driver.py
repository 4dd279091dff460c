"""Compare checkpoints on Ray Data: settings in, a table of every metric and a page out."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from typing import Any

from raycolor.cluster import session
from raycolor.cluster.placement import gpus_to_use, worker_count
from raycolor.errors import ConfigError
from raycolor.evaluate.check import Checked, check
from raycolor.evaluate.comparison import Comparison, Shown, make_rows, merge
from raycolor.evaluate.config import EvaluateConfig
from raycolor.evaluate.examples import Pick, choose
from raycolor.evaluate.measure import Measured, batch_size
from raycolor.evaluate.report import EvaluateResult, print_table, write_report
from raycolor.evaluate.table import Row
from raycolor.evaluate.worker import Pool, mean_colors
from raycolor.progress import Progress
from raycolor.storage import absolute, open_store

_PROBE = "summary.json.check"


def run(config: EvaluateConfig) -> int:
    """Compare checkpoints and print the table; see `evaluate` for what is raised."""
    progress = Progress("evaluate", None, "photographs")
    print_table(evaluate(config, progress.reach, progress))
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
        RaycolorError: as `check` and `compare`.
    """
    started = time.monotonic()
    checked = check(config)
    out = open_store(absolute(config.out))
    # Found out now, not after an hour of measuring.
    out.put(_PROBE, b"")
    out.delete(_PROBE)
    with (
        session.connect(config.address, scale_to=config.scale_to, gpu=bool(config.use_gpu)),
        display or nullcontext(),
    ):
        comparison = compare(checked, on_progress=on_progress)
    return write_report(out, comparison, settings=config.model_dump(mode="json"), seconds=time.monotonic() - started)


def compare(
    checked: Checked,
    *,
    cache_dir: str | None = None,
    on_progress: Callable[[int, int], None] | None = None,
) -> Comparison:
    """Measure checkpoints and floors on datasets. Ray must be connected.

    Metrics do not depend on the number of workers: batches are fixed, and sums are merged in their order.

    Args:
        checked: its checkpoints are sent to workers; every worker reaches the datasets.
        cache_dir: where workers keep decoded shards; default as `LabSplit`.
        on_progress: called with photographs done and in all.

    Raises:
        DatasetError: a shard is missing or damaged.
        ConfigError: more workers than the cluster has.
        StorageError: a place cannot be reached.
    """
    config, labels = checked.config, list(checked.datasets)
    gpu, pool_size = _placement(config.workers, config.use_gpu)
    means, notes = mean_colors(checked.datasets)
    plans = [replace(plan, mean_ab_net=mean) for (plan, _), mean in zip(checked.datasets.values(), means, strict=True)]

    device = "cuda" if gpu else "cpu"
    options = {"device": device, "precision": config.precision, "tta": config.tta, "cache_dir": cache_dir}
    pool = Pool(checked.checkpoints, plans, gpu, pool_size, options)
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
        rows += make_rows(labels[number], plan, checked.subjects, mine, merged, config.seed)
        picked += [(number, pick) for pick in choose(merged)]
    if config.tta == "flip":
        notes.append("Colors are the mean of those of each photograph and of its mirror image; images/s are of both.")
    pictures = dict(pool.run("pictures", [(number, pick.index) for number, pick in picked]))
    return Comparison(
        rows=rows,
        shown=[Shown(labels[number], pick, pictures[number, pick.index]) for number, pick in picked],
        subjects=checked.subjects,
        datasets=checked.datasets,
        notes=notes,
    )


def _placement(workers: int | None, use_gpu: bool | None) -> tuple[bool, int]:
    """Return whether GPUs are used, and how many workers."""
    gpus = gpus_to_use(use_gpu)
    if not gpus:
        return False, worker_count(workers)
    if workers is not None and workers > gpus:
        raise ConfigError(f"--workers {workers}: the cluster has {gpus} GPUs: ask for at most {gpus}")
    return True, workers or gpus
