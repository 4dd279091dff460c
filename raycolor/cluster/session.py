"""Join a Ray cluster, or start an embedded one on this machine."""

from __future__ import annotations

import gc
import logging
import os
import socket
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from pathlib import Path
from typing import Any

import ray
import ray.data

from raycolor.cluster import reaper
from raycolor.cluster.errors import last_line
from raycolor.cluster.placement import SPARE_CPUS
from raycolor.cluster.pool import bound_data
from raycolor.cluster.privacy import HOST, private_ray
from raycolor.cluster.quiet import without_ray_output
from raycolor.errors import ConfigError, RaycolorError
from raycolor.machine import cpu_count
from raycolor.signals import Terminated, listen

logger = logging.getLogger(__name__)

# Ray gives its agents 15 s to start, fixed in its binary; on a machine that is busy with something else (a training,
# say) they may take longer, and the next try finds their files in memory.
_START_TRIES = 4


@contextmanager
def connect(
    address: str | None = None, *, scale_to: int | None = None, gpu: bool = False, gpus: int = 0
) -> Iterator[None]:
    """Run the body on a Ray cluster.

    Args:
        address: a cluster to join. Without it RAY_ADDRESS is used (`ray job submit` sets it); without that an embedded
            Ray is started, for this process alone (see `privacy`), and ended afterwards.
        scale_to: workers that an autoscaling cluster is asked to have room for first; see `autoscaling`.
        gpu: whether those need a GPU each.
        gpus: GPUs that are asked for beside workers on CPUs.

    Raises:
        ConfigError: no cluster answers at the address, or it got no room for a single worker.
        RaycolorError: the body was ended by an error of Ray's.
    """
    target = _target(address)
    if scale_to and not target:
        raise ConfigError(f"--scale-to {scale_to}: a local Ray cannot add CPUs: name a cluster with --address")
    if ray.is_initialized():
        bound_data()
        with _one_line_errors():
            yield
        return
    # What workers print is Ray's own talk: ours comes back as data, and errors as one line.
    verbose = logging.getLogger().isEnabledFor(logging.DEBUG)
    warnings.filterwarnings("ignore", category=FutureWarning, module=r"ray\.")
    with without_ray_output() if not verbose else nullcontext(), ExitStack() as ends:
        try:
            before = reaper.descendants()
            folder = None if target else ends.enter_context(private_ray(keep=verbose))
            _init(target, verbose, folder)
            if folder:
                ends.enter_context(reaper.watch(reaper.descendants() - before, "" if verbose else folder))
            bound_data()
            if not verbose:
                quiet()
            if scale_to:
                from raycolor.cluster.autoscaling import scale  # what only a growing cluster needs

                scale(scale_to, gpu=gpu, gpus=gpus)
            with _one_line_errors():
                yield
        finally:
            _shut_down()


def _shut_down() -> None:
    """Leave Ray. Python collects no garbage meanwhile.

    A reference to an object of Ray that any thread (the one that loads the page, say) lets go while Ray's worker ends
    makes Ray end the whole process, with exit code 1.
    """
    gc.collect()
    gc.disable()
    try:
        ray.shutdown()
    finally:
        gc.enable()


def joins(address: str | None) -> bool:
    """Whether `connect` joins a cluster, which others use and which may grow, instead of starting a Ray here."""
    return _target(address) is not None


def _target(address: str | None) -> str | None:
    return address or os.environ.get("RAY_ADDRESS") or None


@contextmanager
def _one_line_errors() -> Iterator[None]:
    """Turn whatever Ray raises into an error of ours."""
    try:
        yield
    except Exception as exc:
        if not isinstance(exc, ray.exceptions.RayError) and type(exc).__module__.partition(".")[0] != "ray":
            raise
        raise RaycolorError(f"Ray gave up: {last_line(exc)}: run the same command again to continue") from exc


def _init(target: str | None, verbose: bool, folder: str | None) -> None:
    """Join or start Ray, and keep our own handler of SIGTERM: Ray's would write no summary and release no lease."""
    try:
        _join_or_start(target, verbose, folder)
    except SystemExit as exc:
        # The handler that Ray sets meanwhile.
        raise Terminated from exc
    finally:
        listen()


def _join_or_start(target: str | None, verbose: bool, folder: str | None = None) -> None:
    level = logging.WARNING if verbose else logging.ERROR
    try:
        if target:
            _check_address(target)
            ray.init(address=target, logging_level=level, log_to_driver=verbose)
            return
    except (OSError, ValueError, RuntimeError) as exc:
        detail = " ".join(str(exc).split())[:200]
        raise ConfigError(
            f"--address {target}: no Ray cluster answers ({detail}): check it, or leave it out to run here"
        ) from exc
    start_local(
        cpu_count() + SPARE_CPUS, dashboard_host=HOST, _temp_dir=folder, logging_level=level, log_to_driver=verbose
    )


def start_local(cpus: int, **options: Any) -> None:
    """Start a Ray of this machine alone, again if its first processes were too slow.

    Args:
        cpus: it has.
        options: more for `ray.init`.

    Raises:
        RaycolorError: it does not start.
    """
    before = reaper.descendants()
    for attempt in range(_START_TRIES):
        try:
            # Without an address Ray joins whatever cluster was started on this machine.
            ray.init(address="local", num_cpus=cpus, include_dashboard=False, _node_ip_address=HOST, **options)
            return
        except BaseException as exc:
            # Ray leaves what it had started until this process ends, which on a busy machine slows the next try, and
            # its agents for a minute more. Once the raylet is gone they are nobody's children.
            came = _of_ray(reaper.descendants() - before)
            ray.shutdown()
            reaper.end(came | _of_ray(reaper.descendants() - before))
            # Ray raises a bare Exception when its first processes were too slow.
            if not isinstance(exc, Exception):
                raise
            detail = " ".join(str(exc).split())[:200]
            if attempt + 1 == _START_TRIES:
                raise RaycolorError(f"the local Ray did not start ({detail}): is the machine busy? try again") from exc
            logger.info("the local Ray did not start (%s): trying again", detail)


def _of_ray(processes: set[str]) -> set[str]:
    return {one for one in processes if _is_of_ray(one)}


def _is_of_ray(process: str) -> bool:
    """Tell Ray's own processes from a worker that another thread has just begun."""
    try:
        command = Path("/proc", process.partition(":")[0], "cmdline").read_bytes()
    except OSError:
        return False
    return command.startswith(b"ray::") or os.fsencode(Path(ray.__file__).parent) in command


def _check_address(target: str) -> None:
    """Find out in seconds that nobody listens at an address; Ray itself tries for minutes.

    Raises:
        OSError: the host is not known, or the port refuses.
    """
    host, colon, port = target.removeprefix("ray://").rpartition(":")
    if colon and port.isdigit():
        socket.create_connection((host.strip("[]"), int(port)), timeout=10).close()


def quiet() -> None:
    """Let Ray log only errors: raycolor shows progress, and what a user can fix."""
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    logging.getLogger("ray").setLevel(logging.ERROR)
    for name in ("ray.data", "ray.train", "ray.tune"):
        logger = logging.getLogger(name)
        for handler in logger.handlers:
            # One of the program's own may be put there, too.
            if "File" not in type(handler).__name__ and handler not in logging.getLogger().handlers:
                handler.setLevel(logging.ERROR)
