"""Law of tables as CSV: the bytes that `csv.writer` writes of their rows."""

import csv
import io
import itertools
import math
import random
import struct

import pyarrow as pa
import pytest

from raycolor.colorize.csv_text import csv_text
from raycolor.colorize.job_folder import table_of
from raycolor.sources.csv_cells import guard

SCHEMA = pa.schema([("text", pa.string()), ("number", pa.float64()), ("whole", pa.int64())])
TEXTS = ["=1", "'=a", "''", "", " a", 'a"b', "a,b", "a\rb", "\n", "\r\n", '"', '=","', "'\t", "ü", "\0", "a.jpg", None]
FLOATS = [0.0, -0.0, 1.0, 0.1, 1e-4, 9.999e-5, 1e-5, 1e-7, 999999999.5, 1e9, 1e15, 1e16, 1e22, 5e-324, math.nan]


def written(rows):
    """Return what `csv.writer` makes of rows, with text guarded."""
    file = io.StringIO(newline="")
    csv.writer(file).writerows([guard(cell) if isinstance(cell, str) else cell for cell in row] for row in rows)
    return file.getvalue().encode()


def made(rows):
    """Return what `csv_text` makes of them."""
    return bytes(csv_text(table_of(list(zip(*rows, strict=True)), SCHEMA), SCHEMA.names))


def numbers(count):
    """Yield numbers of every size, and of any bits."""
    rng = random.Random(0)
    for _ in range(count):
        yield rng.random() * 10 ** rng.uniform(-12, 20)
        yield struct.unpack("d", rng.randbytes(8))[0]
        yield round(rng.random() * 100, 3)


def test_all_texts_and_numbers_are_written_as_csv_writer_does():
    """Whatever stands in a cell: quotes, ends of lines, formulas, nothing, numbers of any size."""
    rows = list(itertools.zip_longest(TEXTS, [*FLOATS, None], [0, -5, None, 2**62]))
    assert made(rows) == written(rows)
    rows = [("a", number, 1) for number in numbers(2000)]
    assert made(rows) == written(rows)


@pytest.mark.parametrize("text", TEXTS)
def test_a_column_of_one_kind_is_written_as_csv_writer_does(text):
    """Also where no cell of a column needs a change, or all do."""
    rows = [(text, None, 3), (text, 2.5, None)]
    assert made(rows) == written(rows)


def test_parts_of_a_table_are_one_text():
    """A table of several chunks, an empty one among them, and a slice; of no rows nothing is written."""
    rows = [(f"{i},", i / 7, i) for i in range(40)]
    table = table_of(list(zip(*rows, strict=True)), SCHEMA)
    parts = pa.concat_tables([table.slice(0, 13), table.slice(0, 0), table.slice(13)])
    assert bytes(csv_text(parts, SCHEMA.names)) == written(rows)
    assert bytes(csv_text(table.slice(5, 9), SCHEMA.names)) == written(rows[5:14])
    assert bytes(csv_text(table.slice(0, 0), SCHEMA.names)) == b""
    assert bytes(csv_text(table, ["whole", "text"])) == written([(whole, text) for text, _, whole in rows])
