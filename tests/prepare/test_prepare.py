"""Laws of prepare, on a real Ray."""

import io
import json
import os
import subprocess
import sys
import tarfile

import numpy as np
import pytest
from PIL import Image

from raycolor.dataset.info import read_dataset, read_shard
from raycolor.dataset.planes import planes_of, square_rgb
from raycolor.dataset.shards import LabSplit
from raycolor.dataset.split import order_key, split_of
from raycolor.errors import ConfigError, DatasetError, StorageError
from raycolor.prepare.candidates import choose
from raycolor.prepare.config import PrepareConfig
from raycolor.prepare.driver import prepare
from raycolor.storage import open_store

pytestmark = pytest.mark.ray

SIZE = 32
BAD = {"bad/empty.jpg": b"", "bad/text.jpg": b"no picture at all", "bad/half.jpg": None}


def photo(seed, gray=False):
    """A small JPEG of random blocks."""
    rng = np.random.default_rng(seed)
    blocks = rng.integers(0, 256, (5, 6, 3), dtype=np.uint8)
    if gray:
        blocks[:] = blocks[..., :1]
    sink = io.BytesIO()
    Image.fromarray(blocks).resize((48, 40), Image.Resampling.NEAREST).save(sink, "JPEG", quality=90)
    return sink.getvalue()


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """A folder of 40 photographs in color, 6 gray ones, 3 broken ones and a text file."""
    root = tmp_path_factory.mktemp("photos")
    (root / "bad").mkdir()
    (root / "gray").mkdir()
    for index in range(40):
        (root / f"{index:03}.jpg").write_bytes(photo(index))
    for index in range(6):
        (root / "gray" / f"{index}.jpg").write_bytes(photo(index, gray=True))
    for key, data in BAD.items():
        (root / key).write_bytes(photo(0)[:300] if data is None else data)
    (root / "readme.txt").write_text("not a picture")
    return root


def run(source, dataset, **options):
    given = {"train": None, "val": None, "size_px": SIZE} | options
    on_progress = given.pop("on_progress", None)
    config = PrepareConfig(source=str(source), dataset=str(dataset), **given)
    return prepare(choose(config, rows_per_shard=7), on_progress)


