"""Colorize one encoded photograph in three steps: prepare, predict, finish."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from raycolor import __version__, codecs
from raycolor.color import kernels
from raycolor.color.arrays import in_gamut
from raycolor.color.joined import JoinedPage
from raycolor.color.kernels import lightness
from raycolor.color.resize import resize_area
from raycolor.color.tone import classify_tone
from raycolor.colorizer.config import ColorizerConfig
from raycolor.colorizer.hint_list import Hint
from raycolor.colorizer.hints import PlacedHint, as_input, place, spread
from raycolor.colorizer.predict import Predict, Predicted, Predictor, as_sent
from raycolor.errors import ImageError
from raycolor.models.checkpoints import Checkpoint, load

# Beyond 4:1 the short side of the network's picture would be too few pixels to recognize anything in.
_LARGEST_ASPECT = 4.0
# A photograph as large as this is seen at its own size, a smaller one enlarged, but less than to this: measured on
# photographs of 96 to 256 px (docs/results.md). Enlarged further, things are blurred more than a network knows them.
_UNCHANGED_PX = 390.0
_SHARE_OF_OWN = 0.4  # of the two in their geometric mean
_STEPS = 8  # to a side: a network sees photographs in some 30 sizes, and those of one size share a pass
_DULL_CHROMA = 4.0  # mean, Lab units: below it a viewer sees a gray photograph
_OVERFLOW_SHARE = 0.1  # of pixels whose color sRGB cannot hold at their lightness
_OVERFLOW_TOL = 0.02  # linear RGB beyond [0, 1]


@dataclass(frozen=True)
class Colorized:
    """A finished photograph and what was found out about it."""

    data: bytes
    source_kind: str
    width: int
    height: int
    extension: str | None = None
    """Set where the output's format had to differ from the input's, for example `.png`."""
    note: str | None = None
    confidence: float | None = None
    """Confidence of the network, 0..1, to compare photographs of one job; None from a network without one."""
    flags: tuple[str, ...] = ()
    """`dull`: hardly any color was added; `overflow`: much of the predicted color lies beyond sRGB."""
    pages: int = 1
    pixels: int | None = None
    """Of all pages; None where nobody counted."""


@dataclass
class Prepared:
    """A decoded photograph and what the network needs of each of its pages."""

    photo: codecs.Photograph
    kind: str
    exact: bool
    L_small: list[NDArray[np.float32]]
    """Upright lightness per page, (h, w) in 0..100, at the network's size."""
    hints: list[PlacedHint] = field(default_factory=list)
    """On the first page's."""
    network_hints: bool = False
    """Whether the network takes them itself."""

    @property
    def network_input(self) -> list[NDArray[np.float32]]:
        """What `Predict` takes: lightness per page, with hints beside it for a network that takes them."""
        if not self.network_hints:
            return self.L_small
        return [as_sent(as_input(self.L_small[0], self.hints)), *self.L_small[1:]]


