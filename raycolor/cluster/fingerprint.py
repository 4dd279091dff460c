"""What decides colors beside settings and weights: the bytes of our own code, and versions of libraries."""

from __future__ import annotations

import hashlib
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Final

# What lies between the bytes of an input and those of its output. Help, pages, records, placement and the reading of
# sources may change under a job that is not finished.
_CODE: Final = ("color", "codecs", "models", "colorizer", "machine.py")
_LIBRARIES: Final = (
    "torch",
    "numpy",
    "numba",
    "opencv-python-headless",
    "simplejpeg",
    "pillow",
    "tifffile",
    "imagecodecs",
    "onnxruntime",
)


@cache
def made_of(root: Path = Path(__file__).parents[1]) -> dict[str, str | None]:
    """Return the hash of the code that decides bytes, and the version of each library that does."""
    digest = hashlib.sha256()
    for name in _CODE:
        place = root / name
        for path in sorted(place.rglob("*.py")) if place.is_dir() else [place]:
            data = path.read_bytes()
            digest.update(f"{path.relative_to(root).as_posix()} {len(data)}\n".encode())
            digest.update(data)
    return {"code_sha256": digest.hexdigest(), **{library: _version(library) for library in _LIBRARIES}}


def _version(library: str) -> str | None:
    try:
        return version(library)
    except PackageNotFoundError:
        return None