def contents(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def everything(ray_local, photos, tmp_path_factory):
    """A dataset of all photographs, and its summary."""
    folder = tmp_path_factory.mktemp("everything")
    return folder, run(photos, folder)


@pytest.fixture(scope="module")
def chosen(ray_local, photos, tmp_path_factory):
    """A dataset of 24 and 3 photographs over what a killed run left, its summary, and the calls of its progress."""
    folder, calls = tmp_path_factory.mktemp("chosen"), []
    store = open_store(folder)
    store.put("train/part-00099.parquet", b"left over")
    store.put("train/notes.txt", b"mine")
    return folder, run(photos, folder, train=24, val=3, on_progress=lambda *call: calls.append(call)), calls


def test_workers_change_no_byte(ray_local, photos, tmp_path):
    """The same source and seed give byte-identical files with one worker and with three; another seed does not."""
    options = {"train": 20, "val": 4}
    run(photos, tmp_path / "one", workers=1, **options)
    run(photos, tmp_path / "three", workers=3, **options)
    run(photos, tmp_path / "other", seed=1, **options)
    one = contents(tmp_path / "one")
    assert len(one) >= 5
    assert one == contents(tmp_path / "three")
    assert one != contents(tmp_path / "other")


def test_rows_are_the_first_good_ones_in_hash_order(chosen, photos, tmp_path):
    """Each split holds exactly the wanted number of its first good photographs, with the planes each has by itself."""
    folder, summary, _ = chosen
    store = open_store(folder)
    info = read_dataset(store)
    assert all(read_shard(store, shard) for shard in info.shards)
    assert info.counts == summary["counts"] == {"train": 24, "val": 3}
    good = [path.relative_to(photos).as_posix() for path in photos.rglob("*.jpg") if path.parent.name != "bad"]
    for name, count in info.counts.items():
        split = LabSplit(info, store, name, tmp_path / "cache")
        mine = sorted((key for key in good if split_of(key, 0) == name), key=lambda key: order_key(key, 0))
        assert split.ids == mine[:count]
        L, ab = planes_of(square_rgb((photos / split.ids[0]).read_bytes(), SIZE))
        np.testing.assert_array_equal(split.planes(0)[0], L)
        np.testing.assert_array_equal(split.planes(0)[1], ab)


def test_bad_files_are_listed_and_end_nothing(everything):
    """Every broken file stands in dataset.json with its reason; every whole one is used; others are counted."""
    folder, summary = everything
    info = read_dataset(open_store(folder))
    assert sum(info.counts.values()) == 46
    assert {row["key"] for row in info.bad} == set(BAD)
    assert {row["reason"] for row in info.bad} <= {"empty", "not_an_image", "truncated", "decode_error"}
    assert all(row["split"] == split_of(row["key"], 0) for row in info.bad)
    assert sum(summary["bad"].values()) == 3
    assert summary["other_files"] == 1
    assert summary["kinds"]["gray"] == 6


def test_dull_photographs_are_dropped_and_counted(ray_local, photos, tmp_path):
    """With a least colorfulness the gray ones go, by name and reason, and others take their places."""
    summary = run(photos, tmp_path, train=20, min_colorfulness=5.0)
    info = read_dataset(open_store(tmp_path))
    assert info.counts["train"] == 20
    assert summary["dropped"]["gray"] == len([row for row in info.dropped if row["reason"] == "gray"]) > 0
    assert all(row["key"].startswith("gray/") for row in info.dropped)
    ids = LabSplit(info, open_store(tmp_path), "train", tmp_path / "cache").ids
    assert not [key for key in ids if key.startswith("gray/")]


def test_a_tar_gives_the_same_dataset_as_its_files(everything, photos, tmp_path):
    """A tar is read in place to byte-identical shards."""
    with tarfile.open(tmp_path / "photos.tar", "w") as tar:
        for path in sorted(photos.rglob("*"), reverse=True):
            if path.is_file():
                tar.add(path, path.relative_to(photos).as_posix())
    assert run(tmp_path / "photos.tar", tmp_path / "out")["fingerprint"] == everything[1]["fingerprint"]


def test_more_photographs_move_none(ray_local, photos, tmp_path):
    """A photograph that was in train is never in val after others were added."""
    (tmp_path / "more").mkdir()
    for path in photos.glob("*.jpg"):
        (tmp_path / "more" / path.name).write_bytes(path.read_bytes())
    before = _members(run, tmp_path / "more", tmp_path / "a")
    for index in range(100, 130):
        (tmp_path / "more" / f"{index}.jpg").write_bytes(photo(index))
    after = _members(run, tmp_path / "more", tmp_path / "b")
    assert before["train"] < after["train"]
    assert before["val"] < after["val"]


def _members(run, source, dataset):
    run(source, dataset)
    info = read_dataset(open_store(dataset))
    return {name: set(LabSplit(info, open_store(dataset), name, dataset / "cache").ids) for name in ("train", "val")}


def test_kept_splits_are_kept(ray_local, tmp_path):
    """With keep_splits the source's folders decide, and what stands outside them is counted, not used."""
    for split, count in (("train", 9), ("val", 3)):
        (tmp_path / "in" / split).mkdir(parents=True)
        for index in range(count):
            (tmp_path / "in" / split / f"{index}.jpg").write_bytes(photo(index))
    (tmp_path / "in" / "stray.jpg").write_bytes(photo(0))
    summary = run(tmp_path / "in", tmp_path / "out", keep_splits=True)
    assert summary["counts"] == {"train": 9, "val": 3}
    assert summary["other_files"] == 1


def test_progress_ends_at_the_total(chosen):
    """Progress starts at 0, never goes back, and ends at what was wanted."""
    _, _, calls = chosen
    done = [call[0] for call in calls]
    assert done == sorted(done)
    assert (done[0], done[-1]) == (0, 27)
    assert {call[1] for call in calls} == {27}


def test_leftovers_of_a_killed_run_go(chosen):
    """Shards of an unfinished run are removed; other files of the folder stay."""
    store = open_store(chosen[0])
    assert store.stat("train/part-00099.parquet") is None
    assert store.get("train/notes.txt") == b"mine"


def test_refusals(ray_local, photos, tmp_path):
    """A place that holds a dataset, a source without photographs and one that cannot be written to: one line each."""
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "a.jpg").write_bytes(b"no picture")
    with pytest.raises(DatasetError, match=r"no photograph could be used \(1 bad, the first: a\.jpg"):
        run(tmp_path / "bad", tmp_path / "out")
    assert not (tmp_path / "out" / "dataset.json").exists()
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="a file stands where a folder is needed"):
        run(photos, tmp_path / "file" / "below", train=4, val=1)
    (tmp_path / "there").mkdir()
    (tmp_path / "there" / "dataset.json").write_text(json.dumps({}))
    with pytest.raises(ConfigError, match="holds a dataset already"):
        run(photos, tmp_path / "there")


