"""Which photographs IIIF shows: every original of a job beside what was made of it."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from raycolor.colorize.job_record import JobRecord
from raycolor.colorize.manifest import Manifest
from raycolor.colorize.memory_budget import MemoryBudget
from raycolor.errors import ImageError, ManifestError
from raycolor.package.iiif import Drawn, Presentation, Shown
from raycolor.package.payload import Item, Items
from raycolor.progress import printable
from raycolor.sources import Input, Reader
from raycolor.storage import ObjectStore

_HELD_BYTES: Final = 2**30
_BYTES_PER_PIXEL: Final = 10  # of one photograph gray and in color, with its files


class Photographs:
    """Shows the photographs of a job, shard by shard.

    Args:
        dest: the job's destination.
        record: the job.
        originals: reads its inputs.
        pages: where they are shown.
        on_file: told name and SHA-256 of every file that was written.
    """

    def __init__(
        self,
        dest: ObjectStore,
        record: JobRecord,
        originals: Reader,
        pages: Presentation,
        on_file: Callable[[str, str], None],
    ) -> None:
        self._dest, self._record, self._originals, self._pages, self._on_file = dest, record, originals, pages, on_file
        self._manifest = Manifest(dest, record.manifest)
        self._budget = MemoryBudget(_HELD_BYTES)

    def show(self, shard: Items, pool: ThreadPoolExecutor) -> None:
        """Write the images of a shard.

        Raises:
            ManifestError: an original or an output cannot be read.
        """
        inputs = {info.key: info for info in self._manifest.shard(shard.shard)}
        shown = [item for item in shard.items if item.outcome.status == "colorized"]
        # Members of a packed archive are unpacked from its front, one after the other.
        packed = any(self._originals.in_order(inputs[item.outcome.key]) for item in shown)

        def draw(item: Item) -> Drawn:
            return self._draw(item, inputs[item.outcome.key])

        for drawn in map(draw, shown) if packed else pool.map(draw, shown):
            self._pages.note(drawn)
            for name, sha256 in drawn.sums:
                self._on_file(name, sha256)

    def end(self) -> None:
        """Write the manifests of all folders."""
        title = self._record.source.rstrip("/").rpartition("/")[2] or "photographs"
        for name, sha256 in self._pages.write_manifests(title):
            self._on_file(name, sha256)

    def _draw(self, item: Item, info: Input) -> Drawn:
        outcome = item.outcome
        network = str(self._record.made_by(outcome.revision).checkpoint["name"])
        with self._budget.hold(_BYTES_PER_PIXEL * (outcome.pixels or 0)):
            try:
                gray = self._originals.get_any(self._originals.sized(info))
                color = self._dest.get(str(outcome.output_key))
                return self._pages.draw(Shown(outcome.key, network, gray, color))
            except ImageError as exc:
                raise ManifestError(
                    f"{printable(outcome.key)}: --iiif shows it gray and in color, and it cannot be read ({exc}): mend "
                    "that, or leave out --iiif"
                ) from exc
