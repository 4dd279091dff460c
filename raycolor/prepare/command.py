"""`raycolor prepare`: settings in, a dataset and a summary out."""

from __future__ import annotations

from raycolor.cluster import session
from raycolor.prepare.config import PrepareConfig
from raycolor.prepare.driver import prepare
from raycolor.progress import Progress, printable
from raycolor.storage import absolute


def run(config: PrepareConfig) -> int:
    """Prepare a dataset; see `raycolor.prepare.driver.prepare` for what is raised."""
    with (
        session.connect(config.address, scale_to=config.scale_to),
        Progress("prepare", None, "photographs") as progress,
    ):

        def show(written: int, wanted: int, bad: int) -> None:
            progress.total = wanted
            progress.update(written - progress.done, left_out=bad)

        summary = prepare(
            absolute(config.source),
            absolute(config.dataset),
            train=config.train,
            val=config.val,
            size_px=config.size_px,
            seed=config.seed,
            min_colorfulness=config.min_colorfulness,
            keep_splits=config.keep_splits,
            workers=config.workers,
            max_file_bytes=config.max_file_bytes,
            image_timeout_s=config.image_timeout_s,
            on_progress=show,
        )
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
