"""Fixtures of the bulk job without Ray."""

import photographs
import pytest
import torch

from raycolor import checkpoints
from raycolor.bulk.shard import ShardSpec, ShardWorker
from raycolor.manifest import write_manifest
from raycolor.models import build_model
from raycolor.options import ColorizerOptions
from raycolor.storage import open_store


@pytest.fixture(scope="session")
def untrained(tmp_path_factory):
    """A checkpoint with seeded random weights: colors mean nothing, but are the same each time."""
    folder = tmp_path_factory.mktemp("untrained") / "untrained"
    torch.manual_seed(0)
    checkpoints.save(
        folder, build_model("regression"), method="regression", training={}, dataset={"image_size": 64}, metrics={}
    )
    return str(folder)


@pytest.fixture
def job(tmp_path, untrained):
    """A function that makes a source of files and returns the worker for it."""

    def make(files, **options):
        source, dest = tmp_path / "in", tmp_path / "out"
        source.mkdir()
        photographs.write_all(source, files)
        store = open_store(dest)
        totals = write_manifest(store, open_store(source).list(), images_per_shard=1000)
        spec = ShardSpec(str(source), str(dest), totals, ColorizerOptions(checkpoint=untrained, **options))
        return ShardWorker(spec)

    return make
