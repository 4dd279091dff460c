"""What a call of `raycolor.Colorizer` returns: the colorized photograph as a file, as an array, and to look at."""

from __future__ import annotations

import html
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from raycolor import codecs
from raycolor.codecs.photograph import SUFFIXES, Format
from raycolor.codecs.thumbnail import data_uri, photo_thumbnail
from raycolor.colorizer.photograph import Colorized
from raycolor.errors import ConfigError
from raycolor.storage.single import locate

_PREVIEW_PX: Final = 320
# What was colorized was within `max_pixels`, and the result is no larger.
_NO_LIMIT: Final = 1 << 62


@dataclass(frozen=True, repr=False)
class ColorizedPhotograph(Colorized):
    """A colorized photograph. A notebook shows it beside the original.

    Attributes:
        data: the encoded file: of the input's format; PNG for arrays and PIL images.
        source_kind: what the input was: `gray`, `toned` (sepia and the like) or `color`.
        note: what is worth knowing, such as `copied: it has colors`; or None.
        confidence: of the network, 0..1, to compare photographs by; None from a network without one.
        flags: `dull` (hardly any color was added), `overflow` (much of the predicted color lies beyond sRGB).
        width, height: in pixels, as stored in the file, of the first page.
        pages: of a TIFF; all of them are colorized and in `data`.
        original: the encoded input.
        path: where the input was read from, or None.

    Example:
        >>> from raycolor import Colorizer
        >>> result = Colorizer("regression")("scan.jpg")
        >>> result
        <ColorizedPhotograph: 640 x 481 jpeg, was gray>
        >>> result.rgb.shape, result.rgb.dtype
        ((481, 640, 3), dtype('uint8'))
        >>> result.save("color.jpg")
    """

    original: bytes = field(default=b"", repr=False)
    path: str | None = None

    @property
    def format(self) -> Format:
        """Format of `data`: `jpeg`, `png`, `tiff`, `webp`, `jp2` or `bmp`."""
        return codecs.sniff(self.data)

    @cached_property
    def rgb(self) -> NDArray[Any]:
        """The first page as (H, W, 3) uint8 or uint16 sRGB, upright: as viewers show it. Alpha is left out."""
        photo = codecs.decode(self.data, max_pixels=_NO_LIMIT)
        return np.ascontiguousarray(codecs.upright(photo.pages[0], photo.orientation(0)))

    def save(self, path: str | Path) -> None:
        """Write `data`, whole or not at all. A file of that name is replaced, but never the input.

        Args:
            path: a local path, whose missing folders are made, or s3://bucket/key.

        Raises:
            ConfigError: the input itself, or a suffix of another format: `data` is not converted.
            StorageError: it cannot be written.
        """
        place = str(path)
        if self.path is not None and _same(place, self.path):
            raise ConfigError(f"{place}: is the photograph itself, which is never overwritten: choose another name")
        suffix = Path(place).suffix
        if suffix and suffix.lower() not in SUFFIXES[self.format]:
            fitting = SUFFIXES[self.format][0]
            raise ConfigError(
                f"{place}: the result is {self.format.upper()}, which {suffix} does not say: end the name in {fitting}"
            )
        store, key = locate(place)
        store.put(key, self.data)

    def __repr__(self) -> str:
        """Say in one line what it is; `data` would fill screens."""
        facts = [f"{self.width} x {self.height} {self.format}", f"was {self.source_kind}"]
        facts += [f"{self.pages} pages"] if self.pages > 1 else []
        facts += [f"confidence {self.confidence:.2f}"] if self.confidence is not None else []
        facts += [*self.flags, *([self.note] if self.note else [])]
        return f"<{type(self).__name__}: {', '.join(facts)}>"

    def _repr_jpeg_(self) -> bytes:
        """Show a small picture of the result."""
        return photo_thumbnail(self.data, _PREVIEW_PX, max_pixels=_NO_LIMIT)

    def _repr_html_(self) -> str:
        """Show the photograph before and after."""
        pictures = (photo_thumbnail(data, _PREVIEW_PX, max_pixels=_NO_LIMIT) for data in (self.original, self.data))
        before, after = (f'<img src="{data_uri(picture)}">' for picture in pictures)
        return f"<div>{before} {after}<br>{html.escape(repr(self).strip('<>'))}</div>"


def _same(place: str, original: str) -> bool:
    """Whether two names lead to one file, by links and other spellings too."""
    if place == original:
        return True
    with suppress(OSError, ValueError):
        return Path(place.removeprefix("file://")).expanduser().samefile(original)
    return False
