"""Train one method on Ray Train: one command starts it, the same command goes on with it."""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any

import ray
import ray.train
from ray.train.torch import TorchConfig, TorchTrainer

from raycolor import __version__
from raycolor.cluster.errors import last_line
from raycolor.cluster.placement import cluster_resources, living_nodes
from raycolor.dataset.augment import Augment
from raycolor.dataset.info import read_dataset
from raycolor.errors import ConfigError, RaycolorError, StorageError, TrainingError
from raycolor.models import checkpoints
from raycolor.storage import ObjectStore, open_store
from raycolor.train.worker import PROGRESS_FILE, train_on_worker
from raycolor.training.encoder import read_weights
from raycolor.training.loop import parse_curve
from raycolor.training.settings import check_sizes, known, resolve

log = logging.getLogger(__name__)

STATE_FOLDER = "last"  # Ray Train's own folder of checkpoints below RUN
RUN_FILE = "run.json"
POLL_S = 2.0


@dataclass(frozen=True)
class TrainResult:
    """What a training came to.

    Attributes:
        out: the run folder; itself a checkpoint, that of the best epoch.
        metrics: on val, of the best epoch (`epoch` counts from 1).
        curve: one row per epoch, as in curve.csv.
        seconds: from this call's start to its end, start-up included.
        workers: how many trained.
        global_batch_size: photographs per update over all workers.
        device: `cpu` or `cuda`.
    """

    out: str
    metrics: dict[str, float]
    curve: list[dict[str, float]]
    seconds: float
    workers: int
    global_batch_size: int
    device: str


