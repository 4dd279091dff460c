"""Run every benchmark that needs no photographs of yours, one after the other: `make bench`.

Each writes its numbers to benchmarks/results/NAME.json and prints its table; one at a time is `python
benchmarks/NAME.py`. `tone.py` and `bleeding.py` are not among them: they ask for folders of photographs in color.
"""

import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
NAMES = (
    "color",
    "end_to_end",
    "stages",
    "bulk",
    "latency",
    "training",
    "loader",
    "prepare",
    "listing",
    "driver",
    "staged",
    "startup",
)


def main() -> int:
    """Run all and return 1 if one of them failed."""
    results = HERE / "results"
    results.mkdir(exist_ok=True)
    failed = []
    for name in NAMES:
        print(f"== {name}", flush=True)
        command = [sys.executable, str(HERE / f"{name}.py"), "--json", str(results / f"{name}.json")]
        if subprocess.run(command, check=False).returncode:
            failed.append(name)
    if failed:
        print(f"failed: {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
