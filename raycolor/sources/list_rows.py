"""Lists of inputs, row by row: CSV, Parquet, and plain text."""

from __future__ import annotations

import csv
import gzip
import io
import itertools
import zlib
from collections.abc import Collection, Iterator, Mapping
from typing import Any, Final, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from raycolor.errors import ConfigError, StorageError
from raycolor.sources.csv_cells import unguard
from raycolor.sources.streams import RangedBytes, fetcher
from raycolor.storage import ObjectStore

_CHUNK = 4 << 20
_MAX_ROW: Final = 1 << 20  # characters; a packed list may unpack to one line of gigabytes
_MAX_SIZE: Final = 1 << 50  # bytes of an object; S3's largest have 50 TB
_URI_NAMES: Final = ("uri", "url", "path", "file")
_NAMES: Final = frozenset({*_URI_NAMES, "bucket", "key", "version", "versionid", "size", "etag", "reason", "detail"})
SUFFIXES: Final = (".csv", ".csv.gz", ".txt", ".parquet", ".json")


class Row(NamedTuple):
    """One line of a list."""

    where: str
    """`line 7` or `row 7`, for messages."""
    key: str
    """A key, or where `is_uri` a URI or path."""
    bucket: str | None = None
    version: str | None = None
    size: int = 0
    etag: str = ""
    is_uri: bool = False
    of_job: bool = False
    """Whether an earlier job wrote it: the key is a key, whatever it looks like."""


def read_rows(store: ObjectStore, key: str) -> Iterator[Row]:
    """Yield the rows of a list, a few thousand in memory at a time.

    Args:
        store: where the list is.
        key: its key: `.csv`, `.csv.gz`, `.parquet`, or `.txt` with one URI or path a line.

    Raises:
        ConfigError: not such a list; names the line.
        StorageError: it cannot be read.
    """
    where = f"{store.uri.rstrip('/')}/{key}"
    try:
        if key.lower().endswith(".parquet"):
            yield from _parquet(open_object(store, key), where)
        elif key.lower().endswith(".txt"):
            lines = Lines(_text(open_object(store, key)))
            for number, line in enumerate(lines, 1):
                lines.row_done()
                if line.strip():
                    _refuse_nul(line, f"line {number}", where)
                    yield Row(f"line {number}", line.rstrip("\r\n"), is_uri=True)
        else:
            file: Any = open_object(store, key)
            yield from _csv(_text(gzip.GzipFile(fileobj=file) if key.lower().endswith(".gz") else file), where)
    except (csv.Error, UnicodeDecodeError, zlib.error, OSError, EOFError, pa.ArrowException) as exc:
        raise ConfigError(f"{where}: cannot be read as a list ({exc}): check the file") from exc


def open_object(store: ObjectStore, key: str) -> io.BufferedReader:
    """Open an object as a file.

    Raises:
        StorageError: there is none.
    """
    info = store.stat(key)
    if info is None:
        raise StorageError("not_found", f"{store.uri}/{key}: no such object")
    return io.BufferedReader(RangedBytes(fetcher(store, key), info.size, _CHUNK), 1 << 16)


def _text(file: Any) -> io.TextIOWrapper:
    # The byte order mark that spreadsheets write is no part of the first name; newlines inside quotes are the key's.
    return io.TextIOWrapper(file, encoding="utf-8-sig", newline="")


class Lines:
    """The lines of a text, with a bound on those of one row; csv.Error past it."""

    def __init__(self, text: io.TextIOWrapper) -> None:
        self._text, self._taken = text, 0

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        line = self._text.readline(_MAX_ROW + 1)
        self._taken += len(line)
        if self._taken > _MAX_ROW:
            raise csv.Error(f"a row of more than {_MAX_ROW:,} characters")
        if not line:
            raise StopIteration
        return line

    def row_done(self) -> None:
        """Count from here: a row was read to its end."""
        self._taken = 0


def _refuse_nul(key: str, number: str, where: str) -> None:
    """Refuse a key that no file system and no store can hold; ConfigError."""
    if "\0" in key:
        raise ConfigError(f"{where}: {number}: the key holds a NUL character: check the file")


def plain_name(name: str) -> str:
    """Return a column's name without case, spaces and underscores: VersionId, version_id and versionid are one."""
    return name.strip().lower().replace("_", "").replace(" ", "")


def _csv(text: io.TextIOWrapper, where: str) -> Iterator[Row]:
    lines = Lines(text)
    reader = csv.reader(lines, strict=True)
    first = next(reader, None)
    if first is None:
        return
    names = [plain_name(cell) for cell in first]
    # Other columns beside bucket and key do not matter; a lone word such as `path` in a longer row is data.
    if "key" in names or (set(names) & set(_URI_NAMES) and set(names) <= _NAMES | {""}):
        line = reader.line_num + 1
        rows: Iterator[list[str]] = reader
    else:
        # Without a header one column is URIs, and more are bucket, key and version.
        names = ["uri"] if len(first) == 1 else ["bucket", "key", "version"]
        line = 1
        rows = itertools.chain([first], reader)
    # Columns of failed.csv and outcomes.csv.
    of_job = {"key", "reason", "detail"} <= set(names)
    for cells in rows:
        lines.row_done()
        if cells:
            if len(cells) > len(names):
                raise ConfigError(f"{where}: line {line}: {len(cells)} columns, not {len(names)}: quote commas in keys")
            row = row_of(dict(zip(names, cells, strict=False)), f"line {line}", where)
            yield row._replace(key=unguard(row.key), of_job=True) if of_job else row
        line = reader.line_num + 1


def _parquet(file: io.BufferedReader, where: str) -> Iterator[Row]:
    for number, cells in enumerate(parquet_cells(file, _NAMES), 1):
        yield row_of(cells, f"row {number}", where)


def parquet_cells(file: Any, known: Collection[str]) -> Iterator[dict[str, Any]]:
    """Yield the rows of a Parquet file, a few thousand in memory at a time: cells of known columns by plain name."""
    table = pq.ParquetFile(file)
    names = {name: plain_name(name) for name in table.schema_arrow.names}
    for batch in table.iter_batches(batch_size=8_192, columns=[n for n, plain in names.items() if plain in known]):
        for cells in batch.to_pylist():
            yield {names[name]: value for name, value in cells.items()}


def row_of(cells: Mapping[str, Any], number: str, where: str) -> Row:
    """Make a row from cells by plain column name.

    Raises:
        ConfigError: no key, one with a NUL, or a size that is not a number of bytes.
    """
    uri = next((cells[name] for name in _URI_NAMES if cells.get(name)), None)
    key = uri or cells.get("key")
    if not key:
        raise ConfigError(f"{where}: {number}: no key: give columns bucket,key[,version], or one of URIs")
    _refuse_nul(str(key), number, where)
    try:
        size = int(cells.get("size") or 0)
        if not 0 <= size <= _MAX_SIZE:
            raise ValueError
    except (TypeError, ValueError, OverflowError) as exc:
        raise ConfigError(f"{where}: {number}: size {str(cells['size'])[:40]!r} is not a number of bytes") from exc
    version = cells.get("versionid") or cells.get("version") or None
    etag = str(cells.get("etag") or "").strip('"')
    return Row(number, str(key), cells.get("bucket") or None, version, size, etag, is_uri=uri is not None)
