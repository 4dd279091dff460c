"""The beginning of a bulk job: its identity, its source listed, and its manifest fixed."""

from __future__ import annotations

import datetime
import logging

from raycolor import __version__
from raycolor.cluster.fingerprint import made_of
from raycolor.colorize.config import ColorizeConfig
from raycolor.colorize.hints import hinted, keep_hints
from raycolor.colorize.job_folder import FOLDER, NEVER_KEY
from raycolor.colorize.job_record import JobRecord, check_same_job
from raycolor.colorize.manifest import write_manifest
from raycolor.colorize.outputs import with_free_outputs
from raycolor.colorize.revisions import MAY_DIFFER, described
from raycolor.colorizer.hint_list import HintList
from raycolor.errors import ConfigError
from raycolor.models.card import say_license
from raycolor.models.checkpoints import Checkpoint
from raycolor.progress import Progress
from raycolor.sources import Source
from raycolor.sources.never_list import NeverList
from raycolor.storage import ObjectStore

logger = logging.getLogger(__name__)


def begin_or_continue(
    found: JobRecord | None,
    config: ColorizeConfig,
    source: Source,
    dest: ObjectStore,
    checkpoint: Checkpoint,
    never: NeverList | None = None,
    hints: HintList | None = None,
) -> JobRecord:
    """Return the job of a destination, after listing the source if there is none yet.

    Args:
        found: the job that the destination holds already.
        config: what is asked for now.
        source: where the inputs are.
        dest: the destination, whose lease is held.
        checkpoint: the network, by name and hashes.
        never: what must not be colorized; kept beside the records of a new job.
        hints: what is known of colors; kept there, too.

    Raises:
        ManifestError: the destination belongs to a job with other settings.
        ConfigError: there is nothing to colorize, or outputs would replace somebody else's files.
    """
    identity = {
        **config.identity(),
        "source": source.uri,
        "checkpoint": checkpoint.name,
        "weights_sha256": checkpoint.weights_sha256,
        "network_sha256": checkpoint.network_sha256,
        **({} if never is None else {"never_sha256": never.sha256}),
        **({} if hints is None else {"hints_sha256": hints.sha256}),
        "raycolor_version": __version__,
        **made_of(),
    }
    # Nobody else writes here while the lease is held: what looks half-written was left by a killed run.
    dest.sweep(older_than_s=0)
    if found is not None:
        check_same_job(found, identity, dest.uri, but=MAY_DIFFER if config.redo else ())
        logger.info("continuing the job in %s", dest.uri)
        return found
    with Progress("list", None, "photographs") as progress:
        inputs = source.inputs(dest.uri, config.include, config.exclude)
        try:
            totals = write_manifest(
                dest,
                hinted(hints or HintList(), with_free_outputs(dest, inputs)),
                images_per_shard=config.images_per_shard,
                on_progress=lambda images: progress.update(images - progress.done),
            )
        except ConfigError:
            # A destination that is somebody else's is left as it was.
            for info in list(dest.list(FOLDER + "manifest/")):
                dest.delete(info.key)
            raise
        progress.update(totals.images - progress.done)
    for why, count in source.notes.items():
        logger.info("left out: %s (%s)", f"{count:,}", why)
    if totals.images == 0:
        raise ConfigError(
            f"{' '.join(config.source)}: holds no files to colorize: check the path, --include and --exclude"
        )
    record = JobRecord(
        identity=identity,
        checkpoint=described(checkpoint),
        source=source.uri,
        sources=source.uris if len(source.uris) > 1 else (),
        config=config.model_dump(mode="json"),
        raycolor_version=__version__,
        manifest=totals,
        created=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        root=source.root,
    )
    if never is not None:
        dest.put(NEVER_KEY, never.to_csv())
    if hints is not None:
        keep_hints(dest, hints)
    record.write(dest)
    return record


def check_imported(checkpoint: Checkpoint, config: ColorizeConfig) -> None:
    """Say before the job starts whose network it is, and under which license, if it is an imported one.

    Raises:
        ConfigError: settings that it does not take.
    """
    card = checkpoint.card
    if card is None:
        return
    card.network_px(config.network_size)
    if config.precision == "bf16":
        raise ConfigError(
            f"--precision bf16: {checkpoint.source} is an imported network, which computes as its file says: omit it"
        )
    say_license(checkpoint.name, card)
