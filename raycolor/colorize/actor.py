"""The pool member of the bulk job; what it needs of torch is imported on the worker alone."""

from __future__ import annotations

import logging
import pickle
import socket
from typing import TYPE_CHECKING, Any

from raycolor.cluster.arithmetic import describe, unfit
from raycolor.cluster.notices import ToDriver
from raycolor.colorize.messages import TRIES_WHEN_BROKEN, BrokenWorkerError, ShardSpec, UnfitNodeError
from raycolor.errors import RaycolorError
from raycolor.machine import limit_instructions

if TYPE_CHECKING:
    import numpy as np

    from raycolor.colorize.network_actor import RemoteNetwork


class ShardActor:
    """Holds one `ShardWorker` and speaks Ray Data's batches."""

    def __init__(self, spec: ShardSpec, predict: RemoteNetwork | None = None) -> None:
        if spec.device == "cpu":
            limit_instructions(spec.computed_with)
        import cv2
        import torch

        from raycolor.colorize.shard import ShardWorker

        # One native thread per process and one process per CPU: threads of several workers only get in each
        # other's way.
        torch.set_num_threads(1)
        cv2.setNumThreads(1)
        # A place that is waited for is told where somebody reads it.
        logging.getLogger("raycolor").addHandler(ToDriver())
        self._error: RaycolorError | None = None
        why = unfit(describe(), spec.computed_with, spec.colorizer.precision, spec.device)
        if why is not None:
            self._error = UnfitNodeError(
                f"node {socket.gethostname()} came while the job ran, and {why}: run the same command again, which "
                "leaves it out"
            )
            return
        try:
            self._worker = ShardWorker(spec, predict)
        except RaycolorError as exc:
            self._error = exc

    def __call__(self, batch: dict[str, np.ndarray[Any, Any]]) -> dict[str, list[bytes]]:
        """Process the shards of a batch; each answer is a pickled `ShardReport`, or the error that ends the job."""
        # A user's error (a full disk, say) travels as data: an exception would be retried, and end in a traceback.
        if self._error is not None:
            return {"report": [pickle.dumps(self._error)]}
        try:
            return {"report": [pickle.dumps(self._worker.run(int(shard))) for shard in batch["shard"]]}
        except BrokenWorkerError as exc:
            if exc.attempts < TRIES_WHEN_BROKEN:
                # Another process, elsewhere perhaps, is given the shard. An exception would leave this one in the pool.
                from raycolor.colorize.in_process import EXIT_BROKEN, end_worker

                end_worker(str(exc), EXIT_BROKEN)
            return {"report": [pickle.dumps(exc)]}
        except RaycolorError as exc:
            return {"report": [pickle.dumps(exc)]}
