"""Laws 1 and 3 of the bulk job on a folder of any files: `pytest tests/bulk/test_corpus.py --corpus DIR`.

Without --corpus, on the hostile files of tests/hostile.py.
"""

import contextlib
import hashlib
import io
import os
import warnings
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import hostile
import photographs
import pytest
import tifffile
from PIL import Image

from raycolor.colorize.isolation import IsolatedColorizer
from raycolor.colorize.job_folder import FOLDER
from raycolor.colorize.manifest import write_manifest
from raycolor.colorize.messages import ShardSpec
from raycolor.colorize.outcomes import Outcome, read_outcomes
from raycolor.colorize.shard import ShardWorker
from raycolor.colorizer.config import ColorizerConfig
from raycolor.errors import REASONS, ImageError
from raycolor.sources import open_source
from raycolor.storage import LocalStore, open_store

# Of these, not even a hostile file may be the cause.
NEVER = {"internal_error", "not_found"}
SKIPS = {"already_color", "not_a_photograph"}


@dataclass
class Run:
    """A finished job on one folder."""

    source: Path
    dest: Path
    before: dict[Path, str]
    outcomes: list[Outcome]
    expected: dict[str, hostile.Hostile] | None


@pytest.fixture(scope="module")
def options(untrained):
    """Options with a small untrained network: what a picture is colored with is of no interest here."""
    return ColorizerConfig(checkpoint=untrained)


@pytest.fixture(scope="module")
def child(options):
    """A colorizer in a child process: a decoder that dies costs a row of the table, and not pytest."""
    with IsolatedColorizer(options, timeout_s=120.0) as colorizer:
        yield colorizer


def colorize(source, dest, options, child):
    """Do every shard as a worker does in its second attempt, and return the outcomes."""
    store = open_store(dest)
    found = open_source(source, archives=False)
    totals = write_manifest(store, found.inputs(str(dest)), images_per_shard=1000)
    worker = ShardWorker(ShardSpec(found.root, str(dest), totals, options))
    worker.colorizer = child
    for shard in range(totals.shards):
        worker.run(shard)
    return list(read_outcomes(store))


@pytest.fixture(scope="module")
def run(request, tmp_path_factory, options, child):
    """The job on --corpus DIR, or on the hostile files."""
    given = request.config.getoption("--corpus")
    expected = None if given else hostile.corpus()
    source = Path(given).resolve() if given else tmp_path_factory.mktemp("hostile")
    if expected is not None:
        photographs.write_all(source, {key: made.data for key, made in expected.items()})
    before = sums(source)
    assert before, f"{source} holds no file"
    dest = tmp_path_factory.mktemp("colorized")
    return Run(source, dest, before, colorize(str(source), dest, options, child), expected)


def sums(folder):
    """Return path -> SHA-256 of every file that a job reads; links are followed."""
    found = {}
    for place, folders, files in os.walk(folder, followlinks=True):
        folders[:] = [name for name in folders if name + "/" != FOLDER or Path(place) != folder]
        for path in (Path(place) / name for name in files if not name.startswith(".raycolor-")):
            if path.is_file():
                with path.open("rb") as file:
                    found[path] = hashlib.file_digest(file, "sha256").hexdigest()
    return found


def size_of(data):
    """Decode with a library of its own, whole, and return (width, height)."""
    if data[:2] in (b"II", b"MM"):
        page = tifffile.imread(io.BytesIO(data), key=0)
        return page.shape[1], page.shape[0]
    # Large pictures and odd metadata make Pillow warn; what counts is that it reads them.
    with warnings.catch_warnings(action="ignore"), Image.open(io.BytesIO(data)) as picture:
        picture.load()
        return picture.size


def test_every_file_ends_in_one_outcome_with_a_named_reason(run):
    """Law 1: one row per file, `colorized` or with a reason of DESIGN.md 2 and a line of detail."""
    store = LocalStore(run.source)
    assert Counter(store.path(outcome.key) for outcome in run.outcomes) == Counter(list(run.before))
    for outcome in run.outcomes:
        if outcome.status == "colorized":
            assert outcome.reason is None, outcome
        else:
            assert outcome.reason in set(REASONS) - NEVER, outcome
            assert (outcome.status == "skipped") == (outcome.reason in SKIPS), outcome
            assert outcome.detail, outcome
            assert outcome.output_key is None, outcome
            assert len(outcome.detail.splitlines()) == 1, outcome


