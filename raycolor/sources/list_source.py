"""Sources made of a list: each input once, single members of archives, failed inputs of an earlier job."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from raycolor.sources.input_list import Entry, InputList, ListPlan
from raycolor.sources.key_set import KeySet
from raycolor.sources.keys import archive_part
from raycolor.sources.location import Input, Location
from raycolor.sources.source import Source
from raycolor.storage import StorageError, check_key


class ListSource(Source):
    """The inputs that a list names, in its order; one named twice is one.

    Keys may lead into archives (`box.tar/1.jpg`), as those of failed.csv do: then just these members are taken, in the
    order of the archive.
    """

    def __init__(self, names: InputList, plan: ListPlan, *, archives: bool, options: Mapping[str, Any]) -> None:
        super().__init__(names.uri, plan.bases[0], archives=archives, options=options)
        self._names, self._plan = names, plan

    @property
    def places(self) -> tuple[str, ...]:
        return self._plan.bases

    def _listed(self) -> Iterator[Input]:
        with KeySet() as seen, KeySet() as taken, KeySet() as wanted, KeySet() as found:
            through = self.archives and self._plan.members
            if through:
                for entry in self._names.entries(self._plan):
                    if archive_part(entry.object):
                        wanted.add(self._key(entry))
            for entry in self._names.entries(self._plan):
                # A version of its own is an input of its own, under a key of its own.
                if not seen.add(f"{self._key(entry)}\0{entry.version or ''}"):
                    self.notes["listed more than once"] += 1
                    continue
                try:
                    check_key(entry.object)
                except StorageError as exc:
                    yield Input(self._key(entry), 0, "", Location(reason=exc.reason, detail=exc.detail))
                    continue
                archive = archive_part(entry.object) if through else None
                if archive is None or self.reader.store(entry.uri).stat(archive) is None:
                    yield self._input(entry, taken.free_name(self._key(entry)) if self._plan.versions else None)
                    continue
                if taken.add(f"{self._key(entry, archive)}\0opened"):
                    whole = self._input(entry._replace(object=archive, size=0, etag=""), None)
                    yield from picked(self.members(whole), wanted, found)
                if self._key(entry) not in found:
                    yield gone(self._key(entry), self.uri)

    def _key(self, entry: Entry, key: str | None = None) -> str:
        bare = key or entry.object
        return bare if len(self._plan.bases) == 1 else f"{entry.uri.removeprefix('s3://')}/{bare}"

    def _input(self, entry: Entry, key: str | None) -> Input:
        key = key or self._key(entry)
        uri = entry.uri if len(self._plan.bases) > 1 else None
        place = Location(uri, None if key == entry.object else entry.object, entry.version)
        return Input(key, entry.size, entry.etag, place)


class RetrySource(Source):
    """The inputs of an earlier source that a failed.csv names, found by listing that source again.

    Needed where keys alone do not say where inputs are: the earlier source was a list itself.
    """

    def __init__(self, names: InputList, earlier: Source, *, options: Mapping[str, Any]) -> None:
        super().__init__(names.uri, earlier.root, archives=earlier.archives, options=options)
        self._names, self._earlier = names, earlier

    @property
    def places(self) -> tuple[str, ...]:
        return self._earlier.places

    def _listed(self) -> Iterator[Input]:
        dest = self.uri.rpartition("/")[0].rpartition("/")[0]  # that of the earlier job
        with KeySet() as wanted, KeySet() as found:
            for row in self._names.rows():
                wanted.add(row.key)
            yield from picked(self._earlier.inputs(dest), wanted, found)
            for row in self._names.rows():
                if found.add(row.key):
                    yield gone(row.key, self._earlier.uri)


def picked(inputs: Iterator[Input], wanted: KeySet, found: KeySet) -> Iterator[Input]:
    """Yield those inputs whose key is wanted, and note that they were found."""
    with KeySet() as keys:
        for info in inputs:
            info = info._replace(key=keys.free_name(info.key))
            if info.key in wanted and found.add(info.key):
                yield info


def gone(key: str, where: str) -> Input:
    """Return an input that a list names and its source no longer has; its outcome is `not_found`."""
    return Input(key, 0, "", Location(reason="not_found", detail=f"no longer in {where}"))
