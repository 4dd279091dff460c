"""What jobs read: places, single objects, lists of inputs, and members of archives."""

from raycolor.sources.location import Input, Location, SkippedInputError
from raycolor.sources.open import open_source, open_sources
from raycolor.sources.overlap import LinkGuard
from raycolor.sources.reader import Reader
from raycolor.sources.source import Source

__all__ = [
    "Input",
    "LinkGuard",
    "Location",
    "Reader",
    "SkippedInputError",
    "Source",
    "open_source",
    "open_sources",
]
