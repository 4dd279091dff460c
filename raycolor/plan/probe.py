"""One photograph of the sample: what it is, whether it can be colorized, and how long one CPU takes.

This happens in a child process, as worker processes of the bulk job do it: one native thread, and a decoder that dies
or hangs takes one photograph with it.
"""

from __future__ import annotations

import multiprocessing
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection
from typing import TYPE_CHECKING, Literal

from raycolor.colorizer.config import ColorizerConfig
from raycolor.errors import ImageError, RaycolorError

if TYPE_CHECKING:
    from raycolor.colorizer.photograph import FileColorizer


@dataclass(frozen=True)
class CheckpointName:
    """Which checkpoint colorized the sample."""

    name: str
    weights_sha256: str


@dataclass(frozen=True)
class Probed:
    """What became of one photograph of the sample."""

    status: Literal["colorized", "skipped", "failed"]
    reason: str | None = None
    detail: str | None = None
    format: str | None = None
    """By the first bytes, as width, height and pixels are by the header; None where that cannot be read."""
    width: int | None = None
    height: int | None = None
    pixels: int = 0
    """Of all pages."""
    kind: str | None = None
    """gray, toned or color; None where the photograph cannot be decoded."""
    cpu_s: float = 0.0
    wall_s: float = 0.0


class Prober:
    """Looks at photographs in a child process, which is started anew if one of them ends it. A context manager.

    Args:
        config: how photographs are colorized.
        timeout_s: seconds after which a photograph has hung.
        child: what the child process runs; replaced in tests.

    Raises:
        CheckpointError: on entering: the checkpoint cannot be loaded.
    """

    def __init__(
        self,
        config: ColorizerConfig,
        *,
        timeout_s: float,
        child: Callable[[Connection, ColorizerConfig], None] | None = None,
    ) -> None:
        self._config, self._timeout_s = config, timeout_s
        self._target = serve if child is None else child
        self.checkpoint = CheckpointName("", "")
        self.start_s = 0.0
        """How long the child took until it could look at a photograph: as long as a worker of the bulk job takes."""

    def __enter__(self) -> Prober:
        begun = time.perf_counter()
        self._start()
        self.start_s = time.perf_counter() - begun
        return self

    def __exit__(self, *_: object) -> None:
        self._end()

    def probe(self, data: bytes) -> Probed:
        """Look at one photograph, and colorize it in memory; whatever it is, this ends with an answer."""
        try:
            self._pipe.send_bytes(data)
            if self._pipe.poll(self._timeout_s):
                answer = self._pipe.recv()
                assert isinstance(answer, Probed)
                return answer
            detail = f"the decoder hung for {self._timeout_s:.0f} s and was ended"
        except (EOFError, OSError):
            self._child.join()
            detail = f"the decoder died: {_death(self._child.exitcode)}"
        self._end()
        self._start()
        return Probed("failed", "internal_error", detail)

    def _start(self) -> None:
        # Not forked: threads of this process (boto3's, Arrow's) do not survive a fork in a usable state.
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._child = context.Process(target=self._target, args=(theirs, self._config), daemon=True)
        try:
            self._child.start()
        finally:
            theirs.close()
        ready = False
        try:
            answer = self._pipe.recv()
            if isinstance(answer, RaycolorError):
                raise answer
            assert isinstance(answer, CheckpointName)
            self.checkpoint = answer
            ready = True
        except (EOFError, OSError) as exc:
            self._child.join()
            death = _death(self._child.exitcode)
            raise RaycolorError(f"the process that measures the sample did not start: {death}") from exc
        finally:
            # Ctrl-C while it loads, too: nobody else would end it.
            if not ready:
                self._end()

    def _end(self) -> None:
        self._pipe.close()
        if self._child.is_alive():
            self._child.kill()
        self._child.join()
        self._child.close()


def _death(code: int | None) -> str:
    if code is None or code >= 0:
        return f"exit code {code}"
    try:
        return signal.Signals(-code).name
    except ValueError:
        return f"signal {-code}"


def serve(pipe: Connection, config: ColorizerConfig) -> None:
    """Be the child: load the checkpoint, then answer every photograph with a `Probed`, until the pipe is closed."""
    # Ctrl-C reaches the whole group; the parent says what there is to say, and closes the pipe.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    import cv2
    import torch

    from raycolor.colorizer.photograph import FileColorizer

    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    try:
        colorizer = FileColorizer(config)
    except RaycolorError as exc:
        pipe.send(exc)
        return
    pipe.send(CheckpointName(colorizer.provenance.checkpoint, colorizer.provenance.checkpoint_sha256))
    warm: set[object] = set()
    while True:
        try:
            data = pipe.recv_bytes()
        except EOFError:
            return
        pipe.send(look(colorizer, data, warm))


def look(colorizer: FileColorizer, data: bytes, warm: set[object]) -> Probed:
    """Colorize one photograph in memory and say how it went.

    Args:
        colorizer: with which to do it.
        data: the encoded photograph.
        warm: kinds of files that were met before, added to here: the first of each is colorized twice and the second
            time counts, as compiled code is loaded during the first.

    Returns:
        Its header, kind, outcome, and the CPU time that it took; the time of a failure counts too.
    """
    from raycolor import codecs

    seen = Probed("failed")
    try:
        header = codecs.read_header(data)
    except ImageError as exc:
        return replace(seen, reason=exc.reason, detail=exc.detail)
    seen = replace(
        seen,
        format=header.format,
        width=header.width,
        height=header.height,
        pixels=header.total_pixels or header.width * header.height,
    )
    alike = (header.format, header.color, header.bit_depth, header.progressive)
    if alike not in warm:
        warm.add(alike)
        _timed(colorizer, data, seen)
    return _timed(colorizer, data, seen)


def _timed(colorizer: FileColorizer, data: bytes, seen: Probed) -> Probed:
    cpu, wall = time.process_time(), time.perf_counter()

    def ended(found: Probed) -> Probed:
        return replace(found, cpu_s=time.process_time() - cpu, wall_s=time.perf_counter() - wall)

    try:
        result = colorizer.colorize(data)
    except ImageError as exc:
        found = replace(seen, reason=exc.reason, detail=exc.detail)
        color = exc.reason == "already_color"
        return ended(replace(found, status="skipped", kind="color") if color else found)
    except Exception as exc:  # noqa: BLE001
        # Same boundary as in the bulk job: a defect of ours costs one photograph.
        return ended(replace(seen, reason="internal_error", detail=f"{type(exc).__name__}: {exc}"))
    return ended(replace(seen, status="colorized", kind=result.source_kind))
