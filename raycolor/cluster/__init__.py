"""What the jobs share of Ray."""

import os

# Ray reads these when it is imported: no usage report leaves the machine, and zero GPUs is no reason to warn.
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
os.environ.setdefault("RAY_TRAIN_V2_ENABLED", "1")
# A task whose worker the memory monitor ends is tried again without an end otherwise.
os.environ.setdefault("RAY_task_oom_retries", "3")
