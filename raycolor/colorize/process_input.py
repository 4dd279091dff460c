"""One input of a shard: read, colorized, written; whatever it is, it ends in an outcome."""

from __future__ import annotations

import hashlib
import logging
import os
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

from raycolor.child_process import ChildDiedError, ChildStartError
from raycolor.colorize.in_process import TEST_PICTURE
from raycolor.colorize.job_folder import ATTEMPTS
from raycolor.colorize.messages import BrokenWorkerError, NetworkGoneError, PassFailedError
from raycolor.colorize.outcomes import Outcome
from raycolor.colorize.outputs import KeyRefusedError, Outputs, name_output
from raycolor.colorizer.photograph import Colorized
from raycolor.errors import ConfigError, ImageError, OutageError, Reason, StorageError
from raycolor.progress import printable
from raycolor.sources import Input, SkippedInputError
from raycolor.storage import ObjectStore

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class InputProcessor:
    """Processes the inputs of one attempt at a shard."""

    read_and_colorize: Callable[[Input], Colorized]
    colorize: Callable[[bytes], Colorized]
    """The same for bytes: tells whether anything works."""
    waited_s: Callable[[], float]
    """Seconds that the calling thread has waited for others so far."""
    outputs: Outputs
    dest: ObjectStore
    owned: frozenset[str]
    """Outputs of before that are made again."""
    attempt: int
    """How often the shard was begun, this time included."""

    def process(self, info: Input) -> Outcome:
        """Colorize one input and write its output.

        Raises:
            StorageError: the destination cannot be written.
            OutageError: source or destination did not answer as long as the job's patience.
            NetworkGoneError: the network elsewhere does not answer.
            ConfigError: the network cannot compute as this job asks it to, whatever the photograph.
            BrokenWorkerError: nothing can be colorized in this process.
        """
        begun = time.monotonic() - self.waited_s()
        bare = Outcome(info.key, "failed", input_bytes=info.size, input_etag=info.etag)

        def seconds() -> float:
            return time.monotonic() - self.waited_s() - begun

        def failed(reason: Reason, detail: str) -> Outcome:
            return replace(bare, reason=reason, detail=detail, seconds=seconds())

        try:
            result = self.read_and_colorize(info)
        except SkippedInputError as exc:
            return replace(failed(exc.reason, exc.detail), status="skipped")
        except ImageError as exc:
            outcome = failed(exc.reason, exc.detail)
            return replace(outcome, status="skipped", source_kind="color") if exc.reason == "already_color" else outcome
        except (NetworkGoneError, OutageError, ConfigError):
            raise
        except (ChildDiedError, PassFailedError) as exc:
            self._check_worker()
            return failed("internal_error", str(exc))
        except ChildStartError as exc:
            raise BrokenWorkerError(f"{exc} (on {socket.gethostname()})", self.attempt) from exc
        # The outermost boundary of one image: a defect of ours must cost this image, never the job.
        except Exception as exc:
            logger.warning("%s: internal error", printable(info.key), exc_info=exc)
            self._check_worker()
            return failed("internal_error", f"{type(exc).__name__}: {exc}")
        output_key = name_output(info.key, result.extension)
        try:
            self.outputs.put(output_key, result.data, own=output_key in self.owned)
        except KeyRefusedError as exc:
            return failed(exc.reason, f"output: {exc.detail}")
        except StorageError as exc:
            self._check_dest(len(result.data))
            return failed(exc.reason, f"output: {exc.detail}")
        return replace(
            bare,
            status="colorized",
            detail=result.note,
            source_kind=result.source_kind,
            width=result.width,
            height=result.height,
            output_key=output_key,
            output_bytes=len(result.data),
            output_sha256=hashlib.sha256(result.data).hexdigest(),
            seconds=seconds(),
            confidence=result.confidence,
            flags=",".join(result.flags) or None,
            pages=result.pages,
            pixels=result.pixels,
        )

    def _check_worker(self) -> None:
        """Distinguish a photograph that raycolor fails on from a worker in which nothing works any more.

        The latter may have lost its files: a full or unmounted disk, a folder of Ray's that went with a node.

        Raises:
            BrokenWorkerError: not even a plain gray photograph can be colorized.
        """
        try:
            self.colorize(TEST_PICTURE)
        except (NetworkGoneError, ConfigError):
            raise
        except Exception as exc:
            why = f"{type(exc).__name__}: {exc}"
            raise BrokenWorkerError(
                f"the worker on {socket.gethostname()} cannot colorize anything ({why}): fix that and run the same "
                "command again",
                self.attempt,
            ) from exc

    def _check_dest(self, size: int) -> None:
        """Distinguish a key that the destination refuses (say, too long a name) from a destination that refuses all.

        Raises:
            StorageError: an object of the same size under a plain name cannot be written either: then the job has to
                stop, for a recorded failure would not be tried again.
        """
        probe = f"{ATTEMPTS}probe-{os.getpid()}-{threading.get_ident()}"
        self.dest.put(probe, bytes(size))
        self.dest.delete(probe)
