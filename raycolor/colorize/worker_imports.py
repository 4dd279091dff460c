"""What a worker of the bulk job imports, for this machine's instructions; imported for nothing else."""

from raycolor.machine import instruction_set, limit_instructions

limit_instructions(instruction_set())

import raycolor.colorize.shard  # noqa: E402, F401
