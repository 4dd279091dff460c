"""`raycolor.Colorizer`: photographs from Python, as files, bytes, arrays or PIL images."""

from __future__ import annotations

import io
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Final

import imagecodecs
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from raycolor.codecs.guard import guard
from raycolor.colorizer.config import ColorizerConfig
from raycolor.colorizer.hint_list import as_hints
from raycolor.colorizer.photograph import FileColorizer
from raycolor.colorizer.result import ColorizedPhotograph
from raycolor.config import validate
from raycolor.errors import ImageError, ShapeError
from raycolor.storage.single import locate

Photograph = str | Path | bytes | NDArray[np.uint8] | NDArray[np.uint16] | Image.Image

# What PNG holds as it is.
_PIL_MODES: Final = ("1", "L", "LA", "P", "RGB", "RGBA", "I;16")


class Colorizer:
    """Colorizes photographs on this machine's CPU. Load it once, call it often.

    Several threads may call one colorizer at the same time; torch uses all CPUs for each call already.

    Args:
        checkpoint: a shipped name (`list_checkpoints`), a folder, or s3://bucket/prefix.
        **settings: fields of `ColorizerConfig`, which are the flags of `raycolor colorize` with underscores:
            `saturation`, `tta`, `on_color`, `jpeg_luma`, `jpeg_quality`, `upsampling`, `network_size`, `max_pixels`,
            `precision`.

    Raises:
        ConfigError: an unknown setting or a value out of bounds.
        CheckpointError: the checkpoint cannot be loaded.

    Example:
        >>> from raycolor import Colorizer
        >>> colorizer = Colorizer("regression", saturation=1.2)
        >>> colorizer("scan.jpg").save("color.jpg")

        >>> import numpy as np
        >>> gray = np.tile(np.arange(64, dtype=np.uint8) * 4, (48, 1))
        >>> colorizer(gray).rgb.shape
        (48, 64, 3)

        >>> colorizer(gray, hints=[(12, 30, "#27345e")]).rgb.shape
        (48, 64, 3)
    """

    def __init__(self, checkpoint: str | Path = "default", **settings: Any) -> None:
        where = dict.fromkeys(["checkpoint", *settings], "Colorizer")
        self.config: ColorizerConfig = validate(ColorizerConfig, {**settings, "checkpoint": str(checkpoint)}, where)
        self._files = FileColorizer(self.config)

    def __repr__(self) -> str:
        changed = self.config.model_dump(exclude_defaults=True, exclude={"checkpoint"})
        return f"Colorizer({', '.join([repr(self.config.checkpoint), *(f'{k}={v!r}' for k, v in changed.items())])})"

    def __call__(self, photograph: Photograph, *, hints: Iterable[Sequence[object]] = ()) -> ColorizedPhotograph:
        """Colorize one photograph.

        Args:
            photograph: a path or s3://bucket/key; the bytes of a file; an array (H, W) or (H, W, 3), uint8 or uint16,
                sRGB-encoded; or a PIL image, turned as its EXIF says. Of a TIFF all pages are colorized.
            hints: what is known of its colors, each x, y and color: pixels from the upper left corner of the upright
                first page, and `#rrggbb` or a name such as `navy`. The color spreads over what belongs together.

        Returns:
            The colorized photograph. A file comes back as the bytes that `raycolor colorize` writes; an array or a PIL
            image as PNG of the same size and depth.

        Raises:
            ImageError: it cannot be colorized; `reason` says why. A photograph that has colors is `already_color`,
                unless the colorizer was made with `on_color="recolor"` or `on_color="copy"`.
                A hint outside the picture is a `bad_hint`.
            ConfigError: a hint that is none.
            ShapeError: an array of another shape or type, a PIL image of another mode, or something else altogether.
        """
        known = as_hints(hints)
        data, path = _read(photograph)
        try:
            made = self._files.colorize(data, known)
        except ImageError as exc:
            if exc.reason != "already_color":
                raise
            fix = 'Colorizer(..., on_color="recolor") colorizes it all the same, on_color="copy" leaves it as it is'
            raise ImageError("already_color", f"the photograph has colors: {fix}") from exc
        return ColorizedPhotograph(**vars(made), original=data, path=path)


def _read(photograph: object) -> tuple[bytes, str | None]:
    """Return the photograph as the bytes of a file, and where that was read from."""
    match photograph:
        case str() | Path():
            store, key = locate(str(photograph))
            place = str(photograph)
            local = place.removeprefix("file://")
            return store.get(key), place if "://" in local else str(Path(local).expanduser().absolute())
        case bytes() | bytearray() | memoryview():
            return bytes(photograph), None
        case np.ndarray():
            return _array_to_png(photograph), None
        case Image.Image():
            name = getattr(photograph, "filename", None)
            return _pil_to_png(photograph), str(Path(name).absolute()) if isinstance(name, str) and name else None
    raise ShapeError(f"{type(photograph).__name__}: must be a path, bytes, a numpy array or a PIL image")


def _array_to_png(pixels: NDArray[Any]) -> bytes:
    fits = pixels.ndim == 2 or (pixels.ndim == 3 and pixels.shape[2] == 3)
    if not fits or pixels.dtype.newbyteorder("=") not in (np.uint8, np.uint16) or not pixels.size:
        raise ShapeError(
            f"array is {pixels.dtype} {pixels.shape}: must be (H, W) or (H, W, 3), uint8 or uint16: "
            "choose channels by array[..., :3], scale to 0..255 and convert by .astype('uint8')"
        )
    native = np.ascontiguousarray(pixels, dtype=pixels.dtype.newbyteorder("="))
    with guard("PNG encoding"):
        return bytes(imagecodecs.png_encode(native, level=1))  # read again at once: speed is all that counts


def _pil_to_png(image: Image.Image) -> bytes:
    if image.mode not in _PIL_MODES:
        raise ShapeError(
            f"PIL image of mode {image.mode}: must be one of {', '.join(_PIL_MODES)}: use image.convert('RGB')"
        )
    sink = io.BytesIO()
    with guard("PIL image"):
        # Pillow writes the EXIF that was read with the image, and its color profile.
        image.save(sink, "PNG", compress_level=1, exif=image.getexif(), icc_profile=image.info.get("icc_profile"))
    return sink.getvalue()
