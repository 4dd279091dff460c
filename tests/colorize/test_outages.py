"""Laws of a place that is out: it is waited for, and never becomes the outcome of photographs."""

import logging
import re
import shutil
import threading
import time
import zipfile

import photographs
import pytest
from faultproxy import FaultProxy

from raycolor.colorize.job_folder import ATTEMPTS
from raycolor.colorize.manifest import write_manifest
from raycolor.colorize.outcomes import read_outcomes
from raycolor.colorize.shard import ShardSpec, ShardWorker
from raycolor.colorizer.config import ColorizerConfig
from raycolor.errors import OutageError
from raycolor.sources import open_source
from raycolor.storage import open_store

FILES = {f"{i}.jpg": photographs.encoded(photographs.gray_pixels(seed=i)) for i in range(3)}


@pytest.fixture
def remote(s3, untrained, request):
    """A function that uploads files and returns a worker that reads and writes through a proxy, and the proxy."""

    def make(files, patience_s):
        proxy = FaultProxy(s3.endpoint)
        proxy.__enter__()
        request.addfinalizer(proxy.down)
        source, dest = s3.uri(), s3.uri()
        for key, data in files.items():
            open_store(source).put(key, data)
        options = {"endpoint_url": proxy.endpoint, "patience_s": patience_s, "tries": 2}
        inputs = open_source(source).inputs(dest)
        totals = write_manifest(open_store(dest), inputs, images_per_shard=1000)
        dest_options = {**options, "probe_under": ATTEMPTS}
        colorizer = ColorizerConfig(checkpoint=untrained)
        spec = ShardSpec(source, dest, totals, colorizer, source_options=options, dest_options=dest_options)
        return ShardWorker(spec), proxy

    return make


def outcomes(worker):
    return {outcome.key: (outcome.status, outcome.reason) for outcome in read_outcomes(open_store(worker.spec.dest))}


def marks(worker):
    return list(open_store(worker.spec.dest).list(ATTEMPTS))


@pytest.mark.parametrize(
    ("where", "fault"),
    [
        ("in", "expired"),
        ("in", "skewed"),
        ("in", "403"),
        ("in", "500"),
        ("in", "down"),
        ("out", "403"),
        ("out", "down"),
    ],
)
def test_an_outage_that_ends_costs_nothing(remote, where, fault, caplog):
    """Old credentials, a wrong clock, a refused key, a broken or absent server: waited for, told, then all is done."""
    worker, proxy = remote(FILES, 60.0)
    place = worker.spec.source if where == "in" else worker.spec.dest
    over = threading.Timer(1.5, lambda: (setattr(proxy, "rule", None), proxy.up() if fault == "down" else None))
    if fault == "down":
        proxy.down()
    else:
        proxy.rule = lambda method, path: fault if place.rpartition("/")[2] in path else None
    over.start()
    worker.run(0)
    over.join()
    assert outcomes(worker) == dict.fromkeys(FILES, ("colorized", None))
    told = [record.getMessage() for record in caplog.records if getattr(record, "event", "") == "waiting"]
    assert any(re.search(r": waiting, \d+ s of 60 s", line) for line in told), told


@pytest.mark.parametrize("fault", ["expired", "403"])
@pytest.mark.parametrize("method", ["GET", "PUT"])
def test_an_outage_that_lasts_stops_the_job_with_nothing_recorded(remote, fault, method):
    """After the patience one error says why; no photograph has an outcome, and the next worker does them all."""
    worker, proxy = remote(FILES, 1.0)
    place = worker.spec.source if method == "GET" else worker.spec.dest
    # The shard's own mark is let through, so that it has begun.
    proxy.rule = lambda asked, path: (
        fault if asked == method and place.rpartition("/")[2] in path and "shard-" not in path else None
    )
    with pytest.raises(OutageError, match=r"\(--patience\)"):
        worker.run(0)
    assert outcomes(worker) == {}
    proxy.rule = None
    assert marks(worker) == []
    worker.run(0)
    assert outcomes(worker) == dict.fromkeys(FILES, ("colorized", None))


