"""Several places as one source: photographs and folders, each under its own name."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from raycolor.errors import ConfigError
from raycolor.sources.location import Input
from raycolor.sources.overlap import place_holds
from raycolor.sources.source import OneObject, Source
from raycolor.storage.base import RECORDS
from raycolor.storage.local import name_to_key


class ManySources(Source):
    """The inputs of several places, in their order: a file is called by its name, what is in a folder by the folder's.

    So `a/1.jpg b` gives the keys `1.jpg` and `b/...`, as `cp -r a/1.jpg b DEST` would name them.

    Args:
        parts: files and folders, or objects and prefixes.
        options: for S3, as `open_store` takes them.

    Raises:
        ConfigError: two of one name, one inside another, lists, or files beside buckets.
    """

    def __init__(self, parts: Sequence[Source], *, archives: bool, options: Mapping[str, Any]) -> None:
        super().__init__(" + ".join(part.uri for part in parts), _root(parts), archives=archives, options=options)
        self._parts = {_name(part): part for part in parts}
        known: dict[str, Source] = {}
        for part in parts:
            if type(part) not in (Source, OneObject):
                raise ConfigError(f"{part.uri}: is a list, which names all inputs of a job itself: give it alone")
            other = known.setdefault(_name(part), part)
            if other is not part:
                raise ConfigError(
                    f"{other.uri} and {part.uri}: both would be {_name(part)} in DEST: give the folder that holds "
                    "both, or colorize each into a DEST of its own"
                )
        for folder in parts:
            for part in parts if type(folder) is Source else ():
                if part is not folder and place_holds(folder.uri, part.uri, or_is=True):
                    raise ConfigError(f"{part.uri}: lies in {folder.uri}: give one of them")

    @property
    def places(self) -> tuple[str, ...]:
        return tuple(place for part in self._parts.values() for place in part.places)

    @property
    def uris(self) -> tuple[str, ...]:
        return tuple(part.uri for part in self._parts.values())

    def _listed(self) -> Iterator[Input]:
        for name, part in self._parts.items():
            # Options of listing are the parts' own; each of them knows where its inputs are.
            for info in part._listed():
                if info.key.startswith(RECORDS):
                    self.notes["records of an earlier job"] += 1
                    continue
                key = name if type(part) is OneObject else f"{name}/{info.key}"
                at = replace(info.location, uri=part.root, object=info.object)
                yield info._replace(key=key, location=at)


def _name(part: Source) -> str:
    """Return the last name of a place, as a key."""
    if part.uri.startswith("s3://"):
        return part.uri.rstrip("/").rpartition("/")[2]
    return name_to_key(os.path.basename(os.path.abspath(part.uri)))  # noqa: PTH100, PTH119 - of a link its own name


def _root(parts: Sequence[Source]) -> str:
    remote = [part.root.startswith("s3://") for part in parts]
    if any(remote) != all(remote):
        raise ConfigError("SOURCE: files and buckets side by side: colorize them in two jobs")
    return parts[0].root if all(remote) else os.path.commonpath([part.root for part in parts])
