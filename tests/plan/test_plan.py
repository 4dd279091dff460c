"""Laws of `raycolor plan`: whatever a photograph does there is an answer, and nothing but the plan is written."""

import hashlib
import json
import math
import subprocess
import sys
from collections import Counter

import numpy as np
import onnx_made
import photographs
import pytest
from sources import packs

from raycolor import cli
from raycolor.colorize.messages import RAY_START_S
from raycolor.colorizer.config import ColorizerConfig
from raycolor.colorizer.photograph import Colorized
from raycolor.errors import ImageError, RaycolorError
from raycolor.plan import driver, report
from raycolor.plan.config import PlanConfig
from raycolor.plan.counts import Count
from raycolor.plan.probe import CheckpointName, Probed, Prober, look
from raycolor.plan.report import Start, begins
from raycolor.plan.storage_classes import StorageClasses
from raycolor.storage import open_store


class Faulty:
    """A colorizer that does what it is told, and counts."""

    def __init__(self, error=None):
        self.error, self.calls = error, 0

    def colorize(self, data):
        self.calls += 1
        if self.error is not None:
            raise self.error
        return Colorized(data, "toned", 64, 48)


def test_the_first_of_each_kind_is_colorized_twice():
    """Compiled code is loaded during the first; its time must not count."""
    colorizer, warm = Faulty(), set()
    jpeg, png = photographs.encoded(photographs.gray_pixels()), photographs.encoded(photographs.gray_pixels(), "png")
    for data in (jpeg, jpeg, png, jpeg, png):
        assert look(colorizer, data, warm).kind == "toned"
    assert colorizer.calls == 5 + 2


@pytest.mark.parametrize(
    ("error", "status", "reason"),
    [
        (ImageError("decode_error", "bad"), "failed", "decode_error"),
        (ImageError("already_color", "has colors"), "skipped", "already_color"),
        (ZeroDivisionError("ours"), "failed", "internal_error"),
    ],
)
def test_whatever_a_photograph_does_there_is_an_answer(error, status, reason):
    """Refusals and defects of raycolor alike; what the header said stays."""
    found = look(Faulty(error), photographs.encoded(photographs.gray_pixels()), set())
    assert (found.status, found.reason, found.width, found.pixels) == (status, reason, 64, 48 * 64)
    assert found.kind == ("color" if status == "skipped" else None)


CHILD = """
import os, signal, time
from types import SimpleNamespace
from raycolor import child_process
from raycolor.colorizer import photograph
from raycolor.errors import CheckpointError
from raycolor.plan import probe
def load(config):
    {load}
    told = SimpleNamespace(checkpoint="strange", checkpoint_sha256="00", license=None)
    return SimpleNamespace(provenance=told, checkpoint=SimpleNamespace(card=None))
def look(colorizer, data, warm):
    if data == b"die": os.kill(os.getpid(), signal.SIGSEGV)
    if data == b"hang": time.sleep(60)
    return probe.Probed("colorized", kind="gray")
photograph.FileColorizer, probe.look = load, look
child_process.serve()
"""


def prober(load="", timeout_s=9.0):
    """Return a prober whose child dies, hangs or answers, as the photograph says; `load` is how it loads."""
    command = [sys.executable, "-c", CHILD.format(load=load)]
    return Prober(ColorizerConfig(), timeout_s=timeout_s, command=command)


def test_a_decoder_that_dies_or_hangs_costs_one_photograph():
    """The child is started again, and the next photograph is answered."""
    with prober(timeout_s=1.0) as one:
        answers = [one.probe(data) for data in (b"good", b"die", b"hang", b"", b"good")]
    assert one.checkpoint == CheckpointName("strange", "00")
    assert [answer.status for answer in answers] == ["colorized", "failed", "failed", "colorized", "colorized"]
    assert answers[1].detail == "its process died: SIGSEGV"
    assert answers[2].detail == "its process hung for 1 s and was ended"


@pytest.mark.parametrize(
    ("load", "message"),
    [
        ("raise CheckpointError('nobody: no such checkpoint')", "^nobody: no such checkpoint$"),
        ("os._exit(3)", "does not start: it died: exit code 3"),
    ],
)
def test_a_child_that_cannot_start_is_one_error(load, message):
    """A wrong checkpoint keeps its own words."""
    with pytest.raises(RaycolorError, match=message), prober(load):
        pass


