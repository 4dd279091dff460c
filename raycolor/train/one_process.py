"""Train in this process, without Ray."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from pathlib import Path

import torch

from raycolor.errors import ConfigError
from raycolor.machine import cpu_count
from raycolor.storage import open_store
from raycolor.train.config import TrainConfig
from raycolor.train.follow import reporting
from raycolor.train.run_folder import TrainResult, check, claim, result_of
from raycolor.training.context import PlainContext
from raycolor.training.data import LabData
from raycolor.training.run import run_training


def train_here(config: TrainConfig, on_epoch: Callable[[Mapping[str, float]], None] | None = None) -> TrainResult:
    """Train as one Ray worker does, with the same bytes; over an unfinished run of the same settings, go on with it.

    What a training on Ray was stopped at is not found: its state lies elsewhere below `last/`, so that the same
    training begins anew.

    Raises:
        ConfigError: as `check`; also several workers, a run folder that is not local, or a GPU that is not there.
    """
    started = time.monotonic()
    if config.workers not in (None, 1):
        raise ConfigError(f"workers = {config.workers}: one process is one worker: leave it out, or train with Ray")
    if config.out.startswith("s3://"):
        raise ConfigError(f"out = {config.out}: one process writes a local folder only: name one, or train with Ray")
    there = torch.cuda.is_available()
    if config.use_gpu and not there:
        raise ConfigError("use_gpu = true: torch finds no GPU here: leave it out to train on CPUs")
    device = torch.device("cuda" if there and config.use_gpu is not False else "cpu")
    checked = check(config)
    config = checked.config
    settings = claim(checked, 1, may_differ=False)
    context = PlainContext(Path(config.out), device)
    data = LabData(checked.dataset, open_store(config.data), config, pin=device.type == "cuda")
    threads = torch.get_num_threads()
    torch.set_num_threads(cpu_count())
    try:
        with reporting(config, settings, on_epoch) as report:
            run_training(config, checked.start, settings, checked.dataset, data, context, report)
    finally:
        torch.set_num_threads(threads)
    return result_of(config, time.monotonic() - started, workers=1, device=device.type)
