"""Paths as every worker understands them."""

from __future__ import annotations

from pathlib import Path


def absolute(uri: str) -> str:
    """Make a local path absolute, for Ray's workers have another working directory; addresses stay as they are."""
    return uri if "://" in uri else str(Path(uri).absolute())