@pytest.fixture(scope="module")
def planned(tmp_path_factory):
    """A folder of everything, its files before, the finished process, and the plan of all its inputs."""
    folder = tmp_path_factory.mktemp("plan")
    photographs.archive(folder / "in", count=6)
    photographs.write_all(folder / "in", {key: data for key, (data, _) in photographs.bad_files().items()})
    jpeg = photographs.encoded(photographs.gray_pixels(200, 300))
    files = {
        "new/blue [sky].jpg": photographs.encoded(photographs.color_pixels()),
        "box.tar": packs.tar([("1.jpg", jpeg), ("2.jpg", jpeg[: len(jpeg) // 2])]),
        "named.png": jpeg,
    }
    photographs.write_all(folder / "in", files)
    before = photographs.tree(folder)
    process = subprocess.run(
        [sys.executable, "-m", "raycolor", "plan", folder / "in", "--json", folder / "plan.json", "--sample", "100",
         "--cpus", "1000", "--price-per-hour", "36"],
        capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert process.returncode == 0, process.stderr
    return folder, before, process, json.loads((folder / "plan.json").read_text())


def test_a_plan_of_all_inputs_is_exact(planned):
    """Every input looked at: figures are counts, with equal bounds; bad photographs end nothing."""
    _, _, _, plan = planned
    bad = photographs.bad_files()
    assert plan["inputs"] == plan["sample"]["photographs"] == 6 + len(bad) + 4
    assert plan["formats_by_name"]["jpeg"]["inputs"] == 2 + 2 + 3
    estimates = plan["estimates"]
    reasons = Counter(reason for _, reason in bad.values()) + Counter(["truncated"])
    assert {name: one["sampled"] for name, one in estimates["unreadable"].items()} == reasons
    assert {name: one["value"] for name, one in estimates["kinds"].items()} == {"gray": 8, "color": 1}
    assert {name: one["value"] for name, one in estimates["outcomes"].items()} == {
        "colorized": 8, "skipped": 1, "failed": 6,
    }  # fmt: skip
    assert estimates["named_otherwise"]["value"] == 1
    # The colored one and six of 48 x 64, two of 200 x 300; broken ones do not count.
    megapixels = (7 * 48 * 64 + 2 * 200 * 300) / 1e6
    assert estimates["megapixels"] == {name: round(megapixels, 3) for name in ("value", "low", "high")}
    assert estimates["megapixels_to_colorize"]["value"] == round(megapixels - 48 * 64 / 1e6, 3)
    assert plan["cluster"]["images_per_second_per_cpu"] > 0
    assert plan["cluster"]["seconds"]["value"] > plan["cluster"]["start_seconds"] > RAY_START_S


def test_a_plan_knows_how_the_job_begins(monkeypatch):
    """Small and local: one worker, no Ray; large: it works alone while Ray starts; elsewhere: Ray comes first."""
    monkeypatch.setattr(report, "gpu_model", lambda: None)
    monkeypatch.setattr(report, "cpu_count", lambda: 4)
    small, large = Count(16, 10**6), Count(1000, 10**8)
    here = PlanConfig(source="/in")
    assert begins(here, small, list_s=1, worker_s=5) == Start(4, 6, math.inf)
    assert begins(here, large, list_s=1, worker_s=5) == Start(4, 6, RAY_START_S)
    for elsewhere in (PlanConfig(source="/in", cpus=64), PlanConfig(source="s3://bucket/in")):
        assert begins(elsewhere, small, list_s=1, worker_s=5) == Start(elsewhere.cpus or 4, 6 + RAY_START_S)


def test_a_plan_writes_its_file_and_nothing_else(planned):
    """Not in the source, not beside it."""
    folder, before, _, _ = planned
    after = photographs.tree(folder)
    assert after.pop("plan.json")
    assert after == before


def test_a_plan_says_what_it_found_and_what_it_leaves_out(planned):
    """The terminal shows counts, reasons with an example, rates, time and cost, and what is not modelled."""
    _, _, process, _ = planned
    for text in (
        "empty.jpg", "not_an_image", "gray", "color", "images/s per CPU", "MP/s per CPU", "time on 1,000 CPUs",
        "36 per hour of the cluster", "not modelled: start-up", "transfer from and to S3",
    ):  # fmt: skip
        assert text in process.stdout
    assert "Traceback" not in process.stderr


def test_an_earlier_plan_is_replaced_and_nothing_else_is(planned, tmp_path, capsys):
    """--json over a photograph or any other file is refused before anything is read."""
    folder, _, _, _ = planned
    plan, other = tmp_path / "plan.json", tmp_path / "other.json"
    plan.write_text('{"raycolor_plan": 1}')
    other.write_text('{"mine": 1}')
    assert cli.run(["plan", str(folder / "in"), "--sample", "0", "--json", str(plan)]) == 0
    assert json.loads(plan.read_text())["inputs"] == 15
    assert json.loads(plan.read_text())["estimates"] is None
    capsys.readouterr()
    for path in (other, folder / "in" / "named.png", tmp_path):
        assert cli.run(["plan", str(folder / "in"), "--sample", "0", "--json", str(path)]) == 2
        assert capsys.readouterr().err.count("\n") == 1
    assert other.read_text() == '{"mine": 1}'


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["{tmp}/nowhere"], "no such folder: check the path"),
        (["{tmp}/in", "--include", "*.xyz", "--sample", "0"], "holds no files to colorize"),
        (["{tmp}/in", "--sample", "-1"], '--sample: sample = "-1": input should be greater than or equal to 0'),
        (["{tmp}/in", "--cpus", "0"], '--cpus: cpus = "0"'),
        (["{tmp}/in", "--root", "s3://x"], "needs a list of keys"),
        (["{tmp}/in", "--json", "s3://"], "names no object"),
        ([], "source is missing"),
    ],
)
def test_a_users_error_is_one_line(tmp_path, arguments, message, capsys):
    """What, which value, how to mend it; exit code 2, and no process was started for it."""
    photographs.archive(tmp_path / "in", count=1)
    assert cli.run(["plan", *[argument.format(tmp=tmp_path) for argument in arguments]]) == 2
    assert message in capsys.readouterr().err.strip().splitlines()[-1]


# --- S3


class Standing:
    """A prober that looks at nothing."""

    checkpoint, card = CheckpointName("none", "00"), None
    start_s = 1.0

    def __init__(self, options, *, timeout_s):
        pass

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass

    def probe(self, data):
        return Probed("colorized", format="jpeg", width=1, height=1, pixels=1, kind="gray", cpu_s=1.0)


@pytest.fixture
def classed(s3):
    """A prefix with objects of three storage classes, names that need encoding, and an archive; returns its store."""
    store = open_store(s3.uri())
    client, classes = s3.client(), ["STANDARD", "STANDARD_IA", "GLACIER"]
    for i in range(9):
        client.put_object(
            Bucket=s3.bucket, Key=f"{store.prefix}b c/ü%41+{i}.jpg", Body=b"x" * i, StorageClass=classes[i % 3]
        )
    box = packs.tar([("1.jpg", b"1"), ("2.jpg", b"2")])
    client.put_object(Bucket=s3.bucket, Key=f"{store.prefix}box.tar", Body=box, StorageClass="STANDARD_IA")
    return store


def plan_of(tmp_path, *arguments):
    """Run the command and return its plan."""
    assert cli.run(["plan", *arguments, "--json", str(tmp_path / "plan.json")]) == 0
    return json.loads((tmp_path / "plan.json").read_text())


def test_storage_classes_are_counted_without_a_request_each(classed, tmp_path, monkeypatch):
    """The listing tells them, page by page; members of an archive count with it."""
    watch, pages = StorageClasses.watch, []

    def watch_small_pages(self, store):
        events = store.client.meta.events
        events.register("provide-client-params.s3.ListObjectsV2", lambda params, **_: {**params, "MaxKeys": 2})
        events.register("after-call.s3.ListObjectsV2", lambda **_: pages.append(1))
        events.register("before-call.s3.HeadObject", lambda **_: pytest.fail("asked for one object"))
        watch(self, store)

    monkeypatch.setattr(StorageClasses, "watch", watch_small_pages)
    plan = plan_of(tmp_path, classed.uri, "--sample", "0")
    assert len(pages) >= 5
    assert {name: one["inputs"] for name, one in plan["storage_classes"].items()} == {
        "STANDARD": 3, "STANDARD_IA": 5, "GLACIER": 3,
    }  # fmt: skip
    assert plan["inputs"] == 11


def test_storage_classes_of_a_list_come_from_the_sample(classed, tmp_path, monkeypatch):
    """A list tells none; reading the sample does, and what cannot be read is a reason."""
    monkeypatch.setattr(driver, "Prober", Standing)
    keys = [info.key for info in classed.list() if info.key.endswith("jpg")]
    (tmp_path / "list.txt").write_text("\n".join(f"{classed.uri}/{key}" for key in [*keys, "gone.jpg"]))
    plan = plan_of(tmp_path, str(tmp_path / "list.txt"))
    assert plan["storage_classes"] == {}
    told = {name: one["value"] for name, one in plan["estimates"]["storage_classes"].items()}
    assert told == {"STANDARD": 3, "STANDARD_IA": 3, "GLACIER": 3}
    assert plan["estimates"]["unreadable"]["not_found"]["example"]["key"].endswith("gone.jpg")
    assert plan["sizes"]["0 bytes, or not told by a list"]["inputs"] == 10


def test_a_refusal_for_its_class_tells_the_class():
    """What AWS answers for an object in Glacier (SeaweedFS hands it out)."""
    classes = StorageClasses()
    classes._hear_get({"Error": {"Code": "InvalidObjectState", "StorageClass": "DEEP_ARCHIVE"}})
    assert classes.read == "DEEP_ARCHIVE"
    classes.read = None
    classes._hear_get({"Error": {"Code": "NoSuchKey"}})
    assert classes.read is None
    classes._hear_get({"ContentLength": 1})
    assert classes.read == "STANDARD"


def test_the_sample_is_colorized_as_the_job_would(tmp_path, monkeypatch):
    """Every setting of plan that decides how a photograph is colorized reaches the colorizer."""
    config = PlanConfig(
        source=str(tmp_path), checkpoint="gan", network_size=128, precision="fp32", on_color="copy",
        jpeg_luma="reencode", upsampling="bilinear", tta="flip", max_pixels=5,
    )  # fmt: skip
    asked = []

    def prober(config, *, timeout_s):
        asked.append(config)
        raise RaycolorError("seen enough")

    monkeypatch.setattr(driver, "Prober", prober)
    with pytest.raises(RaycolorError, match="seen enough"):
        driver.run(config)
    shared = set(ColorizerConfig.model_fields) & set(PlanConfig.model_fields)
    assert len(shared) == 8
    for name in shared:
        assert getattr(asked[0], name) == getattr(config, name) != getattr(ColorizerConfig(), name), name


def test_an_imported_network_is_planned_with_its_license(tmp_path, capfd):
    """A license that forbids commercial use is told before anything is listed, and stands in both forms of the plan."""
    photographs.archive(tmp_path / "in", count=2)
    data = onnx_made.network(tmp_path / "net.onnx").SerializeToString()
    onnx_made.write_checkpoint(tmp_path / "theirs", data, license="CC-BY-NC-4.0", size={"default_px": 64})
    given = [str(tmp_path / "in"), "--checkpoint", str(tmp_path / "theirs"), "--json", str(tmp_path / "plan.json")]
    assert cli.run(["plan", *given]) == 0
    said = capfd.readouterr()
    assert said.err.index("theirs forbids commercial use: CC-BY-NC-4.0") < said.err.index("list: ")
    assert "license CC-BY-NC-4.0" in said.out
    found = json.loads((tmp_path / "plan.json").read_text())["sample"]
    assert found["checkpoint"] == {
        "name": "theirs", "weights_sha256": hashlib.sha256(data).hexdigest(), "license": "CC-BY-NC-4.0",
    }  # fmt: skip


def test_a_network_in_python_is_planned(tmp_path, monkeypatch):
    """By its name, found in the current folder; what hangs in it costs the photograph its place in the plan."""
    photographs.write_all(
        tmp_path / "in", {f"{i}.png": photographs.encoded(np.full((32, 40), i, np.uint8), "png") for i in (0, 255)}
    )
    (tmp_path / "planned_network.py").write_text(
        "import numpy as np\n"
        "def network():\n"
        "    def predict(planes):\n"
        "        while planes[0].mean() > 90: pass\n"
        "        return [(np.zeros((*L.shape, 2), np.float32), None) for L in planes]\n"
        "    return predict\n"
    )
    monkeypatch.chdir(tmp_path)
    given = ["in", "--checkpoint", "planned_network:network", "--json", "plan.json", "--image-timeout-s", "8"]
    assert cli.run(["plan", *given]) == 0
    report = json.loads((tmp_path / "plan.json").read_text())
    assert report["sample"]["checkpoint"]["name"] == "planned_network:network"
    assert {name: share["sampled"] for name, share in report["estimates"]["outcomes"].items()} == {
        "colorized": 1, "failed": 1,
    }  # fmt: skip
