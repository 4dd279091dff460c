"""An input of a job, and where its bytes are."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Final, Literal, NamedTuple

from raycolor.errors import ImageError, Reason

ArchiveKind = Literal["tar", "tgz", "zip"]


class SkippedInputError(ImageError):
    """An input that is no photograph, by its name or as a link inside an archive: its outcome is `skipped`."""


@dataclass(frozen=True, slots=True)
class Location:
    """A version, another bucket, a member of an archive, or what was wrong with an input when it was listed."""

    uri: str | None = None
    """Store that holds the object; None for the source's own."""
    object: str | None = None
    """Key of the object in its store; None where it is the input's own key."""
    version: str | None = None
    kind: ArchiveKind | None = None
    """Set for a member of an archive."""
    start: int = 0
    """Offset of a member's bytes in the (unpacked) tar; in a zip, of its local header."""
    packed: int = 0
    """Size of a zip's member inside the zip, in bytes."""
    method: int = 0
    """Compression of a zip's member, as the zip numbers it."""
    crc: int = 0
    reason: Reason | None = None
    """Set for an input that cannot be read: its outcome is fixed already."""
    detail: str = ""
    skipped: bool = False

    def to_text(self) -> str | None:
        """Return the JSON that a manifest holds, without fields that are not set; None if none is."""
        # Asked for each input of a listing: `dataclasses.fields` would take longer than all the rest.
        given = {name: value for name in self.__slots__ if (value := getattr(self, name))}
        return json.dumps(given, separators=(",", ":"), ensure_ascii=False) if given else None

    @classmethod
    def from_text(cls, text: str | None) -> Location:
        """Invert `to_text`."""
        return cls(**json.loads(text)) if text else OWN_KEY


OWN_KEY: Final = Location()
"""Location of an object in the source's own store, under the input's key."""


class Input(NamedTuple):
    """An object or archive member before it is decoded."""

    key: str
    """What outputs and outcomes are named after."""
    size: int
    """Bytes; 0 where a list does not say."""
    etag: str
    location: Location = OWN_KEY

    @property
    def object(self) -> str:
        """Key of the object that holds its bytes."""
        return self.location.object or self.key
