"""Photographs by other settings, made in a child process: a network that is slow or ends costs one picture."""

from __future__ import annotations

from functools import lru_cache
from typing import Any, Final, NamedTuple

from raycolor.child_process import Ask, Child, Work
from raycolor.colorizer.config import ColorizerConfig
from raycolor.colorizer.hint_list import Hint

_TIMEOUT_S: Final = 300.0
_NETWORKS: Final = 4  # that are kept


class Rendering(NamedTuple):
    """What a picture is to be made by."""

    config: ColorizerConfig
    hints: tuple[Hint, ...]
    side_px: int
    """Of the picture's longer side."""


def renderer() -> Child:
    """Return what answers a `Rendering` and a photograph's file by a small JPEG, as `raycolor colorize` would."""
    return Child("raycolor.review.renderings:make", None, timeout_s=_TIMEOUT_S)


def make(_options: Any, _ask: Ask) -> Work:
    """Be the task of the child."""
    from raycolor.codecs.thumbnail import photo_thumbnail
    from raycolor.colorizer.photograph import FileColorizer

    known = lru_cache(_NETWORKS)(FileColorizer)

    def work(rendering: Rendering, photograph: bytes) -> tuple[None, bytes]:
        # Saturation is applied behind the network: one serves all of them.
        network = known(rendering.config.model_copy(update={"saturation": 1.0})).predict
        made = FileColorizer(rendering.config, network).colorize(photograph, rendering.hints)
        return None, photo_thumbnail(made.data, rendering.side_px)

    return work