def train(
    method: str,
    *,
    data: str,
    out: str,
    network: Mapping[str, Any] | None = None,
    optim: Mapping[str, Any] | None = None,
    loss: Mapping[str, Any] | None = None,
    augment: Mapping[str, Any] | None = None,
    epochs: int = 10,
    batch_size: int = 16,
    crop_px: int = 224,
    seed: int = 0,
    patience: int | None = None,
    precision: str = "auto",
    compile: bool = False,
    workers: int | None = None,
    use_gpu: bool | None = None,
    encoder_weights: str | None = None,
    init_from: str | None = None,
    teacher: str | None = None,
    checkpoint_every: int = 0,
    max_failures: int = 3,
    cache_dir: str | None = None,
    on_epoch: Callable[[Mapping[str, float]], None] | None = None,
    on_progress: Callable[[Mapping[str, float]], None] | None = None,
    callbacks: Sequence[Any] = (),
    resources: Mapping[str, float] | None = None,
    workers_per_node: int = 1,
    run_name: str = STATE_FOLDER,
) -> TrainResult:
    """Train a method on the connected Ray cluster; over an unfinished run of the same settings, go on with it.

    RUN holds `checkpoint.json` and `weights.safetensors` (the epoch with the lowest val mse), `curve.csv`,
    `run.json`, and `last/` (Ray Train's checkpoints with `training_state.pt`).

    Args:
        method: `regression`, `autoencoder`, `gan` or `unet`.
        data: dataset made by `prepare`: folder or s3://bucket/prefix that every worker reaches.
        out: run folder or s3://bucket/prefix that every worker reaches.
        network: configuration of the network; its key `discriminator` configures the discriminator where there is one.
        optim: lr, discriminator_lr, beta1, weight_decay, schedule, clip_norm, ema; missing ones take their defaults.
        loss: as `raycolor.config.LossConfig`; missing ones take the report's.
        augment: zoom, film, aging; default: only crops and flips.
        epochs: passes over the training photographs.
        batch_size: photographs per update and worker.
        crop_px: side of the random crops; center crops of it validate.
        seed: of weights, order, crops and dropout.
        patience: epochs without a better val mse before stopping.
        precision: `auto`, `fp32` or `bf16`.
        compile: torch.compile the networks.
        workers: default: one per GPU, or one per node without GPUs.
        use_gpu: default: whether the cluster has GPUs.
        encoder_weights: file of ResNet-18 weights, or `torchvision`; regression only.
        init_from: checkpoint of the same method to start from; weights that do not fit are drawn anew.
        teacher: checkpoint to learn from as well, by `loss.distillation`.
        checkpoint_every: updates between checkpoints within an epoch; 0 for the end of an epoch only.
        max_failures: how often dead workers are replaced before giving up.
        cache_dir: where workers keep decoded shards; default as `LabSplit`.
        on_epoch: called here with each new row of the curve.
        on_progress: called here every ten seconds or so with epoch, step, loss and images_per_second.
        callbacks: Ray Train callbacks, for example Tune's.
        resources: what one worker occupies; default one CPU, and one GPU with `use_gpu`.
        workers_per_node: how many share a node's CPUs, those of other trainings included, if more than this one has.
        run_name: Ray Train's name of the run below `out`.

    Raises:
        ConfigError: settings that cannot be used, another training in `out`, or more workers than the cluster has.
        DatasetError: no dataset, or a damaged one.
        StorageError: dataset or run folder cannot be reached.
        TrainingError: a loss that is no number, or workers that died more often than `max_failures`.
    """
    started = time.monotonic()
    settings, initial = resolve(method, network, optim, loss, encoder_weights)
    first_weights, origin = read_weights(init_from, method) if init_from else (None, {})
    taught_by = checkpoints.load(teacher) if teacher else None
    if (taught_by is None) != (settings["loss"]["distillation"] == 0):
        raise ConfigError("teacher and loss.distillation: one does nothing without the other: give both")
    if taught_by is not None:
        origin["teacher"] = taught_by.weights_sha256
    dataset = read_dataset(open_store(data, must_exist=True))
    gpu, count = _placement(workers, use_gpu)
    check_sizes(dataset, batch_size, count, crop_px, settings)
    settings |= {
        "epochs": epochs,
        "batch_size": batch_size,
        "workers": count,
        "crop_px": crop_px,
        "seed": seed,
        "patience": patience,
        "precision": precision,
        "compile": compile,
        "checkpoint_every": checkpoint_every,
        "dataset": dataset.fingerprint,
        "augment": known("augment", asdict(Augment()), augment),
        **origin,
    }
    store = open_store(out)
    _claim(store, settings)

    bundle = dict(resources or _resources(gpu))
    loop_config: dict[str, Any] = {
        "settings": settings,
        "data": data,
        "out": out,
        "initial": initial,
        "cache_dir": cache_dir,
    }
    loop_config |= {"init_from": first_weights, "teacher": taught_by}
    trainer = TorchTrainer(
        train_on_worker,  # type: ignore[arg-type]  # Ray passes on what it returns, its types do not say so
        train_loop_config={**loop_config, "workers_per_node": workers_per_node},
        torch_config=TorchConfig(backend="nccl" if gpu else "gloo"),
        scaling_config=ray.train.ScalingConfig(num_workers=count, use_gpu=gpu, resources_per_worker=bundle),
        run_config=ray.train.RunConfig(
            name=run_name,
            storage_path=_storage_path(out),
            failure_config=ray.train.FailureConfig(max_failures=max_failures),
            checkpoint_config=ray.train.CheckpointConfig(num_to_keep=2),
            callbacks=list(callbacks) or None,
            logging_config=ray.train.LoggingConfig(log_level="WARNING"),  # type: ignore[call-arg]  # V2 has it
        ),
    )
    with _following(store, on_epoch, on_progress):
        outcome = _run(trainer, out)
    if outcome.get("error"):
        raise _error(outcome)
    best = checkpoints.load(out)
    return TrainResult(
        out=out,
        metrics={key: float(value) for key, value in best.metrics.items()},
        curve=read_curve(store),
        seconds=time.monotonic() - started,
        workers=count,
        global_batch_size=count * batch_size,
        device="cuda" if gpu else "cpu",
    )


def _resources(gpu: bool) -> dict[str, float]:
    return {"CPU": 1, "GPU": 1} if gpu else {"CPU": 1}


def _placement(workers: int | None, use_gpu: bool | None) -> tuple[bool, int]:
    """Choose GPU or CPU and the number of workers, and refuse what the cluster cannot hold, instead of waiting."""
    have = cluster_resources()
    gpus, cpus = int(have.get("GPU", 0)), int(have.get("CPU", 0))
    gpu = gpus > 0 if use_gpu is None else use_gpu
    if gpu and not gpus:
        raise ConfigError("use_gpu = true: the cluster has no GPU: leave it out to train on CPUs")
    nodes = len([node for node in living_nodes() if node["Resources"].get("CPU", 0) >= 1])
    count = workers if workers is not None else (gpus if gpu else nodes)
    most, kind = (gpus, "GPUs") if gpu else (cpus, "CPUs")
    if count < 1:
        raise ConfigError(f"workers = {count}: at least 1 is needed")
    if count > most:
        raise ConfigError(f"workers = {count}: the cluster has {most} {kind}: ask for at most {most}")
    return gpu, count


