"""The pool member of the bulk job; what it needs of torch is imported on the worker alone."""

from __future__ import annotations

import logging
import os
import pickle
import socket
from typing import TYPE_CHECKING, Any

from raycolor.cluster.arithmetic import describe, unfit
from raycolor.cluster.notices import ToDriver
from raycolor.cluster.placement import this_node
from raycolor.colorize.messages import TRIES_WHEN_BROKEN, BrokenWorkerError, GivenBack, ShardReport, ShardSpec
from raycolor.errors import RaycolorError
from raycolor.machine import limit_instructions

if TYPE_CHECKING:
    import numpy as np

    from raycolor.colorize.network_actor import RemoteNetwork


class ShardActor:
    """Holds one `ShardWorker` and speaks Ray Data's batches."""

    _unfit: str | None = None
    """Why this node would make other bytes than the job's."""

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
        self._name = f"{socket.gethostname()}:{os.getpid()}"
        self._error: RaycolorError | None = None
        self._unfit = unfit(describe(), spec.computed_with, spec.colorizer.precision, spec.device, spec.made_of)
        if self._unfit is not None:
            return
        try:
            self._worker = ShardWorker(spec, predict)
        except RaycolorError as exc:
            self._error = exc

    def __call__(self, batch: dict[str, np.ndarray[Any, Any]]) -> dict[str, list[bytes]]:
        """Process a row of shards; the answer is a pickled list of `ShardReport`, its last perhaps an error instead.

        On a node that would make other bytes it is one `GivenBack`.
        """
        (row,) = batch["shards"]
        shards = [int(shard) for shard in row]
        if self._unfit is not None:
            return {"reports": [pickle.dumps([GivenBack(shards, this_node(), socket.gethostname(), self._unfit)])]}
        return {"reports": [pickle.dumps(self._row(shards))]}

    def _row(self, shards: list[int]) -> list[ShardReport | RaycolorError]:
        # A user's error (a full disk, say) travels as data: an exception would be retried, and end in a traceback.
        if self._error is not None:
            return [self._error]
        done: list[ShardReport | RaycolorError] = []
        try:
            # Of a row on which another worker died some shards may be done: it is looked for from the front.
            while len(done) + 1 < len(shards) and (report := self._worker.done_before(shards[len(done)])) is not None:
                done.append(report)
            for shard in shards[len(done) :]:
                report = self._worker.run(shard)
                report.worker = self._name
                done.append(report)
        except BrokenWorkerError as exc:
            if exc.attempts < TRIES_WHEN_BROKEN:
                # Another process, elsewhere perhaps, is given the row. An exception would leave this one in the pool.
                from raycolor.colorize.in_process import EXIT_BROKEN, end_worker

                end_worker(str(exc), EXIT_BROKEN)
            done.append(exc)
        except RaycolorError as exc:
            done.append(exc)
        return done
