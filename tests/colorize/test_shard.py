"""Laws of one shard of the bulk job."""

import io
import os
import pickle
import sys
import threading
from dataclasses import replace

import photographs
import pytest
from PIL import Image

from raycolor.child_process import ChildDiedError
from raycolor.colorize import in_process
from raycolor.colorize.attempts import Attempts
from raycolor.colorize.isolation import IsolatedColorizer
from raycolor.colorize.job_folder import FOLDER
from raycolor.colorize.messages import BrokenWorkerError
from raycolor.colorize.outcomes import read_outcomes
from raycolor.colorize.shard import ShardWorker
from raycolor.colorizer.config import ColorizerConfig
from raycolor.colorizer.photograph import Colorized, FileColorizer
from raycolor.errors import ImageError, StorageError
from raycolor.plan.probe import look
from raycolor.sources.never_list import NeverList


def run_all(worker):
    """Run every shard and return key -> outcome."""
    for shard in range(worker.spec.totals.shards):
        worker.run(shard)
    outcomes = list(read_outcomes(worker.dest))
    assert len({outcome.key for outcome in outcomes}) == len(outcomes)
    return {outcome.key: outcome for outcome in outcomes}


def test_every_page_counts_once_and_everywhere(job):
    """A file of two pages of two sizes: outcome, tally, header and the sample of a plan tell the same pixels."""
    pages = [photographs.gray_pixels(48, 64), photographs.gray_pixels(70, 30)]
    sink = io.BytesIO()
    first, second = map(Image.fromarray, pages)
    first.save(sink, "tiff", save_all=True, append_images=[second])
    pixels = sum(page.size for page in pages)
    worker = job({"two.tif": sink.getvalue(), "one.jpg": photographs.encoded(pages[0])})
    report = worker.run(0)
    outcomes = {outcome.key: outcome for outcome in read_outcomes(worker.dest)}
    assert (outcomes["two.tif"].pages, outcomes["two.tif"].pixels) == (2, pixels)
    assert (outcomes["one.jpg"].pages, outcomes["one.jpg"].pixels) == (1, pages[0].size)
    assert (report.tally.pages, report.tally.pixels) == (3, pixels + pages[0].size)
    assert look(worker.colorizer, sink.getvalue(), {("tiff", False, 8, False)}).pixels == pixels


def test_clutter_is_skipped_and_a_false_picture_fails(job):
    """What systems leave between photographs fails nothing; what claims to be a picture and is none does."""
    clutter = {".DS_Store": b"x", "a/Thumbs.db": b"x", "a/._b.jpg": b"x", "@eaDir/b.jpg/t.jpg": b"x", "b.xmp": b"<x/>"}
    outcomes = run_all(job({**clutter, "read me.txt": b"Dear archive", "letter.jpg": b"Dear archive"}))
    false = outcomes.pop("letter.jpg")
    assert (false.status, false.reason) == ("failed", "not_an_image")
    assert {(outcome.status, outcome.reason) for outcome in outcomes.values()} == {("skipped", "not_a_photograph")}
    assert len(outcomes) == len(clutter) + 1


def test_what_must_not_be_colorized_is_skipped_with_its_reason(job, tmp_path):
    """Also where it is no photograph; in the child process of a second attempt, too; no output is written of it."""
    photograph = photographs.encoded(photographs.gray_pixels())
    worker = job({"camp/a.jpg": photograph, "camp/bad.jpg": b"", "b.jpg": photograph})
    spec = replace(worker.spec, never=NeverList({"camp": "asked by the family"}))
    for attempt in range(2):
        if attempt:
            Attempts(worker.dest, 0, "").begin()  # one that was killed
        outcomes = run_all(ShardWorker(spec))
        assert outcomes.pop("b.jpg").status == "colorized"
        found = {(one.key, one.status, one.reason, one.detail, one.output_key) for one in outcomes.values()}
        expected = ("skipped", "excluded", "asked by the family", None)
        assert found == {("camp/a.jpg", *expected), ("camp/bad.jpg", *expected)}
    assert not (tmp_path / "out" / "camp").exists()


