"""What a bulk job reads: places, single objects, lists of inputs, and members of archives."""

from raycolor.sources.location import Location, SkippedInputError
from raycolor.sources.opening import open_source
from raycolor.sources.places import check_places, key_inside
from raycolor.sources.reading import Reader
from raycolor.sources.source import Input, Source, place_of

__all__ = [
    "Input",
    "Location",
    "Reader",
    "SkippedInputError",
    "Source",
    "check_places",
    "key_inside",
    "open_source",
    "place_of",
]
