"""raycolor: colorization of black-and-white photographs as a distributed job on Ray."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from raycolor.colorizer.api import Colorizer
    from raycolor.colorizer.result import ColorizedPhotograph
    from raycolor.models.shipped import list_checkpoints, load_checkpoint

__version__ = "0.1.0"
__all__ = ["ColorizedPhotograph", "Colorizer", "__version__", "list_checkpoints", "load_checkpoint"]

# Imported when first used: torch takes seconds, and `raycolor --help` needs none of it.
_HOMES = {
    "Colorizer": "raycolor.colorizer.api",
    "ColorizedPhotograph": "raycolor.colorizer.result",
    "list_checkpoints": "raycolor.models.shipped",
    "load_checkpoint": "raycolor.models.shipped",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})
