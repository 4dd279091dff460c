"""Write the examples into a folder."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from pydantic import Field

from raycolor.config import Frozen
from raycolor.errors import ConfigError

logger = logging.getLogger(__name__)

# Below the root of the repository. A wheel holds them in `raycolor/examples`: pyproject.toml puts them there.
EXAMPLES: Final = (
    "jobs",
    "tune_configs",
    "cluster.yaml",
    "requirements.lock",
    "requirements-worker.lock",
    "docs/aws",
    "docs/grafana.json",
    "docs/sample",
)
_PACKED: Final = Path(__file__).resolve().parents[1] / "examples"


class InitConfig(Frozen):
    """Settings of `raycolor init`."""

    folder: str = Field(description="folder to write into; files that are there already stay as they are")


def run(config: InitConfig) -> int:
    """Write every example that is not there yet, at its place in the repository, and say what to do next.

    Raises:
        ConfigError: the folder cannot be written.
    """
    folder = Path(config.folder)
    written = kept = 0
    try:
        for source, name in _files():
            target = folder / name
            if target.exists():
                kept += 1
                continue
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, target)
            written += 1
    except OSError as exc:
        raise ConfigError(f"{config.folder}: cannot be written ({exc.strerror}): name another folder") from exc
    logger.info("%s: %d files written, %d left as they were", folder, written, kept)
    logger.info("try it:     raycolor colorize %s out", folder / "docs/sample")
    logger.info("a sweep:    raycolor tune %s --data DATASET --out SWEEP", folder / "tune_configs/smoke.yaml")
    if _PACKED.is_dir():
        logger.info("a cluster:  put raycolor's wheel into %s: its nodes install it from there", folder)
    logger.info("a job:      cd %s && ray job submit --working-dir . -- python jobs/colorize.py SOURCE DEST", folder)
    return 0


def _files() -> Iterator[tuple[Path, str]]:
    """Yield each example: where it lies, and its name relative to the folder."""
    root = _PACKED if _PACKED.is_dir() else _PACKED.parents[1]  # of a checkout
    for name in EXAMPLES:
        here = root / name
        found = sorted(path for path in here.rglob("*") if path.is_file()) if here.is_dir() else [here]
        for path in found:
            if "__pycache__" not in path.parts:
                yield path, path.relative_to(root).as_posix()
