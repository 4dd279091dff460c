"""Parquet shards of Lab planes, and a split of them mapped into memory."""

from __future__ import annotations

import contextlib
import fcntl
import os
import secrets
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from raycolor.dataset.info import DatasetInfo, ShardInfo, read_shard
from raycolor.errors import DatasetError, StorageError
from raycolor.storage import ObjectStore

_COLUMNS = ("id", "L", "ab", "height", "width")


def encode_shard(ids: Sequence[str], L: NDArray[np.uint8], ab: NDArray[np.int8]) -> bytes:
    """Write rows as Parquet; the same rows give the same bytes with the same pyarrow.

    Args:
        ids: n keys.
        L: (n, S, S) uint8.
        ab: (n, 2, S, S) int8.

    Returns:
        A Parquet file with columns id (string), L and ab (fixed-size binary, rows first), height, width (int32).
    """
    n, height, width = L.shape
    columns = {
        "id": pa.array(list(ids), pa.string()),
        "L": _binary(L, height * width),
        "ab": _binary(ab, 2 * height * width),
        "height": pa.array(np.full(n, height, np.int32)),
        "width": pa.array(np.full(n, width, np.int32)),
    }
    sink = pa.BufferOutputStream()
    # Every option that shapes bytes is fixed here, so that a new default of pyarrow does not change a dataset.
    pq.write_table(
        pa.table(columns),
        sink,
        row_group_size=max(n, 1),
        version="2.6",
        data_page_version="1.0",
        data_page_size=1 << 20,
        use_dictionary=False,
        compression="zstd",
        compression_level=1,
        write_statistics=False,
        store_schema=False,
    )
    return bytes(sink.getvalue())


def _binary(planes: NDArray[np.uint8] | NDArray[np.int8], width: int) -> pa.Array:
    buffer = pa.py_buffer(np.ascontiguousarray(planes))
    return pa.FixedSizeBinaryArray.from_buffers(pa.binary(width), len(planes), [None, buffer])


def decode_shard(data: bytes, name: str) -> pa.Table:
    """Read a Parquet shard.

    Raises:
        DatasetError: no Parquet, other columns, or missing values; `name` says which shard.
    """
    try:
        table = pq.read_table(pa.BufferReader(data), use_threads=False)
    except (pa.ArrowInvalid, OSError) as exc:
        raise DatasetError(f"{name}: not a Parquet shard ({exc}): prepare the dataset again") from exc
    if tuple(table.column_names) != _COLUMNS or any(column.null_count for column in table.columns):
        raise DatasetError(f"{name}: columns are {table.column_names}, not {list(_COLUMNS)}: prepare it again")
    return table.combine_chunks()


class LabSplit:
    """One split of a dataset, memory-mapped from a cache on this node.

    The first use on a node fetches each shard once, compares its SHA-256, and writes it decoded (uncompressed Arrow)
    into `cache_dir`, under its SHA-256; other processes wait for the one that fetches. The cache takes
    3 x image_size² bytes per photograph (192 KiB at 256) and is never cleaned: delete it whenever you like.

    Raises:
        DatasetError: no such split, or a shard that is missing, damaged, or of another size than stated.
        StorageError: the store or the cache cannot be read or written.
    """

    def __init__(self, info: DatasetInfo, store: ObjectStore, split: str, cache_dir: str | Path | None = None) -> None:
        self.info = info
        self.name = split
        self.size_px = info.image_size
        user = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
        self.cache_dir = Path(cache_dir or Path(user) / "raycolor" / "shards")
        shards = info.shards_of(split)
        # The mapped tables share one page cache between all processes of a node.
        with ThreadPoolExecutor(4) as pool:
            tables = list(pool.map(lambda shard: self._open(store, shard), shards))
        S = self.size_px
        self._ids = [table.column("id") for table in tables]
        self._L = [_plane_view(table, "L", np.dtype(np.uint8)).reshape(-1, S, S) for table in tables]
        self._ab = [_plane_view(table, "ab", np.dtype(np.int8)).reshape(-1, 2, S, S) for table in tables]
        self._starts = np.cumsum([0] + [shard.rows for shard in shards])

    def __len__(self) -> int:
        return int(self._starts[-1])

    @property
    def ids(self) -> list[str]:
        """All keys, in the order of `planes`."""
        return [key for column in self._ids for key in column.to_pylist()]

    def id(self, index: int) -> str:
        """Return the key of one photograph."""
        shard, row = self._locate(index)
        return str(self._ids[shard][row].as_py())

    def planes(self, index: int) -> tuple[NDArray[np.uint8], NDArray[np.int8]]:
        """Return L (S, S) uint8 and ab (2, S, S) int8 of one photograph, as read-only views of the mapped file."""
        shard, row = self._locate(index)
        return self._L[shard][row], self._ab[shard][row]

    def _locate(self, index: int) -> tuple[int, int]:
        if not 0 <= index < len(self):
            raise IndexError(f"photograph {index} of {len(self)} in {self.name}")
        shard = int(np.searchsorted(self._starts, index, side="right")) - 1
        return shard, index - int(self._starts[shard])

    def _open(self, store: ObjectStore, shard: ShardInfo) -> pa.Table:
        path = self.cache_dir / f"{shard.sha256}.arrow"
        try:
            if not path.exists():
                self.cache_dir.mkdir(parents=True, exist_ok=True)
                with (self.cache_dir / f"{shard.sha256}.lock").open("w") as lock:
                    # Between processes; the kernel drops it with the file, also when a holder dies.
                    fcntl.flock(lock, fcntl.LOCK_EX)
                    if not path.exists():
                        self._fetch(store, shard, path)
            table = pa.ipc.open_file(pa.memory_map(str(path))).read_all()
        except pa.ArrowInvalid as exc:
            raise DatasetError(f"{path}: cached shard is damaged ({exc}): delete it and try again") from exc
        except OSError as exc:
            raise StorageError(
                "storage_error", f"cache {path}: {exc.strerror or exc}: free space or choose another cache folder"
            ) from exc
        if table.num_rows != shard.rows:
            raise DatasetError(
                f"{store.uri}/{shard.path}: {table.num_rows} rows, dataset.json says {shard.rows}: prepare it again"
            )
        return table

    def _fetch(self, store: ObjectStore, shard: ShardInfo, path: Path) -> None:
        table = decode_shard(read_shard(store, shard), f"{store.uri}/{shard.path}")
        size = self.size_px
        if table.schema.field("L").type != pa.binary(size * size):
            raise DatasetError(f"{store.uri}/{shard.path}: planes are not {size} x {size}: prepare it again")
        temp = path.with_name(f".raycolor-{secrets.token_hex(8)}")
        try:
            with pa.OSFile(str(temp), "wb") as sink, pa.ipc.new_file(sink, table.schema) as writer:
                writer.write_table(table, max_chunksize=max(table.num_rows, 1))
            temp.replace(path)
        finally:
            with contextlib.suppress(FileNotFoundError):
                temp.unlink()


def _plane_view(table: pa.Table, name: str, dtype: np.dtype[np.generic]) -> NDArray[np.generic]:
    """Return a column of fixed-size binary as one flat array without copying."""
    column = table.column(name)
    if column.num_chunks == 0:
        return np.empty(0, dtype)
    chunk = column.chunk(0)
    width = chunk.type.byte_width
    return np.frombuffer(chunk.buffers()[1], dtype, len(chunk) * width, chunk.offset * width)
