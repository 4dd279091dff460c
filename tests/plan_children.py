"""Child processes that stand in for `raycolor.plan.probe.serve`; apart, as a child imports the module it comes from."""

import os
import signal
import time

from raycolor.errors import CheckpointError
from raycolor.plan.probe import CheckpointName, Probed


def strange(pipe, options):
    """Be a child that dies, hangs or answers, as the photograph says."""
    pipe.send(CheckpointName("strange", "00"))
    while True:
        try:
            data = pipe.recv_bytes()
        except EOFError:
            return
        if data == b"die":
            os.kill(os.getpid(), signal.SIGSEGV)
        if data == b"hang":
            time.sleep(60)
        pipe.send(Probed("colorized", kind="gray"))


def refusing(pipe, options):
    """Be a child whose checkpoint cannot be loaded."""
    pipe.send(CheckpointError("nobody: no such checkpoint"))


def dying(pipe, options):
    """Be a child that never gets ready."""
    os._exit(3)
