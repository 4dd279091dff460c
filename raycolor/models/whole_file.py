"""Writing a file whole or not at all."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from raycolor.errors import CheckpointError


def write_whole(path: Path, data: bytes) -> None:
    """Write a file whole or not at all: a neighbor first, then renamed.

    Raises:
        CheckpointError: the folder cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            Path(name).chmod(0o644)  # mkstemp gives 0600, which other users of a shared folder could not read
            Path(name).replace(path)
        finally:
            Path(name).unlink(missing_ok=True)
    except OSError as exc:
        raise CheckpointError(f"{path}: cannot be written ({exc.strerror}): choose a folder you may write to") from exc
