"""The inputs of a job: a folder or prefix, one object, or a list, with the members of archives."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any

from raycolor.sources.archives import archive_members
from raycolor.sources.key_set import KeySet
from raycolor.sources.keys import archive_part, is_archive, matches, member_key
from raycolor.sources.location import Input
from raycolor.sources.overlap import check_overlap, key_inside, place_holds
from raycolor.sources.reader import Reader
from raycolor.storage.base import RECORDS
from raycolor.storage.local import key_to_name
from raycolor.storage.patience import local_store


class Source:
    """Inputs of a job. Made by `open_source`.

    Attributes:
        uri: what identifies it: a folder, prefix, object or list.
        root: store of the inputs that have no location, for `Reader`.
        reader: reads the inputs, by their location.
        notes: what `inputs` left out, by why.
    """

    def __init__(self, uri: str, root: str, *, archives: bool, options: Mapping[str, Any]) -> None:
        self.uri, self.root = uri, root
        self.archives = archives
        self.notes: Counter[str] = Counter()
        self.reader = Reader(root, options)
        self._folder: tuple[tuple[str | None, str] | None, bool] = None, False

    @property
    def places(self) -> tuple[str, ...]:
        """The folders or prefixes that hold its inputs."""
        return self.uri, self.root

    @property
    def uris(self) -> tuple[str, ...]:
        """What it was opened from: itself, or several places."""
        return (self.uri,)

    def check_dest(self, dest: str) -> None:
        """Refuse a destination that could overwrite inputs.

        Raises:
            ConfigError: see `check_overlap`.
        """
        for place in self.places:
            check_overlap(place, dest)

    def inputs(
        self,
        dest: str | None = None,
        include: tuple[str, ...] = (),
        exclude: tuple[str, ...] = (),
        *,
        unchanged: Callable[[Input], bool] = lambda archive: False,
    ) -> Iterator[Input]:
        """Yield what a job has to read, each key once, archives member by member.

        Left out, and counted in `notes`: what lies in the destination, records of an earlier job, and repetitions. An
        archive that cannot be read to its end is an input of its own beside the members before the damage. Memory does
        not grow with the number of inputs.

        Args:
            dest: the destination; what lies inside is no input. None if a job writes none.
            include: globs of keys to take, whatever their capital letters; none means all.
            exclude: globs of keys to leave out; of an archive's key, all its members.
            unchanged: whether the members of an archive are known already, so that it need not be read.

        Raises:
            ConfigError: a list that cannot be used.
            StorageError: the source cannot be listed.
        """
        self.notes.clear()
        self._folder = None, False  # of an earlier listing: links may have changed
        with KeySet() as keys:
            for info in self._listed():
                if self._left_out(info, dest) or matches(info.key, exclude):
                    continue
                if self._opens(info) and unchanged(info):
                    continue
                for found in self._expanded(info, keys):
                    # A broken archive is told whatever the patterns take: its members may be lost.
                    broken = found.key == info.key and found.location.reason is not None
                    if include and not broken and not matches(found.key, include):
                        continue
                    if not matches(found.key, exclude):
                        yield found

    def _listed(self) -> Iterator[Input]:
        """Yield the objects of the source, archives unopened."""
        return (Input(*info) for info in self.reader.store().list())

    def _left_out(self, info: Input, dest: str | None) -> bool:
        where = f"{(info.location.uri or self.root).rstrip('/')}/{info.object}"
        if dest is not None and (key_inside(dest, where) is not None or self._leads_into(dest, info)):
            self.notes["inside DEST"] += 1
            return True
        if info.key.startswith(RECORDS):
            self.notes["records of an earlier job"] += 1
            return True
        return False

    def _leads_into(self, dest: str, info: Input) -> bool:
        """Whether the folder of an input is the destination's by a link or by another spelling."""
        # Asked once for each folder: a listing comes folder by folder.
        folder = info.location.uri, info.object.rpartition("/")[0]
        if folder != self._folder[0]:
            store = local_store(self.reader.store(info.location.uri))
            inside = False
            if store is not None and not dest.startswith("s3://"):
                inside = place_holds(dest, str(store.root / key_to_name(folder[1])), or_is=True)
            self._folder = folder, inside
        return self._folder[1]

    def _expanded(self, info: Input, keys: KeySet) -> Iterator[Input]:
        """Yield the members of an archive, or the input itself; keys that are taken get a number."""
        if not self._opens(info):
            # Keys of one listing differ; only the members of an archive may meet an object below its name.
            if self.archives and info.location.kind is None and archive_part(info.key):
                info = _renamed(info, keys.free_name(info.key))
            yield info
            return
        for found in self.members(info):
            # The archive's own row, if it has one, cannot meet another.
            yield found if found.key == info.key else found._replace(key=keys.free_name(found.key))

    def _opens(self, info: Input) -> bool:
        at = info.location
        return self.archives and is_archive(info.key) and at.kind is None and at.reason is None

    def members(self, info: Input) -> Iterator[Input]:
        """Yield the members of an archive as inputs, or the object itself if it is none.

        An archive that cannot be read to its end comes last, as an input whose outcome is fixed.
        """
        place, key = info.location, info.object
        store = self.reader.store(place.uri)
        size, etag = info.size, info.etag
        if not size:
            found = self.reader.look(info)
            if found is None:  # whoever reads it will say why
                yield info
                return
            size, etag = found.size, found.etag
        members = archive_members(store, key, size, place.version)
        if members is None:
            yield info
            return
        for member in members:
            at = member.location
            if at.reason is None:
                at = replace(at, uri=place.uri, object=key, version=place.version)
            if member.name:
                yield Input(member_key(info.key, member.name), member.size, etag, at)
            else:
                yield Input(info.key, size, etag, at)


def _renamed(info: Input, key: str) -> Input:
    """Return an object under another key; its location keeps the key of its bytes."""
    if key == info.key:
        return info
    return info._replace(key=key, location=replace(info.location, object=info.object))


class OneObject(Source):
    """A single file or object."""

    def __init__(self, root: str, key: str, *, archives: bool, options: Mapping[str, Any]) -> None:
        super().__init__(f"{root.rstrip('/')}/{key}", root, archives=archives, options=options)
        self._key = key

    @property
    def places(self) -> tuple[str, ...]:
        return (self.uri,)

    def _listed(self) -> Iterator[Input]:
        info = self.reader.store().stat(self._key)
        if info is not None:
            yield Input(*info)
