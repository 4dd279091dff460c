"""Laws of one shard of a dataset: what a bad picture costs."""

import sys

import photographs
import pytest

from raycolor.child_process import ChildStartError
from raycolor.prepare.config import PrepareConfig
from raycolor.prepare.convert import IsolatedSquares, convert_shard
from raycolor.sources.open import open_source
from raycolor.sources.reader import Reader
from raycolor.storage import open_store

CHILD = """
import os, time
from raycolor import child_process
from raycolor.prepare import convert
decode = convert.square_rgb
def square_rgb(data, size_px):
    if data == b"abort": os.abort()
    if data == b"hang": time.sleep(600)
    return decode(data, size_px)
convert.square_rgb = square_rgb
child_process.serve()
"""


@pytest.fixture
def pictures(tmp_path):
    """A folder of good pictures, three that end or hang their decoder, one that is none, and a large one."""
    good = {f"good{i}.png": photographs.encoded(photographs.color_pixels()) for i in range(2)}
    bad = {f"abort{i}.png": b"abort" for i in range(2)} | {"hang.png": b"hang", "text.png": b"no picture"}
    photographs.write_all(tmp_path / "in", {**good, **bad, "large.png": bytes(10_000_000)})
    return tmp_path / "in"


def convert(pictures, dest, square, read=None):
    reader = Reader(str(pictures), None, 9_000_000)
    if read is not None:
        get = reader.store().get
        reader.store().get = lambda key, **of: read.append(key) or get(key, **of)
    inputs = list(open_source(str(pictures)).inputs())
    config = PrepareConfig(source=str(pictures), dataset=dest.uri, size_px=32)
    return convert_shard(reader, inputs, dest, "train/part-00000.parquet", config, square=square)


def test_pictures_that_end_their_decoder_are_bad_ones(pictures, tmp_path):
    """Each stands there with a reason, the others are used, and it ends; what is too large is not read."""
    square = IsolatedSquares(20.0, command=[sys.executable, "-c", CHILD])
    read = []
    try:
        result = convert(pictures, open_store(tmp_path / "out"), square, read)
    finally:
        square.child.close()
    assert (result.seen, result.rows) == (7, 2)
    reasons = {row["key"]: row["reason"] for row in result.bad}
    assert [reasons[f"abort{i}.png"] for i in range(2)] + [reasons["hang.png"]] == ["internal_error"] * 3
    assert (reasons["text.png"], reasons["large.png"]) == ("not_an_image", "too_large")
    assert {row["detail"] for row in result.bad if row["key"].startswith("abort")} == {"its process died: SIGABRT"}
    assert "large.png" not in read


def test_a_child_that_does_not_start_ends_it(pictures, tmp_path):
    """It is no picture's fault, and none is called bad."""
    square = IsolatedSquares(20.0, command=[sys.executable, "-c", "raise SystemExit(4)"])
    with pytest.raises(ChildStartError, match="exit code 4"):
        convert(pictures, open_store(tmp_path / "out"), square)
