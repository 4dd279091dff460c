"""Imported networks and those in Python in the shards of a job: bytes depend on the photograph alone."""

import onnx_made
import photographs
import pytest

from raycolor.colorizer.batches import Batcher
from raycolor.colorizer.config import ColorizerConfig
from raycolor.colorizer.predict import Predictor

FILES = {f"{i}.{kind}": photographs.encoded(photographs.gray_pixels(48 + 8 * (i % 2), 64, seed=i), kind)
         for i in range(4) for kind in ("jpeg", "png")}  # fmt: skip

PYTHON = """
import numpy as np
def network():
    return lambda planes: [(np.stack([L - 50, 20 - L / 4], -1), None) for L in planes]
"""


@pytest.fixture(params=["rgb of a batch", "python"])
def theirs(request, tmp_path, monkeypatch):
    """A network that takes batches and gives RGB of 64 px, as a checkpoint folder; and one written in Python."""
    if request.param == "python":
        monkeypatch.chdir(tmp_path)
        (tmp_path / "of_shards.py").write_text(PYTHON)
        return "of_shards:network"
    data = onnx_made.network(tmp_path / "net.onnx", channels=3, outputs=3, gain=0.4, bias=0.3, batch="n")
    onnx_made.write_checkpoint(
        tmp_path / "theirs", data.SerializeToString(), input="gray", channels=3, output="rgb", batch="dynamic",
        size={"multiple_of": 32, "default_px": 64},
    )  # fmt: skip
    return str(tmp_path / "theirs")


def made(worker, folder):
    """Run a job's shards; return its outputs."""
    for shard in range(worker.spec.totals.shards):
        worker.run(shard)
    return {key: data for key, data in photographs.tree(folder).items() if not key.startswith("_raycolor/")}


def test_where_the_network_runs_and_beside_whom_changes_nothing(job, theirs, tmp_path):
    """Fused, asked by many threads in batches, and each photograph in a job of its own: the same bytes."""
    fused = made(job(FILES, name="fused", checkpoint=theirs), tmp_path / "outfused")
    assert len(fused) == len(FILES)
    assert all(fused[key] != FILES[key] for key in FILES)
    batches = Batcher(Predictor(ColorizerConfig(checkpoint=theirs)).begin, 1)
    staged = made(job(FILES, name="staged", checkpoint=theirs, predict=batches), tmp_path / "outstaged")
    assert staged == fused
    for key in list(FILES)[:2]:
        assert made(job({key: FILES[key]}, name=key, checkpoint=theirs), tmp_path / f"out{key}")[key] == fused[key]


def test_places_of_a_batch_do_not_see_each_other(theirs):
    """As on a GPU, where batches always have the same places: other neighbors, or none, give the same bytes."""
    predictor = Predictor(ColorizerConfig(checkpoint=theirs), places=4)
    planes = [photographs.gray_pixels(64, 64, seed=i).astype("float32") / 2.55 for i in range(3)]
    together = predictor.predict(planes)
    for i in range(3):
        assert predictor.predict(planes[i : i + 1])[0].ab.tobytes() == together[i].ab.tobytes()
