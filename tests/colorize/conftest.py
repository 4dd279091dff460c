"""Fixtures of the bulk job without Ray."""

import io
import tarfile

import photographs
import pytest

from raycolor.colorize import driver
from raycolor.colorize.config import ColorizeConfig
from raycolor.colorize.local_worker import OneProcess
from raycolor.colorize.manifest import write_manifest
from raycolor.colorize.shard import ShardSpec, ShardWorker
from raycolor.colorizer.config import ColorizerConfig
from raycolor.errors import RaycolorError
from raycolor.sources import open_source, reader
from raycolor.storage import open_store


@pytest.fixture
def job(tmp_path, untrained):
    """A function that makes a source of files and returns the worker for it; `name` tells several of a test apart."""

    def make(files, *, name="", predict=None, timeout_s=600.0, checkpoint=untrained, **options):
        source, dest = tmp_path / f"in{name}", tmp_path / f"out{name}"
        source.mkdir()
        photographs.write_all(source, files)
        store = open_store(dest)
        totals = write_manifest(store, open_source(str(source)).inputs(str(dest)), images_per_shard=1000)
        colorizer = ColorizerConfig(checkpoint=checkpoint, **options)
        return ShardWorker(ShardSpec(str(source), str(dest), totals, colorizer, timeout_s), predict)

    return make


@pytest.fixture
def packed_job(tmp_path, untrained, monkeypatch):
    """A function that packs files into a.tar.gz; returns the worker for it, and a list that grows with each front."""

    def make(files):
        (tmp_path / "in").mkdir()
        with tarfile.open(tmp_path / "in" / "a.tar.gz", "w:gz") as archive:
            for key, data in files.items():
                member = tarfile.TarInfo(key)
                member.size = len(data)
                archive.addfile(member, io.BytesIO(data))
        fronts = []
        unpacked = reader.UnpackedBytes
        monkeypatch.setattr(reader, "UnpackedBytes", lambda packed: fronts.append(1) or unpacked(packed))
        source, dest = open_source(str(tmp_path / "in")), open_store(tmp_path / "out")
        totals = write_manifest(dest, source.inputs(dest.uri), images_per_shard=1000)
        return ShardWorker(ShardSpec(source.root, dest.uri, totals, ColorizerConfig(checkpoint=untrained))), fronts

    return make


class StopError(RaycolorError):
    """Ends a run where a test wants it."""


@pytest.fixture
def run(tmp_path, monkeypatch):
    """A function that runs the command with some flags; with `stop_after`, until so many shards are done."""
    left, done = [], []

    class Here(OneProcess):
        def reports(self, spec, todo, timing):
            worker = ShardWorker(spec)
            for shard in todo.shards:
                if left and len(done) >= left[0]:
                    raise StopError("stopped")
                yield worker.run(shard)
                done.append(shard)

    monkeypatch.setattr(driver, "OneProcess", Here)
    photographs.archive(tmp_path / "in", count=9)

    def run(dest="out", *, stop_after=None, **flags):
        left[:] = [] if stop_after is None else [stop_after]
        done.clear()
        places = {"source": str(tmp_path / "in"), "dest": str(tmp_path / dest)}
        settings = {
            "checkpoint": "regression",
            "network_size": 64,
            "images_per_shard": 2,
            "max_failed": "100%",
            "ray": False,
        }
        config = ColorizeConfig(**(places | settings | flags))
        if stop_after is None:
            assert driver.run(config) == 0
        else:
            with pytest.raises(StopError):
                driver.run(config)
        return list(done)

    return run
