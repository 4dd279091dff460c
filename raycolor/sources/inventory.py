"""S3 Inventory: the list of a bucket's objects that S3 itself writes every day or week."""

from __future__ import annotations

import csv
import gzip
import hashlib
import io
import json
import zlib
from collections.abc import Iterator, Mapping
from typing import Any, Final
from urllib.parse import unquote_plus

import pyarrow as pa

from raycolor.errors import ConfigError
from raycolor.sources.list_rows import Lines, Row, parquet_cells, plain_name, row_of
from raycolor.storage import ObjectStore, get_if_there, open_store

_KNOWN: Final = frozenset({"bucket", "key", "versionid", "islatest", "isdeletemarker", "size", "etag"})


def read_manifest(store: ObjectStore, key: str) -> dict[str, Any]:
    """Read an inventory's manifest.json.

    Raises:
        ConfigError: it is none, or its data files are ORC.
        StorageError: it cannot be read.
    """
    where = f"{store.uri.rstrip('/')}/{key}"
    try:
        loaded = json.loads(store.get(key))
        fields = ("sourceBucket", "fileFormat", "fileSchema", "files")
        manifest = {name: loaded[name] for name in fields}
        manifest["files"] = [(str(file["key"]), file.get("MD5checksum")) for file in manifest["files"]]
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as exc:
        raise ConfigError(f"{where}: is not an S3 Inventory manifest.json ({exc}): give a CSV or Parquet list") from exc
    if str(manifest["fileFormat"]).lower() not in ("csv", "parquet"):
        raise ConfigError(
            f"{where}: data files in {manifest['fileFormat']}: configure the inventory for CSV or Parquet"
        )
    return manifest


def inventory_rows(
    store: ObjectStore, key: str, manifest: Mapping[str, Any], options: Mapping[str, Any]
) -> Iterator[Row]:
    """Yield the current objects of an inventory; one data file is in memory at a time.

    Delete markers and older versions are left out. Where the inventory tells version ids they are pinned, so that what
    was listed is what is read.

    Raises:
        ConfigError: a data file does not match its MD5 or its schema.
        StorageError: a data file cannot be read.
    """
    is_csv = manifest["fileFormat"].lower() == "csv"
    for name, md5 in manifest["files"]:
        data = _data_file(store, key, name, options)
        if md5 and hashlib.md5(data, usedforsecurity=False).hexdigest() != md5:
            raise ConfigError(f"{name}: does not match the MD5 in manifest.json: fetch it again")
        try:
            rows = _csv(data, manifest["fileSchema"]) if is_csv else parquet_cells(pa.BufferReader(data), _KNOWN)
            for number, cells in enumerate(rows, 1):
                if str(cells.get("islatest")).lower() == "false" or str(cells.get("isdeletemarker")).lower() == "true":
                    continue
                row = row_of(cells, f"row {number}", name)
                if not row.key.endswith("/"):
                    yield row
        except (csv.Error, KeyError, UnicodeDecodeError, zlib.error, OSError, EOFError, pa.ArrowException) as exc:
            raise ConfigError(f"{name}: damaged inventory file ({exc}): fetch it again") from exc


def _csv(data: bytes, schema: str) -> Iterator[dict[str, Any]]:
    names = [plain_name(name) for name in schema.split(",")]
    with io.TextIOWrapper(gzip.GzipFile(fileobj=io.BytesIO(data)), encoding="utf-8", newline="") as text:
        lines = Lines(text)
        for cells in csv.reader(lines, strict=True):
            lines.row_done()
            if cells:
                row: dict[str, Any] = dict(zip(names, cells, strict=False))
                row["key"] = unquote_plus(row["key"], errors="strict")
                yield row


def _data_file(store: ObjectStore, key: str, name: str, options: Mapping[str, Any]) -> bytes:
    """Read a data file: by its full key in the manifest's bucket, or, where the inventory was copied, beside it."""
    base = name.rpartition("/")[2]
    folder = key.rpartition("/")[0]
    above = folder.rpartition("/")[0]
    if store.uri.startswith("s3://"):
        bucket = store.uri.removeprefix("s3://").split("/")[0]
        places = [(open_store(f"s3://{bucket}", **options), name)]
    else:
        places = []
    near = [f"{folder}/{base}", f"{folder}/data/{base}", f"{above}/data/{base}"]
    places += [(store, candidate.lstrip("/")) for candidate in near]
    for place, candidate in places:
        data = get_if_there(place, candidate)
        if data is not None:
            return data
    raise ConfigError(f"{name}: the inventory's data file is not there: keep it in a folder data/ beside manifest.json")