class FileColorizer:
    """Colorizes encoded photographs with one checkpoint.

    `colorize` is `prepare`, `predict` and `finish` in a row; the three are separate so that the network can run on
    another machine than the codecs.

    Args:
        config: what decides the outputs.
        predict: the network, where it runs elsewhere; by default it is loaded here.

    Raises:
        CheckpointError: the checkpoint cannot be loaded.
    """

    def __init__(self, config: ColorizerConfig, predict: Predict | None = None) -> None:
        self.config = config
        self.checkpoint: Checkpoint = load(config.checkpoint)
        self.predict: Predict = predict or Predictor(config, self.checkpoint).predict
        self._card = self.checkpoint.card
        if self._card is not None:
            self._stride, self._fixed_size_px = self._card.size.multiple_of, self._card.size.fixed_px
            self.network_size = self._card.network_px(config.network_size)
        else:
            shape = self.checkpoint.skeleton()
            self._stride, self._fixed_size_px = shape.stride, shape.fixed_size_px
            self.network_size = config.network_size or self.checkpoint.input_px(shape)
        self._shape = usual_shape if self._card is None and config.network_size is None else network_shape
        self.provenance = codecs.Provenance(
            checkpoint=self.checkpoint.name,
            checkpoint_sha256=self.checkpoint.weights_sha256,
            version=__version__,
            license=None if self._card is None else self._card.license,
        )

    def colorize(self, data: bytes, hints: Sequence[Hint] = ()) -> Colorized:
        """Colorize one encoded photograph.

        Args:
            data: the bytes of a JPEG, PNG, TIFF, WebP or JPEG 2000 file.
            hints: what is known of its colors; of a file of several pages, of the first.

        Returns:
            The colorized file: same format, width, height, bit depth, pages, orientation and metadata.

        Raises:
            ImageError: the file cannot be colorized (`reason` says why), or is `already_color` under on_color="skip".
        """
        prepared = self.prepare(data, hints)
        if isinstance(prepared, Colorized):
            return prepared
        return self.finish(prepared, self.predict(prepared.network_input))

    def prepare(self, data: bytes, hints: Sequence[Hint] = ()) -> Prepared | Colorized:
        """Decode, tell gray from color, and make the network's small upright lightness.

        Returns:
            A finished `Colorized` where nothing is left to do (on_color="copy").

        Raises:
            ImageError: as `colorize`.
        """
        photo = codecs.decode(data, max_pixels=self.config.max_pixels)
        kind = _kind(photo.pages)
        header = photo.header
        if kind == "color" and self.config.on_color == "skip":
            raise ImageError("already_color", "the photograph has colors: --on-color recolor colorizes it anyway")
        if kind == "color" and self.config.on_color == "copy":
            return Colorized(
                data,
                kind,
                header.width,
                header.height,
                note="copied: it has colors",
                pages=len(photo.pages),
                pixels=_pixels(photo.pages),
            )
        exact = self.config.jpeg_luma == "exact" and header.format == "jpeg" and codecs.can_be_exact(header)
        small = [self._small_lightness(page, photo.orientation(i)) for i, page in enumerate(photo.pages)]
        placed: list[PlacedHint] = []
        if hints:
            size = codecs.upright(photo.pages[0], photo.orientation(0)).shape[:2]
            placed = place(hints, (size[0], size[1]), (small[0].shape[0], small[0].shape[1]))
        takes = bool(placed) and self._card is not None and self._card.takes_hints
        return Prepared(photo, kind, exact, small, placed, takes)

    def finish(self, prepared: Prepared, predicted: Sequence[Predicted]) -> Colorized:
        """Join predicted color with the photograph's own lightness and encode it.

        Args:
            prepared: what `prepare` gave.
            predicted: what `predict` gave for its `network_input`.

        Raises:
            ImageError: the result cannot be encoded.
        """
        photo, header = prepared.photo, prepared.photo.header
        predicted = [page._replace(ab=as_sent(page.ab)) for page in predicted]
        note = "; ".join(photo.notes) or None
        saturation = np.float32(self.config.saturation)
        colors = [page.ab * saturation for page in predicted]
        if prepared.hints and not prepared.network_hints:
            # After saturation: what is known of a color is not made more vivid.
            colors[0] = spread(colors[0], prepared.L_small[0], prepared.hints)
        planes = [
            self._color(ab, L, photo.orientation(i))
            for i, (ab, L) in enumerate(zip(colors, prepared.L_small, strict=True))
        ]
        # The page that looks worst speaks for the file.
        confidence = min((page.confidence for page in predicted if page.confidence is not None), default=None)
        flags = flags_of(colors, prepared.L_small)
        size = header.width, header.height
        extension = None
        if prepared.exact:
            luma = codecs.half_size_luma(codecs.decode_luma(photo))
            cb, cr = kernels.chroma_planes(luma, planes[0])
            data = codecs.jpeg_exact(header, cb, cr, provenance=self.provenance, quality=self.config.jpeg_quality)
        else:
            written = codecs.output_format(header)
            extension = None if written == header.format else f".{written}"
            pages = [JoinedPage(page, ab) for page, ab in zip(photo.pages, planes, strict=True)]
            data = codecs.encode(photo, pages, provenance=self.provenance, quality=self.config.jpeg_quality)
        return Colorized(
            data, prepared.kind, *size, extension, note, confidence, flags, len(photo.pages), _pixels(photo.pages)
        )

    def _small_lightness(self, page: NDArray[Any], orientation: int) -> NDArray[np.float32]:
        upright = codecs.upright(page, orientation)
        height, width = upright.shape[:2]
        if self._card is not None and self._card.fit != "keep":
            height, width = self._card.plane_shape(height, width, self.network_size)
        else:
            height, width = self._shape(height, width, self.network_size, self._stride, self._fixed_size_px)
        return as_sent(lightness(resize_area(np.ascontiguousarray(upright), height, width)))

    def _color(self, ab: NDArray[np.float32], L: NDArray[np.float32], orientation: int) -> NDArray[np.float32]:
        """Return small upright color as stored, prepared for enlarging it along the lightness where that is asked."""
        stored = np.ascontiguousarray(codecs.as_stored(ab, orientation))
        if self.config.upsampling == "bilinear":
            return stored
        return kernels.with_guide(stored, np.ascontiguousarray(codecs.as_stored(L, orientation)))


