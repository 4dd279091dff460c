"""Small CSV files, and cells guarded so that a spreadsheet shows file names as text and runs no formula."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

FORMULA: Final = r"\A'*[=+\-@\t\r]"
"""What a spreadsheet may read as the beginning of a formula, behind apostrophes that we or others put there."""
_FORMULA = re.compile(FORMULA)
_GUARDED = re.compile(r"'+[=+\-@\t\r]")


def guard(text: str) -> str:
    """Return text with an apostrophe in front where a spreadsheet would take it for a formula."""
    return f"'{text}" if _FORMULA.match(text) else text


def unguard(text: str) -> str:
    """Invert `guard`."""
    return text[1:] if _GUARDED.match(text) else text


def csv_bytes(rows: Iterable[Iterable[object]]) -> bytes:
    """Return rows as the bytes of a CSV file; cells are guarded by whoever gives them."""
    file = io.StringIO(newline="")
    csv.writer(file).writerows(rows)
    return file.getvalue().encode()


@contextmanager
def csv_rows(path: Path, header: Iterable[str]) -> Iterator[Any]:
    """Open a CSV file for writing, with its first row; gives what takes the others, of guarded cells."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)  # rows end in CR LF: with LF alone Python 3.11 leaves a CR in a key unquoted
        writer.writerow(header)
        yield writer


def named_rows(text: str) -> tuple[list[str], Iterator[tuple[int, dict[str, str]]]]:
    """Read a CSV file whose first row names the columns, and return these names in lower case.

    Behind them: number and cells, by column and as they stand, of every row that is not blank.

    Raises:
        csv.Error: it is no CSV; also while rows are taken.
    """
    rows = enumerate(csv.reader(io.StringIO(text, newline=""), strict=True), 1)
    header = [cell.strip().lower() for cell in next(rows, (1, []))[1]]
    return header, (
        (number, dict(zip(header, row, strict=False))) for number, row in rows if any(cell.strip() for cell in row)
    )
