"""Writing a file whole or not at all."""

from __future__ import annotations

from pathlib import Path

from raycolor.errors import CheckpointError, StorageError
from raycolor.storage import LocalStore


def write_whole(path: Path, data: bytes) -> None:
    """Write a file whole or not at all: a neighbor first, then renamed.

    Raises:
        CheckpointError: the folder cannot be written.
    """
    try:
        LocalStore(path.parent).put(path.name, data)
    except StorageError as exc:
        raise CheckpointError(f"{exc}: choose a folder you may write to") from exc
