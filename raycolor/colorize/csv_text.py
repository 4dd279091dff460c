"""Tables as the text of CSV files, a column at a time: what `csv.writer` writes of their rows, for millions of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from raycolor.colorize.job_folder import scalar, table_of
from raycolor.sources.csv_cells import FORMULA

_SPECIAL: Final = '[,"\r\n]'
_END: Final = "\r\n"  # with LF alone Python 3.11 leaves a CR in a key unquoted
# Between these Arrow writes the digits that Python does, but for the ".0" of whole numbers.
_LEAST: Final = 1e-4
_MOST: Final = 1e9


def csv_text(table: pa.Table, names: Sequence[str]) -> memoryview:
    """Return rows of some columns in UTF-8, as `csv.writer` writes them: text that holds a comma, a quote or an end of
    a line is quoted, missing values are empty. Text that a spreadsheet would take for a formula is guarded.
    """
    if not len(table):
        return memoryview(b"")
    cells = [_cells(table[name].combine_chunks()) for name in names]
    cells[-1] = _joined([cells[-1], scalar(_END)], "")
    rows = _joined(cells, ",")
    _, ends, text = rows.buffers()
    return memoryview(text)[: np.frombuffer(ends, np.int32)[len(rows)]]


def _joined(columns: Sequence[pa.Array | pa.Scalar], between: str) -> pa.Array:
    return pc.binary_join_element_wise(*columns, scalar(between), null_handling="replace", null_replacement="")


def _cells(column: pa.Array) -> pa.Array:
    if column.type == pa.float64():
        return _floats(column)
    if column.type != pa.string():
        return pc.cast(column, pa.string())
    # Hardly any column has a cell to guard or quote: a look at all of it at once costs a fraction of the change.
    if pc.any(pc.match_substring_regex(column, f"{FORMULA}|{_SPECIAL}")).as_py():
        guarded = pc.if_else(pc.match_substring_regex(column, FORMULA), _joined([scalar("'"), column], ""), column)
        doubled = pc.replace_substring(guarded, '"', '""')
        quoted = _joined([scalar('"'), doubled, scalar('"')], "")
        return pc.if_else(pc.match_substring_regex(guarded, _SPECIAL), quoted, guarded)
    return column


def _floats(column: pa.Array) -> pa.Array:
    """Return numbers as Python writes them: the shortest that read the same."""
    text = pc.cast(column, pa.string())
    size = pc.abs(column)
    alike = pc.and_(pc.greater_equal(size, scalar(_LEAST)), pc.less(size, scalar(_MOST)))
    other = pc.invert(pc.and_(alike, pc.not_equal(pc.floor(column), column)))
    if not pc.any(other).as_py():
        return text
    found = column.filter(other).dictionary_encode()
    (told,) = table_of([[repr(number) for number in found.dictionary.to_pylist()]], pa.schema([("", pa.string())]))
    return pc.replace_with_mask(text, other, told.combine_chunks().take(found.indices))