@pytest.mark.slow
def test_s3_gives_the_same_dataset(s3, everything, photos, tmp_path):
    """Photographs in S3 and a dataset in S3, folder or tar, are byte for byte those of local folders."""
    source, target = open_store(s3.uri()), open_store(s3.uri())
    for path in photos.rglob("*"):
        if path.is_file():
            source.put(path.relative_to(photos).as_posix(), path.read_bytes())
    local = everything[1]["fingerprint"]
    assert run(source.uri, target.uri)["fingerprint"] == local
    assert all(read_shard(target, shard) for shard in read_dataset(target).shards)
    with tarfile.open(tmp_path / "photos.tar", "w") as tar:
        tar.add(photos, ".")
    boxed = open_store(s3.uri())
    boxed.put("photos.tar", (tmp_path / "photos.tar").read_bytes())
    assert run(f"{boxed.uri}/photos.tar", tmp_path / "from-tar")["fingerprint"] == local


DECODER = """
import os, sys
if "raycolor.child_process" in sys.orig_argv or any("default_worker" in word for word in sys.orig_argv):
    from raycolor.dataset import planes
    decode = planes.square_rgb
    def square_rgb(data, size_px, **options):
        if data == b"abort":
            os.abort()
        return decode(data, size_px, **options)
    planes.square_rgb = square_rgb
"""


@pytest.mark.slow
def test_pictures_that_end_their_decoder_do_not_end_the_job(tmp_path):
    """Nine of them among good ones: the command ends, and lists them with a reason."""
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "sitecustomize.py").write_text(DECODER)
    (tmp_path / "in").mkdir()
    for index in range(12):
        (tmp_path / "in" / f"{index}.jpg").write_bytes(photo(index))
    for index in range(9):
        (tmp_path / "in" / f"bad{index}.jpg").write_bytes(b"abort")
    command = [sys.executable, "-m", "raycolor", "prepare", tmp_path / "in", tmp_path / "out", "--size-px", str(SIZE)]
    environment = {**os.environ, "PYTHONPATH": str(tmp_path / "site")}
    process = subprocess.run(command, capture_output=True, text=True, timeout=400, env=environment)
    assert process.returncode == 0, process.stderr
    info = read_dataset(open_store(tmp_path / "out"))
    assert sum(info.counts.values()) == 12
    assert {row["key"] for row in info.bad} == {f"bad{index}.jpg" for index in range(9)}
    assert {(row["reason"], row["detail"]) for row in info.bad} == {("internal_error", "its process died: SIGABRT")}
