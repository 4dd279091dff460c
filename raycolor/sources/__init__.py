"""What a bulk job reads: places, single objects, lists of inputs, and members of archives."""

from raycolor.sources.keys import LinkGuard, check_places, key_inside, place_holds
from raycolor.sources.location import Location, SkippedInputError
from raycolor.sources.opening import open_source
from raycolor.sources.reading import Reader
from raycolor.sources.source import Input, Source, place_of

__all__ = [
    "Input",
    "LinkGuard",
    "Location",
    "Reader",
    "SkippedInputError",
    "Source",
    "check_places",
    "key_inside",
    "open_source",
    "place_holds",
    "place_of",
]
