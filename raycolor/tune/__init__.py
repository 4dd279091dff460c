"""`raycolor tune`: sweeps, and the report of what they tell."""

import os

# Read by Ray Tune when it is imported or when it starts: whatever of this folder imports it, they stand here before.
os.environ.setdefault("TUNE_DISABLE_AUTO_CALLBACK_LOGGERS", "1")
os.environ.setdefault("TUNE_DISABLE_STRICT_METRIC_CHECKING", "1")  # checkpoints within an epoch carry no metrics
os.environ.setdefault("RAY_AIR_NEW_OUTPUT", "0")  # the new one prints a box even when told to be silent
os.environ.setdefault("TUNE_DISABLE_SIGINT_HANDLER", "1")  # Ctrl-C ends the command as it ends every other
