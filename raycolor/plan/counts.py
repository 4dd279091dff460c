"""Exact counts of a listing: by format as names tell it, by size, by storage class."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from raycolor.codecs.photograph import SUFFIXES

_FORMATS: Final = {suffix[1:]: name for name, suffixes in SUFFIXES.items() for suffix in suffixes}
FORMATS: Final = tuple(SUFFIXES)
NO_EXTENSION: Final = "no extension"
OTHERS: Final = "other extensions"

# Hostile or odd names must not fill the memory: later extensions beyond these are counted together.
_MOST_EXTENSIONS: Final = 40
_LONGEST_EXTENSION: Final = 8

SIZE_CLASSES: Final = (
    (1, "0 bytes, or not told by a list"),
    (100_000, "under 100 KB"),
    (1_000_000, "100 KB to 1 MB"),
    (10_000_000, "1 to 10 MB"),
    (100_000_000, "10 to 100 MB"),
    (1_000_000_000, "100 MB to 1 GB"),
    (float("inf"), "1 GB and more"),
)
"""Upper bound in bytes, exclusive, and name."""

PIXEL_CLASSES: Final = (
    (1e6, "under 1 MP"),
    (5e6, "1 to 5 MP"),
    (25e6, "5 to 25 MP"),
    (100e6, "25 to 100 MP"),
    (250e6, "100 to 250 MP"),
    (float("inf"), "250 MP and more"),
)
"""Upper bound in pixels of all pages together, exclusive, and name."""


@dataclass
class Count:
    """How many inputs, and their bytes."""

    inputs: int = 0
    bytes: int = 0

    def add(self, size: int) -> None:
        """Count one input of `size` bytes."""
        self.inputs += 1
        self.bytes += size


@dataclass
class Counts:
    """Counts from a listing alone. Memory does not grow with the number of inputs."""

    total: Count = field(default_factory=Count)
    formats: dict[str, Count] = field(default_factory=dict)
    sizes: dict[str, Count] = field(default_factory=dict)
    storage_classes: dict[str, Count] = field(default_factory=dict)

    def add(self, key: str, size: int, storage_class: str | None) -> None:
        """Count one input; `storage_class` is None where the listing does not tell it."""
        self.total.add(size)
        name = named_format(key)
        if name not in self.formats and name not in FORMATS and len(self.formats) >= _MOST_EXTENSIONS:
            name = OTHERS
        self.formats.setdefault(name, Count()).add(size)
        self.sizes.setdefault(class_of(size, SIZE_CLASSES), Count()).add(size)
        if storage_class is not None:
            self.storage_classes.setdefault(storage_class, Count()).add(size)

    def sorted(self, counts: dict[str, Count], order: Iterable[str] = ()) -> dict[str, Count]:
        """Return counts in the given order, then the most first."""
        places = {name: place for place, name in enumerate(order)}
        return dict(sorted(counts.items(), key=lambda kv: (places.get(kv[0], len(places)), -kv[1].inputs, kv[0])))


def named_format(key: str) -> str:
    """Return the format that a key's extension claims: one of `FORMATS`, `.ext` for others, or `no extension`."""
    stem, dot, extension = key.rpartition("/")[2].rpartition(".")
    extension = extension.lower()
    if not dot or not stem or not extension.isalnum() or len(extension) > _LONGEST_EXTENSION:
        return NO_EXTENSION
    return _FORMATS.get(extension, f".{extension}")


def class_of(value: float, classes: Iterable[tuple[float, str]]) -> str:
    """Return the name of the first class whose upper bound is above the value."""
    return next(name for bound, name in classes if value < bound)
