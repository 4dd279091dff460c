"""Revisions of a job: outputs that were made again by other settings than its own (`--redo`)."""

from __future__ import annotations

import datetime
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from raycolor.colorize.config import LATER, ColorizeConfig
from raycolor.colorize.job_record import JobRecord, Revision
from raycolor.colorizer.config import ColorizerConfig
from raycolor.errors import ConfigError, ManifestError
from raycolor.models.checkpoints import Checkpoint, load

logger = logging.getLogger(__name__)

_FIELDS: Final = frozenset(ColorizerConfig.model_fields)
MAY_DIFFER: Final = (*ColorizerConfig.model_fields, "weights_sha256", "network_sha256", "hints_sha256")
"""What of a job's identity a redo may set otherwise."""


def redo_settings(config: ColorizeConfig, found: JobRecord | None) -> ColorizeConfig:
    """Return the settings of a redo: those that were given, and for the others those of the job.

    Raises:
        ConfigError: there is no job to redo anything of, or another request stands beside it.
    """
    for name in LATER:
        if getattr(config, name):
            raise ConfigError(f"--redo and --{name.replace('_', '-')}: one after the other, in two commands")
    if found is None:
        raise ConfigError(f"--redo: {config.dest} holds no job: run the command without it first")
    stay = (_FIELDS & found.config.keys()) - config.model_fields_set
    return config.model_copy(update={name: found.config[name] for name in stay})


def revision_for(
    config: ColorizeConfig, record: JobRecord, checkpoint: Checkpoint, hints_sha256: str | None = None
) -> tuple[int, Revision | None]:
    """Return the number of the revision that a redo's settings are, and what is to be written of it if it is new.

    0 are the job's own settings: a redo by them takes an earlier redo back.
    """
    wanted = wanted_of(config, checkpoint, hints_sha256)
    known = known_revisions(record)
    if wanted in known:
        number = known.index(wanted)
        logger.info("redo: as revision %d", number)
        return number, None
    revision = new_revision(len(known), config, checkpoint, hints_sha256)
    logger.info("redo: revision %d: %s", revision.number, differences(known[0], wanted))
    return revision.number, revision


def wanted_of(config: ColorizerConfig, checkpoint: Checkpoint, hints_sha256: str | None) -> dict[str, Any]:
    """Return what decides the bytes of outputs that are asked for; equal to one of `known_revisions` if it is that."""
    hashes = checkpoint.weights_sha256, checkpoint.network_sha256, hints_sha256
    return _decisive(config.model_dump(mode="json"), *hashes)


def known_revisions(record: JobRecord) -> list[dict[str, Any]]:
    """Return what decides the bytes of each revision, from 0 on."""
    own = record.identity
    known = [_decisive(own, own["weights_sha256"], own["network_sha256"], record.hints_of(0))]
    return known + [
        _decisive(one.settings, one.checkpoint["weights_sha256"], one.network_sha256, one.hints_sha256)
        for one in record.revisions
    ]


def new_revision(number: int, config: ColorizerConfig, checkpoint: Checkpoint, hints_sha256: str | None) -> Revision:
    """Return what job.json says of a revision that there was not before."""
    settings = {name: value for name, value in config.model_dump(mode="json").items() if name in _FIELDS}
    if Path(config.checkpoint).exists():
        settings["checkpoint"] = str(Path(config.checkpoint).absolute())
    now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    return Revision(number, settings, described(checkpoint), checkpoint.network_sha256, now, hints_sha256=hints_sha256)


def _decisive(settings: Mapping[str, Any], weights: str, network: str | None, hints: str | None) -> dict[str, Any]:
    """Return what decides bytes: settings but for the checkpoint, which counts by its hashes."""
    chosen = {name: settings.get(name) for name in sorted(_FIELDS - {"checkpoint"})}
    return {**chosen, "weights_sha256": weights, "network_sha256": network, "hints_sha256": hints}


def differences(own: Mapping[str, Any], other: Mapping[str, Any]) -> str:
    """Say in what settings differ from a job's own."""
    names = [name for name in other if name != "network_sha256" and own.get(name) != other[name]]
    return ", ".join(f"{name} {own.get(name)} -> {other[name]}" for name in names)


def described(checkpoint: Checkpoint) -> dict[str, Any]:
    """Return what job.json says of a checkpoint."""
    card = checkpoint.card
    return {
        "name": checkpoint.name,
        "method": checkpoint.method,
        "weights_sha256": checkpoint.weights_sha256,
        **({} if card is None else {"card": card.name, "license": card.license}),
    }


def describe_revisions(record: JobRecord, images: Mapping[int, int]) -> list[dict[str, Any]]:
    """Return what summary.json says of each revision.

    Args:
        record: the job.
        images: outcomes of each revision.
    """
    own = _decisive(record.identity, "", None, record.hints_of(0))
    return [
        {
            "number": one.number,
            "images": images.get(one.number, 0),
            "differences": differences(own, _decisive(one.settings, "", None, one.hints_sha256)),
            "checkpoint": one.checkpoint,
            "created": one.created,
        }
        for one in record.revisions
    ]


def colorizer_of(record: JobRecord, revision: int) -> ColorizerConfig:
    """Return the settings of a revision's colorizer, as the job has written them down.

    Raises:
        ManifestError: its checkpoint is not what it was.
    """
    config = record.colorizer_of(revision)
    found, was = load(config.checkpoint), record.made_by(revision).checkpoint["weights_sha256"]
    if found.weights_sha256 != was:
        raise ManifestError(
            f"--checkpoint {config.checkpoint}: has weights {found.weights_sha256[:12]}, and outputs of this job were "
            f"made with {was[:12]}: put that checkpoint back"
        )
    return config
