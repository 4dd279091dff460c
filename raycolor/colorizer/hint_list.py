"""Color hints as people give them: of one photograph, and of many in a file, CSV of key, x, y and color."""

from __future__ import annotations

import csv
import hashlib
import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

from raycolor.errors import ConfigError, StorageError
from raycolor.sources.csv_cells import csv_bytes, guard, named_rows, unguard
from raycolor.storage.single import locate

_COLUMNS: Final = ("key", "x", "y", "color")
MOST_HINTS: Final = 1000
"""Of one photograph."""


class Hint(NamedTuple):
    """The color that is known at one place of a photograph."""

    x: float
    """Pixels from the left edge, as viewers show the first page: upright, at its full size."""
    y: float
    """Pixels from the top edge."""
    color: str
    """`#rrggbb`, or one of CSS's names, such as `navy`. Its a and b count; lightness stays the photograph's."""

    @property
    def rgb(self) -> tuple[int, int, int]:
        """The color as sRGB of 8 bits."""
        from PIL import ImageColor

        red, green, blue = ImageColor.getrgb(self.color)[:3]
        return red, green, blue


def make_hint(x: object, y: object, color: object, where: str) -> Hint:
    """Check a hint.

    Args:
        x: as `Hint` has it, a number or its text.
        y: the same.
        color: the same.
        where: what messages call it.

    Raises:
        ConfigError: no number, or no color.
    """
    place_x, place_y = _pixels(x, f"{where}: x"), _pixels(y, f"{where}: y")
    text = str(color).strip().lower()
    hint = Hint(place_x, place_y, text)
    try:
        hint.rgb  # noqa: B018
    except ValueError as exc:
        raise ConfigError(f"{where}: color {color!r}: must be #rrggbb or a name such as navy") from exc
    return hint


def _pixels(value: object, where: str) -> float:
    try:
        number = float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        number = math.nan
    if not 0 <= number < 1e9:
        raise ConfigError(f"{where} {value!r}: must be pixels from the picture's corner, 0 or more")
    return number


def as_hints(given: Iterable[Sequence[object]]) -> tuple[Hint, ...]:
    """Check hints that Python code gives: each x, y and a color.

    Raises:
        ConfigError: as `make_hint`; no three values, or too many hints.
    """
    found = []
    for number, one in enumerate(given, 1):
        if isinstance(one, str) or len(one) != 3:
            raise ConfigError(f"hint {number}: {one!r}: must be (x, y, color), for example (120, 80, 'navy')")
        found.append(make_hint(one[0], one[1], one[2], f"hint {number}"))
    if len(found) > MOST_HINTS:
        raise ConfigError(f"{len(found):,} hints of one photograph: give at most {MOST_HINTS:,}")
    return tuple(found)


@dataclass(frozen=True)
class HintList:
    """Hints by the key of their photograph; picklable."""

    hints: Mapping[str, tuple[Hint, ...]] = field(default_factory=dict, repr=False)

    def of(self, key: str) -> tuple[Hint, ...]:
        """Return the hints of a photograph."""
        return self.hints.get(key, ())

    def to_csv(self) -> bytes:
        """Return the list as CSV, sorted by key: two lists that say the same are the same bytes."""
        each = ((key, hint) for key, hints in sorted(self.hints.items()) for hint in hints)
        rows = ((guard(key), repr(hint.x), repr(hint.y), hint.color) for key, hint in each)
        return csv_bytes([_COLUMNS, *rows])

    @property
    def sha256(self) -> str | None:
        """Hash of what it says; None if that is nothing."""
        return hashlib.sha256(self.to_csv()).hexdigest() if self.hints else None


def read_hints(place: str, **options: Any) -> HintList:
    """Read a list.

    Args:
        place: local path or s3://bucket/key.
        options: for S3, as `open_store` takes them.

    Raises:
        ConfigError: it cannot be read, is no such list, or a row cannot be used; says which.
    """
    store, name = locate(place, "--hints ", **options)
    try:
        return parse_hints(store.get(name), f"--hints {place}")
    except StorageError as exc:
        raise ConfigError(f"--hints {place}: {exc.detail}: check the path") from exc


def parse_hints(data: bytes, where: str) -> HintList:
    """Read a list from its bytes; `where` is what messages call it.

    Raises:
        ConfigError: as `read_hints`.
    """
    found: dict[str, list[Hint]] = defaultdict(list)
    try:
        header, rows = named_rows(data.decode("utf-8-sig"))
        if missing := [name for name in _COLUMNS if name not in header]:
            raise ConfigError(f"{where}: has no column `{missing[0]}`: begin it with the line {','.join(_COLUMNS)}")
        for number, cells in rows:
            key = unguard(cells.get("key", "")).strip("/")
            if not key:
                raise ConfigError(f"{where}: row {number} names no key: fill it in or remove it")
            hint = make_hint(cells.get("x"), cells.get("y"), cells.get("color", ""), f"{where}: row {number}")
            found[key].append(hint)
            if len(found[key]) > MOST_HINTS:
                raise ConfigError(f"{where}: row {number}: {key} has more than {MOST_HINTS:,} hints: remove some")
    except (UnicodeDecodeError, csv.Error) as exc:
        raise ConfigError(f"{where}: cannot be read as a list of hints ({exc}): check the file") from exc
    if not found:
        raise ConfigError(f"{where}: holds no hint: fill it in, or omit it")
    return HintList({key: tuple(hints) for key, hints in found.items()})
