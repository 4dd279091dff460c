"""What one Ray Train worker does: its device, its share of the data, and the loop."""

from __future__ import annotations

import json
import logging
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import ray.train
import ray.train.torch
import ray.util
import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from raycolor.dataset.info import read_dataset
from raycolor.errors import ConfigError, DatasetError, RaycolorError, TrainingError
from raycolor.machine import cpu_count
from raycolor.storage import ObjectStore, open_store
from raycolor.train.config import TrainConfig
from raycolor.training.context import TrainContext
from raycolor.training.data import LabData
from raycolor.training.progress import Progress
from raycolor.training.run import run_training

log = logging.getLogger(__name__)

PROGRESS_FILE: Final = "progress.json"
HEARTBEAT_S: Final = 10.0


class RayContext(TrainContext):
    """A worker of Ray Train."""

    def __init__(self, store: ObjectStore) -> None:
        """Prepare a worker; `store` is the run folder."""
        context = ray.train.get_context()
        self.rank: int = context.get_world_rank()
        self.world_size: int = context.get_world_size()
        self.local_workers: int = context.get_local_world_size()
        self.device: torch.device = ray.train.torch.get_device()
        self._store = store
        self._folder: tempfile.TemporaryDirectory[str] | None = None

    def wrap(self, module: nn.Module) -> nn.Module:
        if self.world_size == 1:
            return module
        devices = [self.device] if self.device.type == "cuda" else None
        return DistributedDataParallel(module, device_ids=devices)

    def sum(self, values: Tensor) -> Tensor:
        if self.world_size == 1:
            return values
        total = values.to(self.device)
        dist.all_reduce(total)
        return total.cpu()

    def copy_from_first(self, module: nn.Module) -> None:
        if self.world_size > 1:
            for tensor in module.state_dict().values():
                dist.broadcast(tensor, src=0)

    def first_error(self, error: RaycolorError | None) -> RaycolorError | None:
        """Tell every worker the error of the first one that has one; every worker calls it."""
        if self.world_size == 1:
            return error
        errors: list[Any] = [None] * self.world_size
        mine = None if error is None else (type(error).__name__, str(error))
        dist.all_gather_object(errors, mine)
        found = next((entry for entry in errors if entry is not None), None)
        if found is None:
            return None
        kind, message = found
        return {"ConfigError": ConfigError, "DatasetError": DatasetError}.get(kind, TrainingError)(message)

    def publish(self, files: Mapping[str, bytes]) -> None:
        for name, data in files.items():
            self._store.put(name, data)

    def report(self, metrics: Mapping[str, float], folder: Path | None) -> None:
        checkpoint = None if folder is None else ray.train.Checkpoint.from_directory(folder)
        ray.train.report(dict(metrics), checkpoint=checkpoint)

    def latest_checkpoint(self) -> Path | None:
        """Fetch it, if it has to be, into a folder that lives as long as this."""
        checkpoint = ray.train.get_checkpoint()
        if checkpoint is None:
            return None
        self._folder = tempfile.TemporaryDirectory(prefix="raycolor-resume-")
        return Path(checkpoint.to_directory(self._folder.name))


def train_on_worker(job: dict[str, Any]) -> dict[str, Any]:
    """Train to the end on this worker.

    Errors that strike every worker at the same point are returned, not raised: Ray would start the workers anew
    to run into them again.

    Args:
        job: `config` (a resolved `TrainConfig`), `start` (a `Start`), `settings` (as in run.json), `cache_dir`,
            `workers_per_node` (with those of other trainings).

    Returns:
        `error` and `kind` where training stopped for good; else `epochs` that are in the curve.
    """
    config: TrainConfig = job["config"]
    store = open_store(config.out)
    context = RayContext(store)
    # Ray gives a worker one CPU by name; the node's CPUs that no other worker uses would idle.
    share = max(1, cpu_count() // max(context.local_workers, job["workers_per_node"]))
    loaders = 1
    if context.device.type == "cuda":
        loaders = max(1, min(8, share - 1))
    else:
        torch.set_num_threads(share)
    try:
        data = None
        problem: RaycolorError | None = None
        try:
            data_store = open_store(config.data)
            info = read_dataset(data_store)
            rank, count = context.rank, context.world_size
            cache = job["cache_dir"]
            data = LabData(
                info, data_store, config, rank=rank, world_size=count, threads=loaders, cache_dir=cache,
                pin=context.device.type == "cuda",
            )  # fmt: skip
        except DatasetError as exc:
            problem = exc
        problem = context.first_error(problem)
        if problem is not None or data is None:
            return _stopped(problem or TrainingError("no data"))
        tell = _heartbeat(context, config.epochs, data.steps_per_epoch, config.batch_size)
        progress = run_training(config, job["start"], job["settings"], info, data, context, on_update=tell)
    except (TrainingError, ConfigError) as exc:
        stopped = exc if context.world_size == 1 else context.first_error(exc) or exc
        return _stopped(stopped)
    return {"epochs": len(progress.curve)}


def _heartbeat(context: RayContext, epochs: int, steps: int, batch_size: int) -> Callable[[Progress], None]:
    """Return what tells the driver now and then, by a small file in the run folder, how far an epoch has come."""
    told_s: float | None = None
    last_step = 0

    def tell(progress: Progress) -> None:
        nonlocal told_s, last_step
        now = time.monotonic()
        if told_s is None:  # from here on there is a rate; what came before was start-up
            told_s, last_step = now, progress.steps_done
        if now - told_s < HEARTBEAT_S or not progress.sums:
            return
        said = {
            "epoch": progress.epoch + 1,
            "epochs": epochs,
            "step": progress.step,
            "steps": steps,
            "loss": progress.sums["loss"] / progress.sums["n"],
            "images_per_second": (progress.steps_done - last_step) * batch_size * context.world_size / (now - told_s),
        }
        told_s, last_step = now, progress.steps_done
        context.publish({PROGRESS_FILE: json.dumps(said).encode()})

    return tell


def _stopped(error: RaycolorError) -> dict[str, Any]:
    return {"error": str(error), "kind": type(error).__name__}
