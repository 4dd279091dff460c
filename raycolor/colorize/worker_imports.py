"""What a worker of the bulk job imports and makes ahead, for this machine's instructions; imported for nothing else."""

import sys
from threading import Thread
from typing import Any, cast

from raycolor.machine import instruction_set, limit_instructions

limit_instructions(instruction_set())

# Numba looks there for products of matrices, which no loop of ours has: a tenth of what importing torch takes. Nobody
# else's code runs in this process.
modules = cast(dict[str, Any], sys.modules)
modules.setdefault("scipy.linalg", None)
try:
    import numba.np.arraymath  # noqa: F401
finally:
    if modules["scipy.linalg"] is None:
        del modules["scipy.linalg"]

import raycolor.colorize.shard  # noqa: E402, F401
from raycolor.color.kernels import warm  # noqa: E402

# Most of it is computed without Python's lock, beside the loading of the network.
Thread(target=warm, daemon=True).start()
