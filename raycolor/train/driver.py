"""Train one method on Ray Train: one command starts it, the same command goes on with it."""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from typing import Any

import ray
import ray.train
from ray.train.torch import TorchConfig, TorchTrainer

from raycolor.cluster import session
from raycolor.cluster.errors import last_line
from raycolor.cluster.placement import cluster_resources, gpus_to_use, living_nodes
from raycolor.errors import ConfigError, RaycolorError, StorageError, TrainingError
from raycolor.storage import ObjectStore, open_store
from raycolor.train.config import TrainConfig
from raycolor.train.follow import reporting
from raycolor.train.run_folder import Checked, TrainResult, check, claim, read_curve, result_of
from raycolor.train.worker import PROGRESS_FILE, train_on_worker
from raycolor.training.loop import describe_row

log = logging.getLogger(__name__)

STATE_FOLDER = "last"  # Ray Train's own folder of checkpoints below RUN
POLL_S = 2.0


def run(config: TrainConfig) -> int:
    """Train and log each epoch; see `train` for what is raised."""

    def show(row: Mapping[str, float]) -> None:
        extra = {"event": "epoch", "fields": dict(row)}
        log.info("train: epoch %d/%d | %s", row["epoch"], config.epochs, describe_row(row), extra=extra)

    def tell(now: Mapping[str, float]) -> None:
        log.info(
            "train: epoch %d/%d | step %d/%d | loss %.5f | %.1f img/s",
            now["epoch"], now["epochs"], now["step"], now["steps"], now["loss"], now["images_per_second"],
            extra={"event": "progress", "fields": {"title": "train", **now}},
        )  # fmt: skip

    result = train(config, on_epoch=show, on_progress=tell)
    best = ", ".join(f"{name} {value:.4g}" for name, value in result.metrics.items())
    log.info("best epoch: %s", best)
    log.info(
        "trained by %d %s worker(s), global batch %d, in %.0f s: %s",
        result.workers, result.device, result.global_batch_size, result.seconds, result.out,
    )  # fmt: skip
    return 0


def train(
    config: TrainConfig,
    on_epoch: Callable[[Mapping[str, float]], None] | None = None,
    on_progress: Callable[[Mapping[str, float]], None] | None = None,
) -> TrainResult:
    """Check a training, join or start Ray, and train; see `train_connected`."""
    checked = check(config)
    with session.connect(config.address, scale_to=config.scale_to, gpu=bool(config.use_gpu)):
        return train_connected(checked, on_epoch=on_epoch, on_progress=on_progress)


def train_connected(
    checked: Checked,
    *,
    max_failures: int = 3,
    cache_dir: str | None = None,
    on_epoch: Callable[[Mapping[str, float]], None] | None = None,
    on_progress: Callable[[Mapping[str, float]], None] | None = None,
    callbacks: Sequence[Any] = (),
    resources: Mapping[str, float] | None = None,
    workers_per_node: int = 1,
) -> TrainResult:
    """Train on the connected Ray cluster; over an unfinished run of the same settings, go on with it.

    RUN holds `checkpoint.json` and `weights.safetensors` (the epoch with the lowest val mse), `curve.csv`,
    `run.json`, `index.html` with `samples/`, and `last/` (Ray Train's checkpoints with `training_state.pt`).

    Args:
        checked: the training; every worker reaches its dataset and its run folder.
        max_failures: how often dead workers are replaced before giving up.
        cache_dir: where workers keep decoded shards; default as `LabSplit`.
        on_epoch: called here with each new row of the curve.
        on_progress: called here every ten seconds or so with epoch, step, loss and images_per_second.
        callbacks: Ray Train callbacks.
        resources: what one worker occupies; default one CPU, and one GPU with `use_gpu`.
        workers_per_node: how many share a node's CPUs, those of other trainings included, if more than this one has.

    Raises:
        ConfigError: another training in `out`, or more workers than the cluster or the dataset has.
        StorageError: dataset or run folder cannot be reached.
        TrainingError: a loss that is NaN or infinite, or workers that died more often than `max_failures`.
    """
    started = time.monotonic()
    config = checked.config
    gpu, count = _placement(config.workers, config.use_gpu)
    settings = claim(checked, count)
    store = open_store(config.out)
    job = {
        "config": config,
        "start": checked.start,
        "settings": settings,
        "cache_dir": cache_dir,
        "workers_per_node": workers_per_node,
    }
    bundle = dict(resources or ({"CPU": 1, "GPU": 1} if gpu else {"CPU": 1}))
    trainer = TorchTrainer(
        train_on_worker,  # type: ignore[arg-type]  # Ray passes on what it returns, its types do not say so
        train_loop_config=job,
        torch_config=TorchConfig(backend="nccl" if gpu else "gloo"),
        scaling_config=ray.train.ScalingConfig(num_workers=count, use_gpu=gpu, resources_per_worker=bundle),
        run_config=ray.train.RunConfig(
            name=STATE_FOLDER,
            storage_path=store.uri,
            failure_config=ray.train.FailureConfig(max_failures=max_failures),
            checkpoint_config=ray.train.CheckpointConfig(num_to_keep=2),
            callbacks=list(callbacks) or None,
            logging_config=ray.train.LoggingConfig(log_level="WARNING"),  # type: ignore[call-arg]  # V2 has it
        ),
    )
    with reporting(config, settings, on_epoch) as report, _following(store, report, on_progress):
        outcome = _run(trainer, config.out)
    if outcome.get("error"):
        raise _error(outcome)
    seconds = time.monotonic() - started
    return result_of(config, seconds, workers=count, device="cuda" if gpu else "cpu")


def _placement(workers: int | None, use_gpu: bool | None) -> tuple[bool, int]:
    """Choose GPU or CPU and the number of workers, and refuse what the cluster cannot hold, instead of waiting."""
    gpus, cpus = gpus_to_use(use_gpu), int(cluster_resources().get("CPU", 0))
    gpu = gpus > 0
    nodes = len([node for node in living_nodes() if node["Resources"].get("CPU", 0) >= 1])
    count = workers if workers is not None else (gpus if gpu else nodes)
    most, kind = (gpus, "GPUs") if gpu else (cpus, "CPUs")
    if count < 1:
        raise ConfigError(f"workers = {count}: at least 1 is needed")
    if count > most:
        raise ConfigError(f"workers = {count}: the cluster has {most} {kind}: ask for at most {most}")
    return gpu, count


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
            f"{out}: worker {rank} failed too often ({detail}): fix that and run the same command to continue"
        ) from exc
    except ray.train.ControllerError as exc:
        detail = last_line(exc.controller_failure)[:300]
        raise TrainingError(f"{out}: Ray Train failed ({detail}): run the same command to continue") from exc
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


@contextmanager
def _following(
    store: ObjectStore,
    on_epoch: Callable[[Mapping[str, float]], None],
    on_progress: Callable[[Mapping[str, float]], None] | None,
) -> Iterator[None]:
    """Call `on_epoch` with each row that the workers add to curve.csv, and `on_progress` with each new progress.json.

    The curve is the only thing that workers on any node and this process both reach.
    """
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