def test_every_input_ends_in_one_outcome_with_its_reason(job, tmp_path):
    """Good, bad and colored files each end in their own outcome, and the inputs stay as they were."""
    bad = photographs.bad_files()
    good = {"a/b c.jpg": photographs.encoded(photographs.gray_pixels())}
    colored = {"blue.jpg": photographs.encoded(photographs.color_pixels())}
    worker = job({**{key: data for key, (data, _) in bad.items()}, **good, **colored})
    before = photographs.tree(tmp_path / "in")
    outcomes = run_all(worker)
    assert {key: outcomes[key].reason for key in bad} == {key: reason for key, (_, reason) in bad.items()}
    assert {outcomes[key].status for key in bad} == {"failed"}
    assert all(outcomes[key].detail for key in bad)
    assert (outcomes["blue.jpg"].status, outcomes["blue.jpg"].reason) == ("skipped", "already_color")
    assert (outcomes["a/b c.jpg"].status, outcomes["a/b c.jpg"].source_kind) == ("colorized", "gray")
    assert len(outcomes) == len(bad) + 2
    assert photographs.tree(tmp_path / "in") == before


@pytest.mark.parametrize(("kind", "extension"), [("jpeg", "jpg"), ("png", "png"), ("tiff", "tif"), ("webp", "webp")])
def test_an_output_is_whole_of_the_same_size_and_colored(job, tmp_path, kind, extension):
    """`colorized` means: at output_key lies a readable picture of the input's size and format, with color in it."""
    key = f"photo.{extension}"
    outcome = run_all(job({key: photographs.encoded(photographs.gray_pixels(70, 123), kind)}))[key]
    path = tmp_path / "out" / outcome.output_key
    assert (outcome.width, outcome.height) == (123, 70)
    assert path.stat().st_size == outcome.output_bytes
    with Image.open(path) as picture:
        assert (picture.size, picture.format) == ((123, 70), kind.upper())
        red, green, blue = picture.convert("RGB").split()
    assert red.tobytes() != green.tobytes() or green.tobytes() != blue.tobytes()


def test_a_second_attempt_makes_the_same_bytes_and_leaves_nothing(job, tmp_path):
    """A shard that finds the marker of a dead attempt works in a child process, with the same result."""
    files = {f"{i}.jpg": photographs.encoded(photographs.gray_pixels(seed=i)) for i in range(3)}
    worker = job({**files, "empty.png": b""})
    first = run_all(worker)
    outputs = photographs.tree(tmp_path / "out")
    worker.dest.put(f"{FOLDER}attempts/shard-000000", b"")
    second = run_all(worker)
    again = photographs.tree(tmp_path / "out")
    assert {k: v for k, v in again.items() if "outcomes" not in k} == {
        k: v for k, v in outputs.items() if "outcomes" not in k
    }
    strip = {key: (o.status, o.reason, o.output_sha256) for key, o in first.items()}
    assert {key: (o.status, o.reason, o.output_sha256) for key, o in second.items()} == strip
    assert not [key for key in again if "attempts" in key]


def test_a_destination_that_refuses_one_key_fails_that_image_alone(job, tmp_path):
    """A file that stands where a folder is needed costs the image below it, not the job."""
    good = photographs.encoded(photographs.gray_pixels())
    worker = job({"a/x.jpg": good, "b.jpg": good})
    worker.dest.put("a", b"in the way")
    outcomes = run_all(worker)
    assert (outcomes["a/x.jpg"].status, outcomes["a/x.jpg"].reason) == ("failed", "storage_error")
    assert outcomes["b.jpg"].status == "colorized"


def test_a_destination_that_takes_nothing_stops_the_job(job, tmp_path, monkeypatch):
    """A full disk is no image's failure: nothing is recorded, so that the next run does it all."""
    worker = job({"b.jpg": photographs.encoded(photographs.gray_pixels())})
    put = worker.dest.put

    def full(key, data, **options):
        if len(data) > 100:
            raise StorageError("storage_error", "no space left on the device")
        return put(key, data, **options)

    monkeypatch.setattr(type(worker.dest), "put", lambda self, key, data, **options: full(key, data, **options))
    with pytest.raises(StorageError, match="no space left"):
        worker.run(0)
    assert list(read_outcomes(worker.dest)) == []


def test_a_defect_of_ours_costs_one_image(job, monkeypatch):
    """What colorizes others, and a plain test picture, is no broken worker: the image failed, and no other."""
    files = {f"{i}.jpg": photographs.encoded(photographs.gray_pixels(seed=i)) for i in range(3)}
    worker = job(files)
    colorize = worker.colorizer.colorize

    def stumble(data, *_):
        if data == files["1.jpg"]:
            raise ZeroDivisionError("ours")
        return colorize(data)

    monkeypatch.setattr(worker.colorizer, "colorize", stumble)
    outcomes = run_all(worker)
    assert (outcomes["1.jpg"].reason, outcomes["1.jpg"].detail) == ("internal_error", "ZeroDivisionError: ours")
    assert [outcomes[key].status for key in ("0.jpg", "2.jpg")] == ["colorized"] * 2


