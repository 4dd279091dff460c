"""Every exception that raycolor raises on purpose, and the reasons of a failed image."""

from __future__ import annotations

from typing import Final, Literal, get_args

Reason = Literal[
    "already_color",
    "not_a_photograph",
    "excluded",
    "withdrawn",
    "bad_hint",
    "empty",
    "not_an_image",
    "decode_error",
    "truncated",
    "unsupported_format",
    "too_large",
    "not_found",
    "access_denied",
    "archived_storage_class",
    "storage_error",
    "internal_error",
]
REASONS: Final[tuple[str, ...]] = get_args(Reason)


class RaycolorError(Exception):
    """Root of the errors raised on purpose. The message is one line: what, which value, how to mend it."""

    exit_code = 1
    """Of a command that one of them ends."""


class ConfigError(RaycolorError):
    """A command, setting or configuration file that cannot be used."""

    exit_code = 2


class ShapeError(RaycolorError):
    """An array whose shape or type a function does not take."""


class ImageError(RaycolorError):
    """An input image that cannot be colorized; `reason` is what its outcome row says."""

    def __init__(self, reason: Reason, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason: Reason = reason
        self.detail = detail

    def __reduce__(self) -> tuple[type[ImageError], tuple[Reason, str]]:
        # By default pickle would call the class with the message alone; these errors travel between processes.
        return type(self), (self.reason, self.detail)


class DecodeError(ImageError):
    """Bytes that are no image, a broken one, or one past the limits."""


class ArchiveError(RaycolorError):
    """A tar or zip that cannot be read to its end."""


class DatasetError(RaycolorError):
    """A Lab dataset that is missing, of another format version, or damaged."""


class ManifestError(RaycolorError):
    """A destination that holds another job's manifest, or records that contradict it."""


class StorageError(ImageError):
    """A local or S3 object that cannot be read or written.

    Only `transient=True` is worth another try: 503, 500, timeouts, resets and short bodies. With `place=True` it may be
    no fault of the one object: the place may be out (expired credentials, a wrong clock, a server that is gone).
    """

    def __init__(self, reason: Reason, detail: str, *, transient: bool = False, place: bool = False) -> None:
        super().__init__(reason, detail)
        self.transient = transient
        self.place = place or transient


class OutageError(RaycolorError):
    """A place that did not answer for as long as the job's patience: no photograph's fault, so that the job stops."""


class TooManyFailedError(RaycolorError):
    """A job that was stopped as more images had failed than it allows."""

    exit_code = 3


class CheckpointError(RaycolorError):
    """A checkpoint that is missing, damaged, of another format version, or of another network."""


class TrainingError(RaycolorError):
    """A training that cannot go on, for example because its loss is NaN."""