def flags_of(planes: Sequence[NDArray[np.float32]], L_small: Sequence[NDArray[np.float32]]) -> tuple[str, ...]:
    """Return flags for what a viewer would notice at once, on any page.

    Args:
        planes: predicted ab per page, (h, w, 2), Lab units.
        L_small: lightness per page, (h', w'), 0..100.

    Returns:
        Of `dull` and `overflow` those that hold.
    """
    found = set()
    for ab, L in zip(planes, L_small, strict=True):
        if L.shape != ab.shape[:2]:
            L = resize_area(L, *ab.shape[:2])
        subsample = ab[::4, ::4]  # enough for a share, and a sixteenth of the time
        if float(np.hypot(subsample[..., 0], subsample[..., 1]).mean()) < _DULL_CHROMA:
            found.add("dull")
        lab = np.concatenate([L[::4, ::4, None], subsample], axis=-1)
        if float(np.mean(~in_gamut(lab, _OVERFLOW_TOL))) > _OVERFLOW_SHARE:
            found.add("overflow")
    return tuple(sorted(found))


def usual_px(height: int, width: int, network_px: int) -> int:
    """Return the side, of a square as large, at which a network sees a photograph where no other is asked for, pixels.

    Args:
        height: of the photograph, pixels.
        width: of the photograph, pixels.
        network_px: at which the network sees those that are large enough.
    """
    own = math.sqrt(height * width)
    mean = math.pow(own, _SHARE_OF_OWN) * math.pow(_UNCHANGED_PX, 1 - _SHARE_OF_OWN)
    return min(network_px, round(mean))


def network_shape(height: int, width: int, size: int, stride: int, fixed: int | None) -> tuple[int, int]:
    """Choose the size at which the network sees a photograph.

    The area is about size x size and the aspect ratio that of the photograph, within 4:1; both sides are multiples of
    the network's stride, and of about an eighth of `size`. A network with a dense layer takes its one square size.

    Returns:
        (height, width) in pixels.
    """
    if fixed is not None:
        return fixed, fixed
    aspect = min(max(width / height, 1 / _LARGEST_ASPECT), _LARGEST_ASPECT)
    sides = size / math.sqrt(aspect), size * math.sqrt(aspect)
    step = stride * max(1, round(size / _STEPS / stride))
    return max(step, round(sides[0] / step) * step), max(step, round(sides[1] / step) * step)


def usual_shape(height: int, width: int, size: int, stride: int, fixed: int | None) -> tuple[int, int]:
    """Return (height, width), as `network_shape`, where nobody asked for a size: see `usual_px`."""
    return network_shape(height, width, usual_px(height, width, size), stride, fixed)


def _pixels(pages: Sequence[NDArray[Any]]) -> int:
    """Return the pixels of all pages, each at its own size."""
    return sum(page.shape[0] * page.shape[1] for page in pages)


def _kind(pages: Sequence[NDArray[Any]]) -> str:
    """Tell gray, toned or color of a whole file: of its most colorful page."""
    kinds = {"gray" if page.ndim == 2 else classify_tone(page) for page in pages}
    return next(kind for kind in ("color", "toned", "gray") if kind in kinds)
