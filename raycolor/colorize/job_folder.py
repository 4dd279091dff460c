"""DEST/_raycolor, where a bulk job keeps its records, and the Parquet tables in it."""

from __future__ import annotations

from typing import Final

import pyarrow as pa
import pyarrow.parquet as pq

from raycolor.errors import ManifestError
from raycolor.storage import ObjectStore, get_if_there

FOLDER: Final = "_raycolor/"
ATTEMPTS: Final = FOLDER + "attempts/"
NEVER_KEY: Final = FOLDER + "never.csv"


def put_table(dest: ObjectStore, key: str, table: pa.Table) -> None:
    """Write a table as one Parquet object, whole or not at all."""
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, compression="zstd")
    dest.put(key, sink.getvalue().to_pybytes())


def get_table(dest: ObjectStore, key: str) -> pa.Table:
    """Read one Parquet object.

    Raises:
        ManifestError: it is missing or damaged.
    """
    data = get_if_there(dest, key)
    if data is None:
        raise ManifestError(f"{dest.uri}: {key} is missing: give a new DEST")
    try:
        return pq.read_table(pa.BufferReader(data))
    except pa.ArrowException as exc:
        raise ManifestError(f"{dest.uri}: {key} is damaged ({exc}): remove it and run the same command again") from exc
