"""`raycolor sign` as a script for `ray job submit`: same arguments, same exit codes."""

import sys
from pathlib import Path

# A submitted working directory is no installed package: its root has to be importable first.
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from raycolor.cli import main

if __name__ == "__main__":
    main(["sign", *sys.argv[1:]])
