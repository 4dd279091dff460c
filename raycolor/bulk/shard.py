"""One shard of the bulk job: read, colorize, write, and record what became of every input."""

from __future__ import annotations

import hashlib
import logging
import os
import re
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import replace

from raycolor.bulk.isolated import ChildDiedError, IsolatedColorizer
from raycolor.bulk.spec import ShardReport, ShardSpec
from raycolor.colorizer import Colorized, Colorizer
from raycolor.errors import ImageError, Reason, StorageError
from raycolor.manifest import ATTEMPTS, Manifest, Outcome, Tally, write_outcomes
from raycolor.sources import Input, Reader, SkippedInputError
from raycolor.storage import open_store

logger = logging.getLogger(__name__)

_EXIT_HUNG = 70
_ADDED = re.compile(r"\.raycolor\.[a-z0-9]+\Z")


class ShardWorker:
    """Processes shards; holds the loaded network between them.

    A marker under `attempts/` says that a shard was begun. Who finds one there knows that an earlier attempt died, be
    it killed or brought down by an image, and works in a child process then: an image on which the child dies or
    hangs is that image's failure, and costs no other.
    """

    def __init__(self, spec: ShardSpec) -> None:
        self.spec = spec
        self.source = Reader(spec.source, spec.source_options)
        self.dest = open_store(spec.dest, **spec.dest_options)
        self.manifest = Manifest(self.dest, spec.totals)
        self.colorizer = Colorizer(spec.options)

    def run(self, shard: int) -> ShardReport:
        """Process one shard and write its completion record, last of all.

        Raises:
            StorageError: the destination cannot be written: then nothing else can be done either.
        """
        marker = f"{ATTEMPTS}shard-{shard:06d}"
        began_before = self.dest.stat(marker) is not None
        self.dest.put(marker, b"")
        started = time.time()
        if began_before:
            with IsolatedColorizer(self.spec.options, timeout_s=self.spec.image_timeout_s) as child:
                outcomes = [self._image(info, child.colorize) for info in self.manifest.shard(shard)]
        else:
            outcomes = [self._image(info, self._watched) for info in self.manifest.shard(shard)]
        write_outcomes(self.dest, shard, outcomes)
        self.dest.delete(marker)
        tally = Tally()
        for outcome in outcomes:
            tally.add(outcome)
        return ShardReport(shard, tally, started, time.time(), sum(outcome.seconds for outcome in outcomes))

    def _image(self, info: Input, colorize: Callable[[bytes], Colorized]) -> Outcome:
        """Process one input; whatever it is, it ends in an outcome."""
        begun = time.monotonic()
        bare = Outcome(info.key, "failed", input_bytes=info.size, input_etag=info.etag)

        def failed(reason: Reason, detail: str) -> Outcome:
            return replace(bare, reason=reason, detail=detail, seconds=time.monotonic() - begun)

        try:
            data = self.source.get(info)
            if not info.size:  # a list need not tell sizes
                bare = replace(bare, input_bytes=len(data))
            result = colorize(data)
        except SkippedInputError as exc:
            return replace(failed(exc.reason, exc.detail), status="skipped")
        except ImageError as exc:
            outcome = failed(exc.reason, exc.detail)
            return replace(outcome, status="skipped", source_kind="color") if exc.reason == "already_color" else outcome
        except ChildDiedError as exc:
            return failed("internal_error", str(exc))
        # The outermost boundary of one image: a defect of ours must cost this image, never the job.
        except Exception as exc:
            logger.warning("%s: internal error", info.key, exc_info=exc)
            return failed("internal_error", f"{type(exc).__name__}: {exc}")
        output_key = name_output(info.key, result.extension)
        try:
            self.dest.put(output_key, result.data)
        except StorageError as exc:
            self._check_dest_works(len(result.data))
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
            seconds=time.monotonic() - begun,
            confidence=result.confidence,
            flags=",".join(result.flags) or None,
        )

    def _check_dest_works(self, size: int) -> None:
        """Tell a key that the destination does not take (say, too long a name) from a destination that takes nothing.

        Raises:
            StorageError: an object of the same size under a plain name cannot be written either: then the job has to
                stop, for a recorded failure would not be tried again.
        """
        probe = f"{ATTEMPTS}probe-{os.getpid()}"
        self.dest.put(probe, bytes(size))
        self.dest.delete(probe)

    def _watched(self, data: bytes) -> Colorized:
        """Colorize in this process, and end it if that hangs: the next attempt will use a child process."""
        watch = threading.Timer(self.spec.image_timeout_s, _give_up, [self.spec.image_timeout_s])
        watch.daemon = True
        watch.start()
        try:
            return self.colorizer.colorize(data)
        finally:
            watch.cancel()


def name_output(key: str, extension: str | None) -> str:
    """Return the key of an input's output: the input's, with `.raycolor.EXT` where the format had to change.

    An input whose key ends so already gets the same once more, or it would share its output with another input.
    """
    if extension:
        return f"{key}.raycolor{extension}"
    added = _ADDED.search(key)
    return key + added[0] if added else key


def _give_up(timeout_s: float) -> None:
    sys.stderr.write(
        f"raycolor: an image took more than {timeout_s:.0f} s: this worker ends and the shard is retried\n"
    )
    sys.stderr.flush()
    os._exit(_EXIT_HUNG)
