"""Laws of LabSplit and batches."""

import threading

import labset
import numpy as np
import pytest
import torch

from raycolor.color import scale
from raycolor.dataset.loading import batches, steps_per_epoch
from raycolor.dataset.shards import LabSplit
from raycolor.errors import DatasetError, ShapeError, StorageError
from raycolor.storage import LocalStore

SIZE, ROWS = 16, 21


def random_split(name, rows):
    """Return ids and random planes of one split."""
    rng = np.random.default_rng(7)
    L = rng.integers(0, 256, (rows, SIZE, SIZE), dtype=np.uint8)
    ab = rng.integers(-128, 128, (rows, 2, SIZE, SIZE), dtype=np.int8)
    return [f"{name}{index}" for index in range(rows)], L, ab


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    root = tmp_path_factory.mktemp("dataset")
    store = LocalStore(root / "dataset")
    splits = {"train": random_split("train", ROWS), "val": random_split("val", 5)}
    info = labset.put_dataset(store, splits, rows_per_shard=8)
    return store, info, *splits["train"][1:], root / "cache"


@pytest.fixture(scope="module")
def train(made):
    store, info, _, _, cache = made
    return LabSplit(info, store, "train", cache)


@pytest.fixture(scope="module")
def val(made):
    store, info, _, _, cache = made
    return LabSplit(info, store, "val", cache)


def run(split, **options):
    given = {"epoch": 0, "seed": 1, "batch_size": 2, "crop_px": 12} | options
    return list(batches(split, **given))


def by_id(made_batches):
    return {key: (batch.L_net[row], batch.ab_net[row]) for batch in made_batches for row, key in enumerate(batch.ids)}


def test_planes_are_what_was_written(made, train):
    """Over all shards, planes and ids are those of the rows written."""
    _, _, L, ab, _ = made
    assert len(train) == ROWS
    assert train.ids == [f"train{index}" for index in range(ROWS)]
    for index in range(ROWS):
        got_L, got_ab = train.planes(index)
        np.testing.assert_array_equal(got_L, L[index])
        np.testing.assert_array_equal(got_ab, ab[index])
        assert train.id(index) == f"train{index}"
    with pytest.raises(IndexError, match="of 21"):
        train.planes(ROWS)


