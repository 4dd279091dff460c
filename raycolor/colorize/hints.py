"""Color hints of a job: kept beside its records by their hash, one list for each revision that has some."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from raycolor.colorize.job_folder import FOLDER
from raycolor.colorize.job_record import JobRecord
from raycolor.colorize.manifest import Manifest
from raycolor.colorizer.hint_list import HintList, parse_hints
from raycolor.errors import ConfigError, ManifestError
from raycolor.sources import Input
from raycolor.storage import ObjectStore, get_if_there

_KEPT: Final = FOLDER + "hints/{}.csv"


def keep_hints(dest: ObjectStore, hints: HintList) -> None:
    """Write a list where `hints_of` finds it; no hints need no list."""
    if hints.sha256 is not None:
        dest.put(_KEPT.format(hints.sha256), hints.to_csv())


def hints_of(dest: ObjectStore, record: JobRecord, revision: int) -> HintList:
    """Return the hints that a revision goes by.

    Raises:
        ManifestError: their list is missing or has changed.
    """
    sha256 = record.hints_of(revision)
    if sha256 is None:
        return HintList()
    key = _KEPT.format(sha256)
    data = get_if_there(dest, key)
    try:
        found = None if data is None else parse_hints(data, key)
    except ConfigError as exc:
        raise ManifestError(f"{dest.uri}: {exc}") from exc
    if found is None or found.sha256 != sha256:
        raise ManifestError(f"{dest.uri}: {key} is {'missing' if found is None else 'changed'}: put it back")
    return found


def hinted(hints: HintList, inputs: Iterator[Input]) -> Iterator[Input]:
    """Pass inputs on, once it is known that every hint is about one of them.

    Raises:
        ConfigError: after the last input, if one is about none.
    """
    unknown = set(hints.hints)
    for info in inputs:
        unknown.discard(info.key)
        yield info
    if unknown:
        more = f" and {len(unknown) - 1:,} more" if len(unknown) > 1 else ""
        raise ConfigError(f"--hints: {min(unknown)}{more}: no input of this job: give keys as in outcomes.csv")


def check_hints(hints: HintList, manifest: Manifest) -> None:
    """Make sure that every hint is about an input of a job.

    Raises:
        ConfigError: one is about none.
    """
    for _ in hinted(hints, (info for _, inputs in manifest.parts() for info in inputs)):
        pass