@pytest.mark.parametrize(
    ("fault", "reason"), [("403", "access_denied"), ("404", "not_found"), ("500", "storage_error")]
)
def test_what_is_wrong_with_one_object_is_its_outcome(remote, fault, reason):
    """While others can be read, an object that is refused, missing or broken fails alone, and at once."""
    worker, proxy = remote(FILES, 600.0)
    proxy.rule = lambda method, path: fault if path.endswith("/1.jpg") and method == "GET" else None
    worker.run(0)
    assert outcomes(worker) == dict.fromkeys(FILES, ("colorized", None)) | {"1.jpg": ("failed", reason)}


def test_the_only_object_that_is_refused_fails(remote):
    """Where the listing answers and nothing else is there to be read, a refusal is the object's."""
    worker, proxy = remote({"1.jpg": FILES["1.jpg"]}, 600.0)
    proxy.rule = lambda method, path: "403" if path.endswith("/1.jpg") and method == "GET" else None
    worker.run(0)
    assert outcomes(worker) == {"1.jpg": ("failed", "access_denied")}


def test_a_key_that_may_not_be_written_fails_alone(remote):
    """While others can be written, a refused output is that photograph's failure."""
    worker, proxy = remote(FILES, 600.0)
    proxy.rule = lambda method, path: "403" if path.endswith("/1.jpg") and method == "PUT" else None
    worker.run(0)
    assert outcomes(worker) == dict.fromkeys(FILES, ("colorized", None)) | {"1.jpg": ("failed", "access_denied")}


def test_a_share_that_is_not_mounted_is_waited_for(tmp_path, untrained, caplog):
    """An empty folder where photographs were listed is a mount that is gone; when it is back all are colorized."""
    photographs.write_all(tmp_path / "in", FILES)
    dest = open_store(tmp_path / "out")
    totals = write_manifest(dest, open_source(str(tmp_path / "in")).inputs(dest.uri), images_per_shard=1000)
    patient = {"patience_s": 60.0}
    spec = ShardSpec(
        str(tmp_path / "in"),
        dest.uri,
        totals,
        ColorizerConfig(checkpoint=untrained),
        source_options=patient,
        dest_options={**patient, "probe_under": ATTEMPTS},
    )
    worker = ShardWorker(spec)
    (tmp_path / "in").rename(tmp_path / "share")
    (tmp_path / "in").mkdir()

    def mount():
        time.sleep(1.2)
        shutil.copytree(tmp_path / "share", tmp_path / "in", dirs_exist_ok=True)

    thread = threading.Thread(target=mount)
    thread.start()
    with caplog.at_level(logging.WARNING):
        worker.run(0)
    thread.join()
    assert outcomes(worker) == dict.fromkeys(FILES, ("colorized", None))
    assert "is it mounted?: waiting" in caplog.text
    (tmp_path / "in" / "1.jpg").unlink()
    worker.run(0)
    assert outcomes(worker)["1.jpg"] == ("failed", "not_found")


def test_members_of_an_archive_are_waited_for(remote, tmp_path):
    """An archive read in pieces: what breaks off in the middle is taken up again when the place answers."""
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        for key, data in FILES.items():
            archive.writestr(key, data)
    worker, proxy = remote({"a.zip": (tmp_path / "a.zip").read_bytes()}, 60.0)
    reads = []

    def rule(method, path):
        if method == "GET" and "a.zip" in path:
            reads.append(time.monotonic())
        # Two pieces are read, then the place is out for a second.
        return "expired" if len(reads) > 2 and time.monotonic() < reads[2] + 1.0 else None

    proxy.rule = rule
    worker.run(0)
    assert outcomes(worker) == {f"a.zip/{key}": ("colorized", None) for key in FILES}
