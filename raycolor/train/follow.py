"""Pass each epoch on to the loggers, the caller, and the page of the run."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final

from raycolor.storage import open_store
from raycolor.train.config import TrainConfig
from raycolor.train.loggers import logging_to
from raycolor.train.page import write_page
from raycolor.train.run_folder import read_curve

OnEpoch = Callable[[Mapping[str, float]], None]

_PAGE_EVERY_S: Final = 10.0  # epochs of seconds need no page each


@contextmanager
def reporting(config: TrainConfig, settings: Mapping[str, Any], on_epoch: OnEpoch | None) -> Iterator[OnEpoch]:
    """Yield a function to call with each new row of a training's curve; in the end write the run's page.

    Args:
        config: of the training.
        settings: as in run.json.
        on_epoch: the caller's.
    """
    store = open_store(config.out)
    written = -_PAGE_EVERY_S
    with logging_to(config.log_to, config.out, settings, read_curve(store)) as log:

        def report(row: Mapping[str, float]) -> None:
            nonlocal written
            log(row)
            if on_epoch is not None:
                on_epoch(row)
            if time.monotonic() - written >= _PAGE_EVERY_S:
                write_page(store, settings)
                written = time.monotonic()

        yield report
    write_page(store, settings)