def test_a_worker_is_warm_before_its_first_shard(job, monkeypatch):
    """Compiled code and network have run once, in the thread that will compute; a defect shows at the first image."""
    threads = []

    def colorize(self, data, *_):
        threads.append(threading.current_thread().name)
        raise ZeroDivisionError("ours")

    monkeypatch.setattr(FileColorizer, "colorize", colorize)
    worker = job({"a.jpg": photographs.encoded(photographs.gray_pixels())})
    assert threads == ["compute_0"]
    with pytest.raises(BrokenWorkerError, match="ZeroDivisionError"):
        worker.run(0)


def test_a_network_that_never_ends_stops_the_job(job, monkeypatch):
    """A worker that is not warm in its time says so; without a limit it would hold its CPU for ever."""
    end = threading.Event()
    monkeypatch.setattr(in_process, "START_S", 0.2)
    monkeypatch.setattr(FileColorizer, "colorize", lambda self, data, *_: end.wait(60))
    with pytest.raises(BrokenWorkerError, match=r"took more than 0 s: does the network ever end\?"):
        job({"a.jpg": photographs.encoded(photographs.gray_pixels())}, timeout_s=0.1)
    end.set()


def test_a_broken_worker_is_no_images_failure(job, monkeypatch):
    """Where nothing can be colorized nothing is recorded: the mark counts the tries, and the next worker does all."""
    worker = job({f"{i}.jpg": photographs.encoded(photographs.gray_pixels(seed=i)) for i in range(3)})

    def gone(data, *_):
        raise FileNotFoundError(2, "No such file or directory")

    with monkeypatch.context() as broken:
        broken.setattr(worker.colorizer, "colorize", gone)
        with pytest.raises(BrokenWorkerError, match=r"cannot colorize anything \(FileNotFoundError") as caught:
            worker.run(0)
        assert caught.value.attempts == 1
        broken.setattr(IsolatedColorizer, "colorize", lambda self, data, *_: gone(data))
        broken.setattr(IsolatedColorizer, "read_and_colorize", lambda self, info, *_: gone(info))
        with pytest.raises(BrokenWorkerError) as caught:
            worker.run(0)
        assert caught.value.attempts == 2
        assert pickle.loads(pickle.dumps(caught.value)).attempts == 2
    assert list(read_outcomes(worker.dest)) == []
    assert {outcome.status for outcome in run_all(worker).values()} == {"colorized"}


CHILD = """
import os, sys, time
from raycolor import child_process
from raycolor.colorize import isolation
from raycolor.errors import ImageError
def colorize(self, data, *_):
    if data == b"abort": os.abort()
    if data == b"hang": time.sleep(60)
    if data == b"bug": raise ValueError("broken")
    if data == b"bad": raise ImageError("truncated", "ends early")
    print("noise on standard output")
    return isolation.Colorized(data * 2, "gray", 1, 1)
isolation.FileColorizer = type("Fake", (), {"__init__": lambda self, options: None, "colorize": colorize})
child_process.serve()
"""


@pytest.fixture(scope="module")
def child():
    """A child process whose colorizer dies, hangs or raises on demand."""
    command = [sys.executable, "-c", CHILD]
    with IsolatedColorizer(ColorizerConfig(), timeout_s=2.0, command=command) as colorizer:
        yield colorizer


def test_a_decoder_that_dies_or_hangs_costs_one_image(child):
    """After a native crash and after a hang the next image is colorized as if nothing had been."""
    assert child.colorize(b"one") == Colorized(b"oneone", "gray", 1, 1)
    with pytest.raises(ChildDiedError, match="its process died: SIGABRT"):
        child.colorize(b"abort")
    assert child.colorize(b"two").data == b"twotwo"
    with pytest.raises(ChildDiedError, match="hung for 2 s"):
        child.colorize(b"hang")
    assert child.colorize(b"three").data == b"threethree"


def test_errors_come_through_the_pipe(child):
    """A named reason stays that reason; a defect is told as such."""
    with pytest.raises(ImageError, match="ends early") as caught:
        child.colorize(b"bad")
    assert caught.value.reason == "truncated"
    with pytest.raises(ChildDiedError, match="ValueError: broken"):
        child.colorize(b"bug")


@pytest.mark.skipif(os.name != "posix", reason="signals are POSIX")
def test_a_large_photograph_passes_the_pipe(child):
    """Messages larger than a pipe's buffer arrive whole."""
    assert len(child.colorize(bytes(3_000_000)).data) == 6_000_000
