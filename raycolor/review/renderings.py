"""Photographs by other settings, made in a child process: a network that is slow or ends costs one picture."""

from __future__ import annotations

import threading
from typing import Any, Final, NamedTuple

from raycolor.child_process import Ask, Child, Work
from raycolor.colorizer.config import ColorizerConfig
from raycolor.colorizer.hint_list import Hint

_TASK: Final = "raycolor.review.renderings:make"
_TIMEOUT_S: Final = 300.0
_NETWORKS: Final = 4  # that are kept


class Rendering(NamedTuple):
    """What a picture is to be made by."""

    config: ColorizerConfig
    hints: tuple[Hint, ...]
    side_px: int
    """Of the picture's longer side."""


class Renderer:
    """Makes one picture after the other. Safe to use from several threads; a context manager."""

    def __init__(self) -> None:
        self._child = Child(_TASK, None, timeout_s=_TIMEOUT_S)
        self._lock = threading.Lock()

    def __enter__(self) -> Renderer:
        return self

    def __exit__(self, *_: object) -> None:
        self._child.close()

    def render(self, photograph: bytes, rendering: Rendering) -> bytes:
        """Colorize the bytes of a file as `raycolor colorize` would, and return a small JPEG of that.

        Raises:
            RaycolorError: it cannot be colorized so, or the child died of it.
        """
        with self._lock:
            return self._child.ask(rendering, photograph)[1]


def make(_options: Any, _ask: Ask) -> Work:
    """Be the task of the child."""
    from raycolor.codecs.thumbnail import photo_thumbnail
    from raycolor.colorizer.photograph import FileColorizer

    known: dict[str, FileColorizer] = {}

    def colorizer(config: ColorizerConfig) -> FileColorizer:
        # Saturation is applied behind the network: one serves all of them.
        network = config.model_copy(update={"saturation": 1.0}).model_dump_json()
        if network not in known:
            while len(known) >= _NETWORKS:
                del known[next(iter(known))]
            known[network] = FileColorizer(config)
        return FileColorizer(config, known[network].predict)

    def work(rendering: Rendering, photograph: bytes) -> tuple[None, bytes]:
        made = colorizer(rendering.config).colorize(photograph, rendering.hints)
        return None, photo_thumbnail(made.data, rendering.side_px)

    return work
