"""`job.json`: what fixes the outputs of a bulk job, and what a later run does again of it."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, Final, Literal

from raycolor.colorize.job_folder import FOLDER
from raycolor.colorize.manifest import ManifestTotals
from raycolor.colorizer.config import ColorizerConfig
from raycolor.errors import ManifestError
from raycolor.storage import ObjectStore, get_if_there

JOB_KEY: Final = FOLDER + "job.json"
FORMAT_VERSION: Final = 1


@dataclass(frozen=True)
class Round:
    """What a later run does again of a job; stands in `job.json` until it has ended, so that a kill loses nothing."""

    number: int
    """Completion records written in it carry this number: those shards are not done again in the same round."""
    retry: bool = False
    reasons: tuple[str, ...] = ()
    """Reasons of the failures to retry; all if empty."""
    add_new: bool = False
    verify: bool = False
    listed: bool = False
    """Whether the source was listed for it and the manifest says what was found."""
    redo: tuple[str, ...] = ()
    """Globs of keys that are made again, as `revision` says."""
    revision: int = 0
    """The revision whose outputs it is about; of a redo the one that it makes."""
    review: str | None = None
    """Hash of what a review makes again: `reviews/HASH.csv`."""
    then: tuple[int, ...] = ()
    """Revisions that it is about afterwards, one after the other: each has a colorizer of its own."""

    def asks_as(self, other: Round) -> bool:
        """Whether another round asks for the same, however far either has come."""

        def asked(one: Round) -> Round:
            return replace(one, number=0, listed=False, revision=one.revision if one.redo else 0, then=())

        return asked(self) == asked(other)


@dataclass(frozen=True)
class Revision:
    """How some outputs of a job were made, other than by the job's own settings."""

    number: int
    """From 1 on; outcomes carry it. 0 are the job's own settings."""
    settings: dict[str, Any]
    """Of the colorizer, all of them."""
    checkpoint: dict[str, Any]
    network_sha256: str | None
    created: str
    device: str | None = None
    precision: Literal["fp32", "bf16"] | None = None
    computed_with: str | None = None
    hints_sha256: str | None = None
    """Of the color hints that it goes by, `hints/HASH.csv`; None for none."""


@dataclass(frozen=True)
class JobRecord:
    """`job.json`: what fixes a job's outputs, written once its manifest is whole."""

    identity: dict[str, Any]
    checkpoint: dict[str, Any]
    source: str
    config: dict[str, Any]
    raycolor_version: str
    manifest: ManifestTotals
    created: str
    format_version: int = FORMAT_VERSION
    device: str | None = None
    """Where the network runs, `cpu` or `cuda`; None until the first worker starts."""
    precision: Literal["fp32", "bf16"] | None = None
    """What `auto` meant on the nodes that the job began on; None until the first worker starts."""
    computed_with: str | None = None
    """Instruction set of their CPUs, or model of their GPU."""
    root: str | None = None
    """Store of the inputs that have no location: a list that has grown may have another one."""
    sources: tuple[str, ...] = ()
    """The files and folders that `source` stands for, where they are several."""
    rounds: int = 0
    """Rounds that were begun."""
    round: Round | None = None
    revisions: tuple[Revision, ...] = ()
    """Other ways in which some outputs were made; outcomes say which."""

    def made_by(self, revision: int) -> JobRecord | Revision:
        """Return what says how outputs of a revision are computed, with `checkpoint` and what was settled."""
        return self.revisions[revision - 1] if revision else self

    def settings_of(self, revision: int) -> dict[str, Any]:
        """Return the settings of a revision's colorizer, by name; for 0 all settings that the job began with."""
        return self.revisions[revision - 1].settings if revision else self.config

    def colorizer_of(self, revision: int) -> ColorizerConfig:
        """Return the settings of a revision's colorizer."""
        settings = self.settings_of(revision)
        return ColorizerConfig(**{name: settings[name] for name in ColorizerConfig.model_fields if name in settings})

    def hints_of(self, revision: int) -> str | None:
        """Return the hash of the color hints of a revision, None for none."""
        found = self.revisions[revision - 1].hints_sha256 if revision else self.identity.get("hints_sha256")
        return None if found is None else str(found)

    def settle(self, dest: ObjectStore, revision: int, **settled: Any) -> JobRecord:
        """Write down how a revision is computed."""
        if not revision:
            return self.amend(dest, **settled)
        one = replace(self.revisions[revision - 1], **settled)
        return self.amend(dest, revisions=(*self.revisions[: revision - 1], one, *self.revisions[revision:]))

    def write(self, dest: ObjectStore) -> None:
        """Write `job.json`; from then on the destination belongs to this job."""
        dest.put(JOB_KEY, json.dumps(asdict(self), indent=2).encode() + b"\n")

    def amend(self, dest: ObjectStore, **changes: Any) -> JobRecord:
        """Change some fields in `job.json`, which the holder of the lease alone writes; return the new record."""
        record = replace(self, **changes)
        record.write(dest)
        return record


def read_job(dest: ObjectStore) -> JobRecord | None:
    """Return the job that a destination belongs to, or None.

    Raises:
        ManifestError: `job.json` is damaged or of another format version.
    """
    data = get_if_there(dest, JOB_KEY)
    if data is None:
        return None
    try:
        loaded = json.loads(data)
        if loaded["format_version"] != FORMAT_VERSION:
            raise ManifestError(
                f"{dest.uri}: {JOB_KEY} has format version {loaded['format_version']}, this raycolor reads "
                f"{FORMAT_VERSION}: finish the job with the raycolor that began it, or give a new DEST"
            )
        loaded["manifest"]["part_starts"] = tuple(loaded["manifest"]["part_starts"])
        loaded["manifest"] = ManifestTotals(**loaded["manifest"])
        if loaded.get("round"):
            lists = {name: tuple(loaded["round"].get(name, ())) for name in ("reasons", "redo", "then")}
            loaded["round"] = Round(**{**loaded["round"], **lists})
        loaded["sources"] = tuple(loaded.get("sources", ()))
        loaded["revisions"] = tuple(Revision(**one) for one in loaded.get("revisions", ()))
        return JobRecord(**loaded)
    except (ValueError, KeyError, TypeError) as exc:
        raise ManifestError(f"{dest.uri}: {JOB_KEY} is damaged ({exc}): give a new DEST") from exc


def check_same_job(record: JobRecord, wanted: Mapping[str, Any], dest_uri: str, *, but: Collection[str] = ()) -> None:
    """Refuse to continue a job under settings that would change its outputs.

    Args:
        record: the job.
        wanted: what its identity would be now.
        dest_uri: its destination.
        but: names that may differ.

    Raises:
        ManifestError: names every setting that differs, with both values.
    """
    keys = sorted((record.identity.keys() | wanted.keys()) - set(but))
    differences = [
        f"{key} was {record.identity.get(key)!r}, now {wanted.get(key)!r}"
        for key in keys
        if record.identity.get(key) != wanted.get(key)
    ]
    if differences:
        raise ManifestError(
            f"{dest_uri} holds another job: {'; '.join(differences)}: run it with the old settings or give a new DEST"
        )