def _claim(store: ObjectStore, settings: Mapping[str, Any]) -> None:
    """Write run.json, or compare with the one of an earlier start."""
    record = {"raycolor_version": __version__, "settings": settings}
    try:
        old = json.loads(store.get(RUN_FILE))["settings"]
    except StorageError as exc:
        if exc.reason != "not_found":
            raise
        store.put(RUN_FILE, (json.dumps(record, indent=2) + "\n").encode())
        return
    except (ValueError, KeyError, TypeError) as exc:
        raise ConfigError(f"{store.uri}/{RUN_FILE}: damaged: train into another folder") from exc
    new = json.loads(json.dumps(settings))
    if old != new:
        keys = sorted(key for key in {*old, *new} if old.get(key) != new.get(key))
        changes = ", ".join(f"{key}: {old.get(key)!r}, now {new.get(key)!r}" for key in keys)
        raise ConfigError(f"{store.uri}: holds a training with other settings ({changes}): train into another folder")


def _storage_path(out: str) -> str:
    """Return RUN as Ray Train takes it: an address, or an absolute path."""
    store = open_store(out)
    return store.uri


def _run(trainer: TorchTrainer, out: str) -> dict[str, Any]:
    """Run to the end; return what the first worker returned."""
    try:
        result: Any = _in_a_thread(trainer.fit)
    except ray.train.WorkerGroupError as exc:
        for failure in exc.worker_failures.values():
            cause = getattr(failure, "cause", failure)
            if isinstance(cause, RaycolorError):
                raise cause from exc
        rank, failure = next(iter(exc.worker_failures.items()), (0, exc))
        detail = last_line(failure)[:300]
        raise TrainingError(
            f"{out}: worker {rank} failed too often ({detail}): mend that and run the same command to go on"
        ) from exc
    except ray.train.ControllerError as exc:
        detail = last_line(exc.controller_failure)[:300]
        raise TrainingError(f"{out}: Ray Train failed ({detail}): run the same command to go on") from exc
    return dict(result.return_value or {})


def _in_a_thread(work: Callable[[], Any]) -> Any:
    """Return or raise what a function does, called in another thread than the main one.

    In the main thread Ray Train has a Ctrl-C of its own, which ends the process without a word and with exit code 1.
    """
    if threading.current_thread() is not threading.main_thread():
        return work()
    ended: Future[Any] = Future()

    def run() -> None:
        try:
            ended.set_result(work())
        except BaseException as exc:  # noqa: BLE001  whatever it is, it belongs to the thread that waits
            ended.set_exception(exc)

    # A daemon: after Ctrl-C nobody waits for it.
    threading.Thread(target=run, name="raycolor-train", daemon=True).start()
    return ended.result()


def _error(outcome: Mapping[str, Any]) -> RaycolorError:
    """Rebuild the error that the workers agreed on."""
    return (ConfigError if outcome["kind"] == "ConfigError" else TrainingError)(str(outcome["error"]))


def read_curve(store: ObjectStore) -> list[dict[str, float]]:
    """Return the rows of RUN/curve.csv; none before the first epoch has ended.

    Raises:
        StorageError: the run folder cannot be read.
    """
    try:
        return parse_curve(store.get("curve.csv"))
    except StorageError as exc:
        if exc.reason == "not_found":
            return []
        raise


@contextmanager
def _following(
    store: ObjectStore,
    on_epoch: Callable[[Mapping[str, float]], None] | None,
    on_progress: Callable[[Mapping[str, float]], None] | None,
) -> Iterator[None]:
    """Call `on_epoch` with each row that the workers add to curve.csv, and `on_progress` with each new progress.json.

    The curve is the only thing that workers on any node and this process both reach.
    """
    if on_epoch is None and on_progress is None:
        yield
        return
    store.delete(PROGRESS_FILE)
    said: dict[str, float] = {}
    seen = len(read_curve(store))
    stop = threading.Event()

    def follow() -> None:
        nonlocal seen, said
        while True:
            last = stop.wait(POLL_S)
            now = _read_progress(store)
            if on_progress is not None and now and now != said:
                on_progress(now)
            said = now
            try:
                rows = read_curve(store)
            except StorageError as exc:
                log.debug("curve not readable yet: %s", exc)
                rows = []
            if on_epoch is not None:
                for row in rows[seen:]:
                    on_epoch(row)
            seen = max(seen, len(rows))
            if last:
                return

    thread = threading.Thread(target=follow, name="raycolor-curve", daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
        store.delete(PROGRESS_FILE)


def _read_progress(store: ObjectStore) -> dict[str, float]:
    try:
        return dict(json.loads(store.get(PROGRESS_FILE)))
    except (StorageError, ValueError):
        return {}