def test_shards_are_fetched_once_by_many(made, tmp_path):
    """Workers that start together on a node read each shard once, and a later one reads none."""
    store, info, _, _, _ = made
    fetched = []

    class Counting(LocalStore):
        def get(self, key):
            fetched.append(key)
            return super().get(key)

    counting = Counting(store.root)
    threads = [threading.Thread(target=LabSplit, args=(info, counting, "train", tmp_path)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(fetched) == [shard.path for shard in info.shards_of("train")]
    assert not list(tmp_path.glob(".raycolor-*"))


def test_damaged_shards_and_unwritable_caches_are_named(made, tmp_path):
    """A shard of other bytes and a cache that cannot be written each give one clear line."""
    store, info, _, _, _ = made
    copy = LocalStore(tmp_path / "copy")
    for shard in info.shards:
        copy.put(shard.path, store.get(shard.path)[::-1])
    with pytest.raises(DatasetError, match=r"part-0000\d.parquet: shard is damaged"):
        LabSplit(info, copy, "train", tmp_path / "cache")
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(StorageError, match="choose another cache folder"):
        LabSplit(info, store, "train", tmp_path / "file" / "below")


def test_values_are_network_units_of_the_stored_planes(made, val, train):
    """A center crop in validation holds exactly L/50 - 1 and ab/110 of the stored bytes."""
    del made
    for batch in run(val, batch_size=3):
        for row, key in enumerate(batch.ids):
            L, ab = val.planes(val.ids.index(key))
            cut = slice(2, 14)
            expected_L = scale.L_to_net(scale.bytes_to_L(L[cut, cut]))
            expected_ab = scale.ab_to_net(ab[:, cut, cut].astype(np.float32))
            np.testing.assert_allclose(batch.L_net[row, 0], expected_L, atol=1e-6)
            np.testing.assert_allclose(batch.ab_net[row], expected_ab, atol=1e-6)
    assert run(train)[0].L_net.dtype == run(train)[0].ab_net.dtype == torch.float32
    assert run(train)[0].ab_net.shape == (2, 2, 12, 12)


def test_crops_are_windows_of_the_planes(train):
    """Each training crop is a window of its photograph, some mirrored and some not, L and ab alike."""
    seen = set()
    for epoch in range(4):
        for key, (L_net, ab_net) in by_id(run(train, epoch=epoch)).items():
            L, ab = train.planes(train.ids.index(key))
            full_L = scale.L_to_net(scale.bytes_to_L(L)).astype(np.float32)
            full_b = scale.ab_to_net(ab[1].astype(np.float32))
            places = [
                (top, left, flip)
                for top in range(5)
                for left in range(5)
                for flip in (False, True)
                if np.allclose(L_net[0].numpy(), _window(full_L, top, left, flip), atol=1e-6)
            ]
            assert len(places) == 1
            np.testing.assert_allclose(ab_net[1], _window(full_b, *places[0]), atol=1e-6)
            seen.add(places[0])
    assert {flip for _, _, flip in seen} == {False, True}
    assert {top for top, _, _ in seen} == {left for _, left, _ in seen} == set(range(5))


def _window(plane, top, left, flip):
    window = plane[top : top + 12, left : left + 12]
    return window[:, ::-1] if flip else window


def test_no_flip_means_none(train):
    """With flip=False no crop is mirrored, and the windows stay where they were."""
    plain, flipped = by_id(run(train, flip=False)), by_id(run(train, flip=True))
    assert set(plain) == set(flipped)
    mirrored = 0
    for key, (L_net, _) in plain.items():
        same = torch.equal(L_net, flipped[key][0])
        mirrored += not same
        assert same or torch.equal(L_net.flip(-1), flipped[key][0])
    assert 0 < mirrored < len(plain)


def test_epochs_differ_and_repeat(train):
    """Two epochs have other orders and crops; the same epoch again is the same to the last bit."""
    first, again, next_one = run(train), run(train), run(train, epoch=1)
    assert [batch.ids for batch in first] == [batch.ids for batch in again]
    assert all(torch.equal(a.ab_net, b.ab_net) for a, b in zip(first, again, strict=True))
    assert [batch.ids for batch in first] != [batch.ids for batch in next_one]
    assert run(train, seed=2)[0].ids != first[0].ids


@pytest.mark.parametrize(("prefetch", "threads"), [(0, 1), (1, 1), (8, 3)])
def test_timing_changes_nothing(train, prefetch, threads):
    """Neither prefetching nor threads change a batch."""
    for a, b in zip(run(train), run(train, prefetch=prefetch, threads=threads), strict=True):
        assert a.ids == b.ids
        assert torch.equal(a.L_net, b.L_net)
        assert torch.equal(a.ab_net, b.ab_net)


@pytest.mark.parametrize("world_size", [1, 2, 3])
def test_ranks_share_each_global_batch(train, world_size):
    """All ranks make as many steps; together they read what one worker with the global batch reads."""
    ranks = [run(train, rank=rank, world_size=world_size) for rank in range(world_size)]
    assert {len(one) for one in ranks} == {steps_per_epoch(train, world_size=world_size, batch_size=2)}
    alone = run(train, batch_size=2 * world_size)
    for step, whole in enumerate(alone):
        assert sum((one[step].ids for one in ranks), ()) == whole.ids
        assert torch.equal(torch.cat([one[step].ab_net for one in ranks]), whole.ab_net)


def test_start_step_skips_without_reading(train, monkeypatch):
    """Resuming at a step gives exactly the rest of the epoch and reads nothing of what is skipped."""
    whole = run(train)
    read = []
    planes = train.planes
    monkeypatch.setattr(train, "planes", lambda index: read.append(index) or planes(index))
    rest = run(train, start_step=7)
    assert [batch.ids for batch in rest] == [batch.ids for batch in whole[7:]]
    assert all(torch.equal(a.L_net, b.L_net) for a, b in zip(rest, whole[7:], strict=True))
    assert len(read) == 2 * len(rest)
    assert run(train, start_step=len(whole)) == []


@pytest.mark.parametrize("world_size", [1, 2, 3])
def test_validation_sees_each_photograph_once(val, world_size):
    """Over all ranks every validation photograph comes exactly once, the remainder included."""
    seen = [
        key for rank in range(world_size) for batch in run(val, rank=rank, world_size=world_size) for key in batch.ids
    ]
    assert sorted(seen) == sorted(val.ids)


def test_impossible_batches_are_refused(train):
    """A crop larger than the photographs and a batch larger than the split are refused before any reading."""
    with pytest.raises(ShapeError, match=r"take 1\.\.16"):
        batches(train, epoch=0, seed=0, batch_size=1, crop_px=17)
    with pytest.raises(DatasetError, match="take a smaller batch or fewer workers"):
        batches(train, epoch=0, seed=0, batch_size=11, world_size=2, crop_px=8)


def test_errors_in_the_background_reach_the_caller(train, monkeypatch):
    """What goes wrong while preparing a batch ahead is raised where batches are read; no thread stays."""

    def broken(index):
        raise StorageError("storage_error", "disk gone")

    monkeypatch.setattr(train, "planes", broken)
    with pytest.raises(StorageError, match="disk gone"):
        run(train)


def test_leaving_early_ends_the_thread(train):
    """A loop that breaks off leaves no thread behind."""
    iterator = batches(train, epoch=0, seed=0, batch_size=2, crop_px=8)
    next(iterator)
    iterator.close()
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("raycolor-batches")]
