"""Photographs to a Lab dataset on Ray Data: one task converts and writes one shard."""

from __future__ import annotations

import functools
import pickle
import re
import time
from collections.abc import Callable, Iterator
from typing import Any, Final

import ray
from ray.data import DataContext, TaskPoolStrategy

from raycolor.cluster import session
from raycolor.cluster.errors import answers
from raycolor.dataset.info import DatasetInfo, write_dataset
from raycolor.dataset.split import SPLITS
from raycolor.errors import RaycolorError
from raycolor.prepare.candidates import Chosen, Task, choose, describe, summarize
from raycolor.prepare.config import PrepareConfig
from raycolor.prepare.convert import IsolatedSquares, ShardResult, convert_shard
from raycolor.progress import Progress, printable
from raycolor.storage import ObjectStore

_SHARD_NAME: Final = re.compile(r"(train|val)/part-\d{5,}\.parquet")


def run(config: PrepareConfig) -> int:
    """Prepare a dataset; see `choose` and `prepare` for what is raised."""
    chosen = choose(config)
    with session.connect(config.address, scale_to=config.scale_to), Progress("prepare", None, "photographs") as shown:
        summary = prepare(chosen, lambda done, wanted, unused: shown.reach(done, wanted, left_out=unused))
    _print(summary)
    return 0


def _print(summary: dict[str, object]) -> None:
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    table = Table(show_header=False, box=None, padding=(0, 2))
    for key, value in summary.items():
        if isinstance(value, dict):
            value = ", ".join(f"{name} {count}" for name, count in value.items()) or "none"
        table.add_row(key.replace("_", " "), escape(printable(str(value))))
    Console(highlight=False).print(table)


def prepare(chosen: Chosen, on_progress: Callable[[int, int, int], None] | None = None) -> dict[str, Any]:
    """Convert photographs to Lab planes in Parquet shards. Ray must be connected.

    The same source, seed and settings give byte-identical shards, whatever the number of workers. Files that cannot
    be read are listed in `dataset.json` and replaced by the next ones in hash order. `dataset.json` is written last.

    Args:
        chosen: the candidates.
        on_progress: called with (photographs written so far, photographs wanted, files that could not be used).

    Returns:
        A summary; see `summarize`.

    Raises:
        DatasetError: not one photograph could be used.
        StorageError: the dataset cannot be written.
    """
    started = time.monotonic()
    splits = {split.name: split for split in chosen.splits}

    def make(tasks: list[Task]) -> Iterator[None]:
        for task, result in _run(chosen, tasks):
            splits[task.split].results[task.number] = result
            yield

    def report() -> None:
        if on_progress is not None:
            results = [result for split in splits.values() for result in split.results.values()]
            unused = sum(len(result.bad) + len(result.dropped) for result in results)
            done = sum(min(split.rows, split.wanted) for split in splits.values())
            on_progress(done, sum(split.wanted for split in splits.values()), unused)

    report()
    while tasks := [task for split in splits.values() for task in split.next_tasks()]:
        for _ in make(tasks):
            report()
    for _ in make([task for split in splits.values() for task in split.trim()]):
        pass
    info = describe(chosen)
    _remove_leftovers(chosen.store, info)
    write_dataset(chosen.store, info)
    return summarize(chosen, info, time.monotonic() - started)


def _run(chosen: Chosen, tasks: list[Task]) -> Iterator[tuple[Task, ShardResult]]:
    """Make shards on Ray Data, in whatever order they finish."""
    config, reader, store = chosen.config, chosen.reader, chosen.store
    if not tasks:
        return

    def work(row: dict[str, Any]) -> dict[str, Any]:
        task: Task = pickle.loads(row["task"])
        square = _squares(config.image_timeout_s)
        try:
            result = convert_shard(reader, task.inputs, store, task.path, config, limit=task.limit, square=square)
        except RaycolorError as exc:
            return {"result": pickle.dumps(exc)}
        return {"result": pickle.dumps((row["at"], result))}

    rows = [{"at": at, "task": pickle.dumps(task)} for at, task in enumerate(tasks)]
    context = DataContext.get_current()
    before, patience_s = context.enable_progress_bars, context.execution_no_progress_timeout_s
    context.enable_progress_bars = False
    # The longest that a shard may rightly take: each file hangs.
    longest_s = max(len(task.inputs) for task in tasks) * config.image_timeout_s
    context.execution_no_progress_timeout_s = max(patience_s, longest_s)
    try:
        # One block per shard, or Ray would give several shards to one worker while others idle.
        made = ray.data.from_items(rows, override_num_blocks=len(rows)).map(
            work,
            compute=TaskPoolStrategy(size=None if config.workers is None else min(config.workers, len(rows))),
            num_cpus=1,
            # A task whose worker dies, for want of memory or with its node, is begun three times more: Ray's default.
        )
        for at, result in answers(made, "result"):
            yield tasks[at], result
    finally:
        context.enable_progress_bars, context.execution_no_progress_timeout_s = before, patience_s


@functools.cache
def _squares(image_timeout_s: float) -> IsolatedSquares:
    """Return this worker's child process, which serves one shard after the other and ends with the worker."""
    return IsolatedSquares(image_timeout_s)


def _remove_leftovers(store: ObjectStore, info: DatasetInfo) -> None:
    """Remove shards that are none of this dataset: past the wanted number, or of a run that was killed."""
    ours = {shard.path for shard in info.shards}
    for split in SPLITS:
        for found in list(store.list(f"{split}/part-")):
            if found.key not in ours and _SHARD_NAME.fullmatch(found.key):
                store.delete(found.key)