def test_a_colorized_file_is_whole_and_readable(run, monkeypatch):
    """Law 1: at output_key lies what was recorded, another library reads it, and it has the input's size."""
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", None)
    colorized = [outcome for outcome in run.outcomes if outcome.status == "colorized"]
    keys = [outcome.output_key for outcome in colorized]
    assert len(set(keys)) == len(keys)
    store = LocalStore(run.dest)
    for outcome in colorized:
        data = store.get(outcome.output_key)
        assert len(data) == outcome.output_bytes, outcome
        assert hashlib.sha256(data).hexdigest() == outcome.output_sha256, outcome
        assert size_of(data) == (outcome.width, outcome.height), outcome
    there = {info.key for info in store.list() if not info.key.startswith(FOLDER)}
    assert there == set(keys), "an output without an outcome"


def test_inputs_stay_byte_for_byte(run):
    """Law 3: after the job every input is what it was, and nothing was added beside them."""
    assert sums(run.source) == run.before


def test_no_attempt_is_left_behind(run):
    """A finished job leaves no marker and no temporary file."""
    names = [path.name for path in run.dest.rglob("*")]
    assert not [name for name in names if name.startswith((".raycolor-", "shard-", "probe-"))]


def test_hostile_files_end_as_they_should(run):
    """Each generated file ends as its kind demands: colorized with its note, or with one of the reasons that fit."""
    if run.expected is None:
        pytest.skip("--corpus: what the files are is not known")
    wrong, store = {}, LocalStore(run.source)
    for outcome in run.outcomes:
        expected = run.expected[str(store.path(outcome.key).relative_to(run.source))]
        end = outcome.reason or outcome.status
        if end not in expected.ends or (end == hostile.COLORIZED and outcome.detail != expected.detail):
            wrong[outcome.key] = (end, outcome.detail, sorted(expected.ends), expected.detail)
    assert wrong == {}


def test_keys_of_any_kind_in_s3(s3, options, child):
    """Keys with spaces, newlines, %2F, Unicode and of 1,024 bytes go from bucket to bucket unchanged."""
    uri, out = s3.uri(), s3.uri()
    prefix = uri.removeprefix(f"s3://{s3.bucket}/") + "/"
    # SeaweedFS takes 255 bytes between slashes, as folders do; 1,024 with the prefix is the most that S3 allows.
    parts, left = "/".join(["d" * 200] * 4), 1024 - len(prefix) - 804
    # It also takes a backslash for a slash.
    plain = [name for name in hostile.names() if "\\" not in name]
    keys = sorted([*plain, f"{parts}/{'e' * (left - 4)}.jpg"])
    client = s3.client()
    for i, key in enumerate(keys):
        client.put_object(Bucket=s3.bucket, Key=prefix + key, Body=hostile.good(seed=i))
    outcomes = {outcome.key: outcome for outcome in colorize(uri, out, options, child)}
    assert sorted(outcomes) == keys
    for key, outcome in outcomes.items():
        assert outcome.status == "colorized", outcome
        body = client.get_object(Bucket=s3.bucket, Key=out.removeprefix(f"s3://{s3.bucket}/") + "/" + key)[
            "Body"
        ].read()
        assert hashlib.sha256(body).hexdigest() == outcome.output_sha256


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="memory is read from Linux's /proc")
def test_bombs_take_no_memory(child):
    """A file that claims or unpacks to gigabytes costs little more than a photograph of its true size."""
    bombs = {key: made.data for key, made in hostile.corpus().items() if key.startswith("bombs/")}
    for kind in ("jpeg", "png", "tiff", "webp"):
        child.colorize(hostile.good(kind))
    process = Path(f"/proc/{child.child._process.pid}")
    heavy = {}
    for key, data in bombs.items():
        (process / "clear_refs").write_text("5")
        before = memory(process, "VmRSS")
        with contextlib.suppress(ImageError):
            child.colorize(data)
        # The pipe holds the file twice.
        heavy[key] = (memory(process, "VmHWM") - before - 2 * len(data)) / 1e6
    assert {key: round(used) for key, used in heavy.items() if used > 48} == {}


def memory(process, field):
    """Return a field of /proc/PID/status in bytes."""
    line = next(line for line in (process / "status").read_text().splitlines() if line.startswith(f"{field}:"))
    return int(line.split()[1]) * 1024
