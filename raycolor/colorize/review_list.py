"""`review.csv`: what people decided about the outputs of a job, one row for each decision, the last of a key counts."""

from __future__ import annotations

import csv
import datetime
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, Literal, NamedTuple, cast, get_args

from raycolor.colorize.config import REVIEW_KEY
from raycolor.colorizer.hint_list import MOST_HINTS, Hint, make_hint
from raycolor.errors import ConfigError
from raycolor.sources.csv_cells import csv_bytes, guard, named_rows, unguard
from raycolor.storage import ObjectStore, get_if_there

Verdict = Literal["approve", "reject", "skip"]
COLUMNS: Final = ("key", "decision", "checkpoint", "saturation", "hints", "who", "when")
_MOST_SATURATION: Final = 3.0


class Decision(NamedTuple):
    """What was decided about one photograph."""

    key: str
    decision: Verdict
    """`approve`: this is to be published; `reject`: it stays gray; `skip`: it stays as it stands."""
    checkpoint: str = ""
    """By what it is to be made again: empty for the job's own."""
    saturation: float | None = None
    """None for the job's own."""
    hints: tuple[Hint, ...] = ()
    who: str = ""
    when: str = ""
    """ISO 8601, UTC."""

    @property
    def changes(self) -> bool:
        """Whether it asks for another rendering; without any of the three it approves what stands."""
        return bool(self.decision == "approve" and (self.checkpoint or self.saturation is not None or self.hints))


@dataclass(frozen=True)
class Decisions:
    """The last decision about each photograph, and what messages call the list."""

    where: str
    of: dict[str, Decision]


def hints_to_text(hints: tuple[Hint, ...]) -> str:
    """Return hints as one cell: `x y color; x y color`."""
    return "; ".join(f"{hint.x:g} {hint.y:g} {hint.color}" for hint in hints)


def hints_from_text(text: str, where: str) -> tuple[Hint, ...]:
    """Invert `hints_to_text`.

    Raises:
        ConfigError: one is none; begins with `where`.
    """
    found = []
    for one in filter(str.strip, text.split(";")):
        cells = one.split(maxsplit=2)
        if len(cells) != 3:
            raise ConfigError(f"{where}: hint {one.strip()!r}: must read `x y color`, for example 120 80 #27345e")
        found.append(make_hint(cells[0], cells[1], cells[2], f"{where}: hint {one.strip()!r}"))
    if len(found) > MOST_HINTS:
        raise ConfigError(f"{where}: {len(found):,} hints: give at most {MOST_HINTS:,}")
    return tuple(found)


def read_decisions(dest: ObjectStore) -> Decisions:
    """Read the review of a job; no decisions where there is none yet.

    Raises:
        ConfigError: it was edited into something that is no such list; names the row.
    """
    where = f"{dest.uri}/{REVIEW_KEY}"
    data = get_if_there(dest, REVIEW_KEY)
    return Decisions(where, {} if data is None else {one.key: one for one in _rows(data, where)})


def add_decision(dest: ObjectStore, decision: Decision) -> None:
    """Write a decision, whole or not at all, behind those that are there by then, whoever writes them meanwhile.

    Raises:
        ConfigError: what stands there is no such list any more: nothing is written.
        StorageError: it cannot be written.
    """
    where = f"{dest.uri}/{REVIEW_KEY}"
    cells = {name: _cell(value) for name, value in decision._asdict().items()}

    def change(data: bytes | None) -> bytes:
        if data is None:
            return csv_bytes([COLUMNS, [cells[name] for name in COLUMNS]])
        header, _ = _read(data, where)
        if missing := [name for name in COLUMNS if name not in header]:
            raise ConfigError(f"{where}: has no column `{missing[0]}` any more: put it back")
        row = csv_bytes([[cells.get(name, "") for name in header]])
        # An answer that got lost makes the store ask again: what stands there already is not written twice.
        if row in data:
            return data
        return data + (b"" if data.endswith(b"\n") else b"\r\n") + row

    dest.update(REVIEW_KEY, change)


def now() -> str:
    """Return the time for `when`; to the microsecond, so that no two rows are alike."""
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="microseconds")


def _cell(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, tuple):
        return hints_to_text(cast(tuple[Hint, ...], value))
    return guard(value) if isinstance(value, str) else f"{value:g}"


def _read(data: bytes, where: str) -> tuple[list[str], Iterator[tuple[int, dict[str, str]]]]:
    """Return columns and rows, as `named_rows` does; a list of decisions has at least two columns."""
    try:
        header, rows = named_rows(data.decode("utf-8-sig"))
    except (UnicodeDecodeError, csv.Error) as exc:
        raise ConfigError(f"{where}: cannot be read ({exc}): mend it") from exc
    for name in ("key", "decision"):
        if name not in header:
            raise ConfigError(f"{where}: has no column `{name}`: begin it with the line {','.join(COLUMNS)}")
    return header, rows


def _rows(data: bytes, where: str) -> Iterator[Decision]:
    _, rows = _read(data, where)
    try:
        for number, cells in rows:
            yield _decision({name: unguard(cell) for name, cell in cells.items()}, f"{where}: row {number}")
    except csv.Error as exc:
        raise ConfigError(f"{where}: cannot be read ({exc}): mend it") from exc


def _decision(cells: dict[str, str], where: str) -> Decision:
    key, verdict = cells.get("key", ""), cells.get("decision", "").strip().lower()
    if not key:
        raise ConfigError(f"{where} names no key: fill it in or remove it")
    if verdict not in get_args(Verdict):
        raise ConfigError(f"{where}: decision {verdict!r}: must be {', '.join(get_args(Verdict))}")
    saturation = None
    if text := cells.get("saturation", "").strip():
        try:
            saturation = float(text)
        except ValueError:
            saturation = -1.0
        if not 0 <= saturation <= _MOST_SATURATION:
            raise ConfigError(f"{where}: saturation {text!r}: must be 0 to {_MOST_SATURATION:g}")
    return Decision(
        key,
        cast(Verdict, verdict),
        cells.get("checkpoint", "").strip(),
        saturation,
        hints_from_text(cells.get("hints", ""), where),
        cells.get("who", ""),
        cells.get("when", ""),
    )
