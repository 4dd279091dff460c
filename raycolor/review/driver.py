"""`raycolor review`: a page on this machine to look at a job's photographs and decide about each."""

from __future__ import annotations

import asyncio
import getpass
import logging

from raycolor.colorize.config import REVIEW_KEY
from raycolor.colorize.finished import finished_job
from raycolor.colorize.job_record import JobRecord
from raycolor.errors import CheckpointError, ConfigError
from raycolor.review.config import ReviewConfig
from raycolor.review.server import ReviewServer
from raycolor.review.session import Choice, Session
from raycolor.signals import Terminated
from raycolor.storage import open_store
from raycolor.storage.lease import LEASE_KEY

logger = logging.getLogger(__name__)


def run(config: ReviewConfig) -> int:
    """Serve the page until Ctrl-C; returns 0. Of DEST it writes review.csv alone.

    Raises:
        ConfigError: the port is taken, a checkpoint does not exist, or review.csv cannot be used.
        ManifestError: there is no finished job, or its records are damaged.
        StorageError: the destination cannot be read.
    """
    dest = open_store(config.dest, must_exist=True, endpoint_url=config.endpoint_url)
    record = finished_job(dest)
    if dest.stat(LEASE_KEY) is not None:
        logger.warning("%s: a job runs there, or was killed: what it changes is shown after a restart", dest.uri)
    session = Session(dest, record, config.who or _user(), choices_of(config, record), config.endpoint_url)
    server = ReviewServer(session)
    try:
        asyncio.run(server.serve(config.port, lambda address: _announce(address, dest.uri)))
    except Terminated:
        raise
    except KeyboardInterrupt:
        pass
    except OSError as exc:
        raise ConfigError(f"--port {config.port}: {exc.strerror or exc}: give another, or omit it") from exc
    finally:
        session.close()
        if session.decided:
            logger.info("decisions: %d; to apply them: raycolor colorize %s/%s", session.decided, dest.uri, REVIEW_KEY)
    return 0


def choices_of(config: ReviewConfig, record: JobRecord) -> tuple[Choice, ...]:
    """Return the renderings to choose from: what stands, other networks, other saturations, and the job's own.

    Raises:
        ConfigError: a checkpoint does not exist.
    """
    # Looked for now: a name that is wrong is told at once.
    from raycolor.models.checkpoints import load

    own = record.config["checkpoint"]
    found = [Choice(None, None, "as it stands")]
    for name in config.checkpoint:
        try:
            if load(name).weights_sha256 == record.checkpoint["weights_sha256"]:
                continue
        except CheckpointError as exc:
            raise ConfigError(f"--checkpoint {name}: {exc}") from exc
        found.append(Choice(name, None, name))
    found += [Choice(own, one, f"saturation {one:g}") for one in config.saturation]
    if record.revisions:
        found.append(Choice(own, None, "as the job began"))
    return tuple(found)


def _announce(address: str, place: str) -> None:
    fields = {"event": "review", "fields": {"address": address}}
    logger.info("review of %s: open %s (Ctrl-C ends it)", place, address, extra=fields)


def _user() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError, ImportError):
        return ""
