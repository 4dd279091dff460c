"""Laws of the split rule and of dataset.json."""

import json
from dataclasses import replace

import labset
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from raycolor.dataset.info import read_dataset, read_shard
from raycolor.dataset.shards import decode_shard, encode_shard
from raycolor.dataset.split import order_key, split_of
from raycolor.errors import DatasetError, StorageError
from raycolor.storage import LocalStore


@pytest.fixture
def rng():
    return np.random.default_rng(5)


@pytest.fixture
def made(tmp_path, rng):
    """A store with a dataset of one shard of four 8 x 8 photographs, and what was put into it."""
    store = LocalStore(tmp_path / "dataset")
    L = rng.integers(0, 256, (4, 8, 8), dtype=np.uint8)
    ab = rng.integers(-128, 128, (4, 2, 8, 8), dtype=np.int8)
    info = labset.put_dataset(store, {"train": ([f"{index}.jpg" for index in range(4)], L, ab)})
    return store, info, L, ab


def test_split_is_pinned():
    """The rule of format version 1 gives these splits for ever: changing it would move photographs to validation."""
    assert [index for index in range(12) if split_of(f"{index}.jpg", 0) == "val"] == [6, 10]
    assert [index for index in range(12) if split_of(f"{index}.jpg", 1) == "val"] == [0]


@given(st.text(min_size=1), st.integers(0, 2**31))
def test_split_depends_on_key_and_seed_alone(key, seed):
    """The same key and seed always give the same split and place."""
    assert split_of(key, seed) == split_of(key, seed)
    assert order_key(key, seed) == order_key(key, seed)


def test_one_in_six_validates():
    """About a sixth of many keys goes to val (500 of 3,000), and the order within a split is another draw."""
    keys = [f"Places365_val_{index:08}.jpg" for index in range(12_000)]
    share = np.mean([split_of(key, 3) == "val" for key in keys])
    assert abs(share - 1 / 6) < 4 * np.sqrt(1 / 6 * 5 / 6 / len(keys))
    low = sorted(keys, key=lambda key: order_key(key, 3))[:6000]
    assert abs(np.mean([split_of(key, 3) == "val" for key in low]) - 1 / 6) < 4 * np.sqrt(5 / 36 / len(low))


@pytest.mark.parametrize(
    ("key", "expected"), [("train/a.jpg", "train"), ("val/b/c.jpg", "val"), ("a/val/b.jpg", None), ("val", None)]
)
def test_kept_splits_come_from_the_first_folder(key, expected):
    """With keep_splits only keys below train/ and val/ count."""
    assert split_of(key, 0, keep_splits=True) == expected


def test_shard_round_trip_and_bytes(made):
    """A shard gives back exactly what was written, and the same rows give the same bytes."""
    store, info, L, ab = made
    data = store.get(info.shards[0].path)
    table = decode_shard(data, "shard")
    assert table.column("id").to_pylist() == [f"{index}.jpg" for index in range(4)]
    assert [np.frombuffer(value, np.uint8).reshape(8, 8).tolist() for value in table.column("L").to_pylist()] == (
        L.tolist()
    )
    assert np.frombuffer(b"".join(table.column("ab").to_pylist()), np.int8).tolist() == ab.ravel().tolist()
    assert table.column("height").to_pylist() == table.column("width").to_pylist() == [8] * 4
    assert encode_shard(table.column("id").to_pylist(), L, ab) == data


def test_info_round_trip(made):
    """dataset.json gives back what was written, and each shard has the stated bytes."""
    store, info, _, _ = made
    assert read_dataset(store) == info
    assert all(len(read_shard(store, shard)) == shard.bytes for shard in info.shards)


def test_fingerprint_follows_content_not_place(made):
    """Where the photographs came from changes no fingerprint; other bytes or another split do."""
    _, info, _, _ = made
    assert replace(info, source="elsewhere", bad=({"key": "x"},)).fingerprint == info.fingerprint
    other = replace(info.shards[0], sha256="0" * 64)
    assert replace(info, shards=(other,)).fingerprint != info.fingerprint
    assert replace(info, shards=(replace(info.shards[0], split="val"),)).fingerprint != info.fingerprint


def test_refusals_say_what_is_wrong(made, tmp_path):
    """Not a dataset, another version, damaged JSON, a missing and a damaged shard: one line each."""
    store, info, _, _ = made
    with pytest.raises(DatasetError, match="not a dataset"):
        read_dataset(LocalStore(tmp_path / "nothing"))
    with pytest.raises(DatasetError, match="no split 'val'"):
        info.shards_of("val")
    facts = json.loads(store.get("dataset.json"))
    for change, said in [
        ({"format_version": 99}, "format_version = 99"),
        ({"fingerprint": "0"}, "does not match its shards"),
        ({"shards": [{"path": "x"}]}, "damaged"),
        ({"surprise": 1}, "surprise"),
    ]:
        store.put("dataset.json", json.dumps({**facts, **change}).encode())
        with pytest.raises(DatasetError, match=said):
            read_dataset(store)
    store.put("dataset.json", b"{")
    with pytest.raises(DatasetError, match="damaged"):
        read_dataset(store)
    path = info.shards[0].path
    whole = store.get(path)
    store.put(path, whole[:-1])
    with pytest.raises(DatasetError, match="shard is damaged"):
        read_shard(store, info.shards[0])
    store.delete(path)
    with pytest.raises(DatasetError, match="shard is missing"):
        read_shard(store, info.shards[0])


def test_storage_trouble_is_not_called_a_bad_dataset(made, monkeypatch):
    """A store that refuses access is reported as that, not as a missing dataset."""
    store, _, _, _ = made

    def refuse(key):
        raise StorageError("access_denied", key)

    monkeypatch.setattr(store, "get", refuse)
    with pytest.raises(StorageError, match="access_denied"):
        read_dataset(store)
