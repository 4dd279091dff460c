"""The photographs of a job in the order in which they are looked at, with filters; on disk, whatever their number."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterable
from contextlib import closing
from typing import Any, Final, NamedTuple

from raycolor.colorize.outcomes import Outcome
from raycolor.colorize.redo import WITHDRAWN
from raycolor.colorize.review_list import Decision

PAGE: Final = 30


class Row(NamedTuple):
    """One photograph."""

    id: int
    key: str
    folder: str
    status: str
    """`colorized` or `withdrawn`."""
    flags: str
    confidence: float | None
    output_key: str | None
    revision: int
    kind: str | None
    """`gray` or `toned`."""
    decision: str
    """`approve`, `reject`, `skip`, or empty."""


class Filter(NamedTuple):
    """What to show; empty for all."""

    status: str = ""
    flag: str = ""
    folder: str = ""
    decision: str = ""
    """`none` for those without."""


class Photographs:
    """What a job has colorized, and what a review has withdrawn of it. Safe to use from several threads.

    Args:
        outcomes: of the job; others than these two are left out.
    """

    def __init__(self, outcomes: Iterable[Outcome]) -> None:
        # A file of its own that SQLite removes: memory does not grow with the photographs.
        self._books = sqlite3.connect("", check_same_thread=False)
        self._lock = threading.Lock()
        with self._books:
            _, *columns = Row._fields
            self._books.execute(f"CREATE TABLE photograph (id INTEGER PRIMARY KEY, {', '.join(columns)}, UNIQUE (key))")
            self._books.executemany(
                f"INSERT INTO photograph VALUES ({', '.join('?' * len(Row._fields))})",
                (_row(one) for one in outcomes if one.status == "colorized" or one.reason == WITHDRAWN),
            )
            self._books.execute("CREATE INDEX in_order ON photograph (confidence IS NULL, confidence, key)")

    def close(self) -> None:
        """Forget all."""
        self._books.close()

    def take(self, decisions: Iterable[Decision]) -> None:
        """Note what was decided; the last decision about a key counts."""
        with self._lock, self._books:
            self._books.executemany(
                "UPDATE photograph SET decision = ? WHERE key = ?", ((one.decision, one.key) for one in decisions)
            )

    def get(self, number: int) -> Row | None:
        """Return one photograph, or None."""
        found = self._ask("SELECT * FROM photograph WHERE id = ?", (number,))
        return Row(*found[0]) if found else None

    def page(self, wanted: Filter, offset: int) -> tuple[list[Row], int]:
        """Return up to `PAGE` photographs from `offset` on, the least confident first, and how many there are."""
        where, values = _where(wanted)
        count = self._ask(f"SELECT count(*) FROM photograph WHERE {where}", values)[0][0]
        rows = self._ask(
            f"SELECT * FROM photograph WHERE {where} ORDER BY confidence IS NULL, confidence, key LIMIT ? OFFSET ?",
            (*values, PAGE, offset),
        )
        return [Row(*row) for row in rows], int(count)

    def counts(self) -> dict[str, int]:
        """Return how many there are in all, and how many of each decision; `none` for those without."""
        found = dict(self._ask("SELECT decision, count(*) FROM photograph GROUP BY decision", ()))
        return {"all": sum(found.values()), **{name or "none": count for name, count in found.items()}}

    def folders(self, most: int) -> list[str]:
        """Return folders that photographs lie in, sorted; the first `most` of them."""
        rows = self._ask("SELECT DISTINCT folder FROM photograph WHERE folder <> '' ORDER BY folder LIMIT ?", (most,))
        return [row[0] for row in rows]

    def flags(self) -> list[str]:
        """Return the flags that photographs have, sorted."""
        rows = self._ask("SELECT DISTINCT flags FROM photograph", ())
        return sorted({flag for row in rows for flag in row[0].split(",") if flag})

    def _ask(self, question: str, values: tuple[object, ...]) -> list[tuple[Any, ...]]:
        with self._lock, closing(self._books.execute(question, values)) as answer:
            return answer.fetchall()


def _row(outcome: Outcome) -> tuple[object, ...]:
    return (
        None,  # numbered by SQLite
        outcome.key,
        outcome.key.rpartition("/")[0],
        "colorized" if outcome.status == "colorized" else WITHDRAWN,
        outcome.flags or "",
        outcome.confidence,
        outcome.output_key,
        outcome.revision,
        outcome.source_kind,
        "",
    )


def _where(wanted: Filter) -> tuple[str, tuple[object, ...]]:
    """Return a filter as SQL with its values."""
    parts, values = ["1"], list[object]()
    if wanted.status:
        parts.append("status = ?")
        values.append(wanted.status)
    if wanted.flag:
        parts.append("instr(',' || flags || ',', ?) > 0")
        values.append(f",{wanted.flag},")
    if folder := wanted.folder.strip("/"):
        parts.append("(folder = ? OR substr(folder, 1, ?) = ?)")
        values += [folder, len(folder) + 1, folder + "/"]
    if wanted.decision:
        parts.append("decision = ?")
        values.append("" if wanted.decision == "none" else wanted.decision)
    return " AND ".join(parts), tuple(values)
