"""The photographs that a dataset is made of."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import Final

from raycolor.codecs.photograph import SUFFIXES
from raycolor.errors import ArchiveError, ConfigError
from raycolor.sources.keys import is_archive
from raycolor.sources.location import Input
from raycolor.sources.source import OneObject, Source

# By name alone: a list of millions must not cost a request each. A file without a suffix may be a picture.
PICTURE_SUFFIXES: Final = frozenset(["", *itertools.chain(*SUFFIXES.values())])
_PACKED: Final = (".tgz", ".gz", ".bz2", ".xz", ".zst")


def list_inputs(source: Source) -> Iterator[Input]:
    """Yield the files of a source, or the members of the one archive that it is.

    Args:
        source: opened with `archives=False`: archives that lie in a folder are files like others. Of members of one
            name the last is meant.

    Raises:
        ConfigError: a compressed archive: photographs are read in hash order, and it cannot be read at any place.
        ArchiveError: an archive that is damaged or cut short.
        StorageError: the source cannot be listed.
    """
    for info in source.inputs():
        if not isinstance(source, OneObject):
            yield info
        elif info.key.lower().endswith(_PACKED):
            raise ConfigError(f"{source.uri}: compressed archives cannot be read in place: unpack it, or make a .tar")
        elif not is_archive(info.key):
            yield info
        else:
            for member in source.members(info):
                if member.key == info.key:
                    raise ArchiveError(f"{source.uri}: {member.location.detail or 'no archive'}: fetch it again")
                if not member.location.skipped:
                    yield member._replace(key=member.key.removeprefix(f"{info.key}/"))


def is_picture(key: str) -> bool:
    """Whether a file may be a picture by its name; hidden files are none."""
    path = PurePosixPath(key)
    return path.suffix.lower() in PICTURE_SUFFIXES and not path.name.startswith(".")
