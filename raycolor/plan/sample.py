"""A seeded sample of a listing of any length, stratified by file size."""

from __future__ import annotations

import heapq
from dataclasses import dataclass, field
from typing import NamedTuple

from raycolor.dataset.split import order_key
from raycolor.sources import Input

# Four a group at the least: fewer say too little about how much the members of a group differ.
_PER_STRATUM = 4


class Drawn(NamedTuple):
    """One input of a sample."""

    stratum: int
    info: Input


@dataclass
class _Cell:
    """Inputs whose size has the same number of bits."""

    inputs: int = 0
    bytes: int = 0
    lowest: list[tuple[int, int, Input]] = field(default_factory=list)
    """Heap of (minus hash, place in the listing, input): those of the lowest hashes."""


class Sample:
    """Draws `size` inputs from a listing that passes by once; holds at most 64 x `size` of them.

    Who is drawn follows from a hash of key and seed, so that the order of the listing does not matter, and an archive
    that grew keeps most of its sample. A plain random sample of 32 among thousands hardly ever meets the few large
    scans that most of the time goes into; therefore the inputs are grouped by size (strata), and groups get places by
    half their number and half their bytes.

    Args:
        size: inputs to draw.
        seed: another seed, another sample.
    """

    def __init__(self, size: int, seed: int) -> None:
        self.size, self.seed = size, seed
        self._cells: dict[int, _Cell] = {}
        self._seen = 0

    def add(self, info: Input) -> None:
        """Consider one input of the listing for the sample."""
        cell = self._cells.setdefault(info.size.bit_length(), _Cell())
        cell.inputs += 1
        cell.bytes += info.size
        self._seen += 1
        if self.size == 0:
            return
        entry = (-int.from_bytes(order_key(info.key, self.seed)[0], "big"), self._seen, info)
        if len(cell.lowest) < self.size:
            heapq.heappush(cell.lowest, entry)
        elif entry[0] > cell.lowest[0][0]:
            heapq.heapreplace(cell.lowest, entry)

    def draw(self) -> tuple[list[int], list[Drawn]]:
        """Return the number of inputs in each stratum, and the sample in the order of the listing.

        Every stratum has at least two of the sample (all, where it is smaller), if the sample has four or more.
        """
        strata = self._strata()
        population = [sum(cell.inputs for cell in cells) for cells in strata]
        drawn: list[tuple[int, Drawn]] = []
        for stratum, (cells, places) in enumerate(zip(strata, self._places(strata), strict=True)):
            # The lowest hashes of all cells together: a random sample of the whole stratum.
            entries = sorted((entry for cell in cells for entry in cell.lowest), key=lambda entry: -entry[0])
            drawn += [(seen, Drawn(stratum, info)) for _, seen, info in entries[:places]]
        return population, [one for _, one in sorted(drawn, key=lambda pair: pair[0])]

    def _weight(self, cells: list[_Cell]) -> float:
        """Return the share of a stratum in all inputs and all bytes, half and half."""
        inputs, size = sum(cell.inputs for cell in cells), sum(cell.bytes for cell in cells)
        all_bytes = sum(cell.bytes for cell in self._cells.values())
        return inputs / self._seen / 2 + (size / all_bytes / 2 if all_bytes else 0)

    def _strata(self) -> list[list[_Cell]]:
        """Join neighboring cells, the lightest first, until the sample is large enough for each."""
        strata = [[self._cells[bits]] for bits in sorted(self._cells)]
        while len(strata) > max(1, self.size // _PER_STRATUM):
            pairs = range(len(strata) - 1)
            first = min(pairs, key=lambda i: self._weight(strata[i]) + self._weight(strata[i + 1]))
            strata[first : first + 2] = [strata[first] + strata[first + 1]]
        return strata

    def _places(self, strata: list[list[_Cell]]) -> list[int]:
        """Share the places of the sample out (Sainte-Laguë), two each first."""
        population = [sum(cell.inputs for cell in cells) for cells in strata]
        weights = [self._weight(cells) for cells in strata]
        places = [min(count, 2 if self.size >= _PER_STRATUM else self.size) for count in population]
        for _ in range(min(self.size, self._seen) - sum(places)):
            free = [i for i in range(len(strata)) if places[i] < population[i]]
            places[max(free, key=lambda i: weights[i] / (places[i] + 0.5))] += 1
        return places
