"""Probe one photograph of the sample: its kind, whether it can be colorized, and seconds on one CPU.

This happens in a child process, as worker processes of the bulk job do it: one native thread, and a decoder that dies
or hangs takes one photograph with it.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final, Literal

from raycolor.child_process import Ask, Child, ChildDiedError, Work
from raycolor.colorizer.config import ColorizerConfig
from raycolor.errors import ImageError

if TYPE_CHECKING:
    from raycolor.colorizer.photograph import FileColorizer
    from raycolor.models.card import Card

_CHECKPOINT: Final = "checkpoint"


@dataclass(frozen=True)
class CheckpointName:
    """Which checkpoint colorized the sample, and under which license if it is an imported one."""

    name: str
    weights_sha256: str
    license: str | None = None


@dataclass(frozen=True)
class Probed:
    """The result of probing one photograph of the sample."""

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
        command: the child, as `Child` takes it.

    Raises:
        CheckpointError: on entering: the checkpoint cannot be loaded.
        ChildStartError: the child does not start.
    """

    def __init__(self, config: ColorizerConfig, *, timeout_s: float, command: Sequence[str] = ()) -> None:
        self._child = Child("raycolor.plan.probe:make", config, timeout_s=timeout_s, command=command)
        self.checkpoint = CheckpointName("", "")
        self.card: Card | None = None
        """Of an imported network."""
        self.start_s = 0.0
        """How long the child took until it could look at a photograph: as long as a worker of the bulk job takes."""

    def __enter__(self) -> Prober:
        begun = time.perf_counter()
        self.checkpoint, self.card = self._child.ask(_CHECKPOINT)[0]
        self.start_s = time.perf_counter() - begun
        return self

    def __exit__(self, *_: object) -> None:
        self._child.close()

    def probe(self, data: bytes) -> Probed:
        """Look at one photograph, and colorize it in memory; whatever it is, this ends with an answer."""
        try:
            probed: Probed = self._child.ask(None, data)[0]
        except ChildDiedError as exc:
            return Probed("failed", "internal_error", str(exc))
        return probed


def make(config: ColorizerConfig, _ask: Ask) -> Work:
    """Make the child's task: load the checkpoint; then answer with its name, or probe a photograph."""
    import cv2
    import torch

    from raycolor.colorizer.photograph import FileColorizer

    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    colorizer = FileColorizer(config)
    warm: set[object] = set()

    def work(request: object, data: bytes) -> tuple[object, bytes]:
        if request == _CHECKPOINT:
            provenance = colorizer.provenance
            name = CheckpointName(provenance.checkpoint, provenance.checkpoint_sha256, provenance.license)
            return (name, colorizer.checkpoint.card), b""
        return look(colorizer, data, warm), b""

    return work


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
        pixels=header.total_pixels,
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
