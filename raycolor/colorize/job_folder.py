"""DEST/_raycolor, where a bulk job keeps its records, and the Parquet tables in it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import fields
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from raycolor.errors import ManifestError
from raycolor.storage import ObjectStore, get_if_there

FOLDER: Final = "_raycolor/"
ATTEMPTS: Final = FOLDER + "attempts/"
NEVER_KEY: Final = FOLDER + "never.csv"


def table_of(columns: Iterable[Sequence[Any]], schema: pa.Schema) -> pa.Table:
    """Make a table of columns of text and numbers.

    `pa.array` of a list imports pandas to ask whether it is a Series: 0.7 s at the start of each process, for which a
    job of one photograph would wait. So the buffers of columns are laid out here.

    Args:
        columns: a sequence for each field, None where a value is missing.
        schema: fields are strings, int32, int64 or float64.
    """
    arrays = [_array(values, field.type) for values, field in zip(columns, schema, strict=True)]
    return pa.Table.from_arrays(arrays, schema=schema)


def schema_of(kind: type) -> pa.Schema:
    """Return the schema of tables whose rows are objects of a dataclass of text and numbers."""
    types = {"int": pa.int64(), "float": pa.float64()}
    return pa.schema([(f.name, types.get(str(f.type).split(" |")[0], pa.string())) for f in fields(kind)])


def table_of_rows(rows: Sequence[object], schema: pa.Schema) -> pa.Table:
    """Make a table of such objects."""
    return table_of(([getattr(row, name) for row in rows] for name in schema.names), schema)


def scalar(value: str | float) -> pa.Scalar:
    """Return a value as functions of `pyarrow.compute` take it; `pa.scalar` imports pandas, too."""
    types = {str: pa.string(), int: pa.int64(), float: pa.float64()}
    return _array([value], types[type(value)])[0]


def integers(numbers: NDArray[Any]) -> pa.Array:
    """Return whole numbers as Arrow takes them, for the same reason; they are not copied if they are int64."""
    numbers = np.ascontiguousarray(numbers, np.int64)
    return pa.Array.from_buffers(pa.int64(), len(numbers), [None, pa.py_buffer(numbers)])


def _array(values: Sequence[Any], type_: pa.DataType) -> pa.Array:
    there = np.packbits(np.array([value is not None for value in values], bool), bitorder="little")
    if type_ != pa.string():
        numbers = np.array([0 if value is None else value for value in values], type_.to_pandas_dtype())
        return pa.Array.from_buffers(type_, len(values), [pa.py_buffer(there), pa.py_buffer(numbers)])
    texts = [b"" if value is None else value.encode() for value in values]
    ends = np.cumsum([0, *map(len, texts)], dtype=np.int64).astype(np.int32)
    buffers = [pa.py_buffer(there), pa.py_buffer(ends), pa.py_buffer(b"".join(texts))]
    return pa.Array.from_buffers(type_, len(values), buffers)


def put_table(dest: ObjectStore, key: str, table: pa.Table) -> None:
    """Write a table as one Parquet object, whole or not at all."""
    dest.put(key, _parquet(table, compression="zstd"))


def small_parquet(table: pa.Table) -> bytes:
    """Return a table of some dozens of rows as Parquet that is read in a quarter of the usual time, and no larger.

    A dictionary, the statistics and a start of zstd for each column take longer than so few values themselves. Arrow's
    own schema says no more than Parquet's here, but metadata is kept with it.
    """
    store_schema = bool(table.schema.metadata)
    return _parquet(
        table, compression="snappy", use_dictionary=False, write_statistics=False, store_schema=store_schema
    )


def _parquet(table: pa.Table, **options: Any) -> bytes:
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, **options)
    return bytes(sink.getvalue().to_pybytes())


def get_table(dest: ObjectStore, key: str) -> pa.Table:
    """Read one Parquet object.

    Raises:
        ManifestError: it is missing or damaged.
    """
    return parse_table(dest, key, get_if_there(dest, key))


def parse_table(dest: ObjectStore, key: str, data: bytes | None) -> pa.Table:
    """Return the table of a Parquet object that was fetched, None if it was not there.

    Raises:
        ManifestError: it is missing or damaged.
    """
    if data is None:
        raise ManifestError(f"{dest.uri}: {key} is missing: give a new DEST")
    try:
        # `pq.read_table` imports all of pyarrow.dataset, and pandas with it. Small files gain nothing from threads.
        return pq.ParquetFile(pa.BufferReader(data), pre_buffer=False).read(use_threads=False)
    except pa.ArrowException as exc:
        raise ManifestError(f"{dest.uri}: {key} is damaged ({exc}): remove it and run the same command again") from exc
