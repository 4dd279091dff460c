"""Laws of `raycolor plan`: exact counts, fair samples, honest intervals, and nothing that ends it or is written."""

import json
import random
import subprocess
import sys
from collections import Counter

import photographs
import plan_children
import pytest
from sources import packs

from raycolor import cli
from raycolor.colorizer import Colorized
from raycolor.config import PlanConfig
from raycolor.errors import ImageError, RaycolorError
from raycolor.options import ColorizerOptions
from raycolor.plan import job
from raycolor.plan.classes import StorageClasses
from raycolor.plan.counts import Counts, named_format
from raycolor.plan.estimate import Stratum, count, total
from raycolor.plan.probe import CheckpointName, Probed, Prober, look
from raycolor.plan.report import Looked, make_report
from raycolor.plan.sample import Sample
from raycolor.sources import open_source
from raycolor.storage import ObjectInfo, open_store


def infos(sizes):
    """Make a listing of inputs with these sizes."""
    return [ObjectInfo(f"box/{i:06d}.tif", size, "e") for i, size in enumerate(sizes)]


def drawn(listing, size, seed=0):
    """Draw a sample; returns inputs per stratum, and (stratum, info) pairs."""
    sample = Sample(size, seed)
    for info in listing:
        sample.add(info)
    return sample.draw()


# --- what a listing tells


@pytest.mark.parametrize(
    ("key", "name"),
    [
        ("a/b.JPG", "jpeg"), ("x.jpeg", "jpeg"), ("scan.TIFF", "tiff"), ("a.tar/b.j2k", "jp2"), ("b.webp", "webp"),
        ("notes.txt", ".txt"), ("README", "no extension"), ("a.jpg/b", "no extension"), (".jpg", "no extension"),
        ("a.jpg ", "no extension"), ("a.thousand-letters", "no extension"),
    ],
)  # fmt: skip
def test_the_extension_names_the_format(key, name):
    """Case does not matter, folders do not count, and odd names claim nothing."""
    assert named_format(key) == name


def test_counts_are_whole_and_do_not_grow_with_hostile_names():
    """Every input is in one row of each table, whatever its name; thousands of extensions share one row."""
    counts = Counts()
    for i in range(5000):
        counts.add(f"a.{i}", i * 1000, "STANDARD" if i % 2 else None)
    counts.add("last.jpg", 7, None)
    assert counts.formats["jpeg"].inputs == 1
    assert len(counts.formats) < 60
    for table in (counts.formats, counts.sizes):
        assert sum(one.inputs for one in table.values()) == counts.total.inputs == 5001
        assert sum(one.bytes for one in table.values()) == counts.total.bytes
    assert counts.storage_classes["STANDARD"].inputs == 2500


# --- the sample


def test_a_sample_depends_on_keys_and_seed_alone():
    """The order of the listing changes nothing (servers sort differently); the seed does."""
    listing = infos([random.Random(1).randrange(1, 10**7) for _ in range(500)])
    shuffled = random.Random(2).sample(listing, len(listing))
    first, again, other = (drawn(*arguments) for arguments in ((listing, 32), (shuffled, 32), (listing, 32, 1)))
    assert first[0] == again[0]
    assert set(first[1]) == set(again[1]) != set(other[1])
    assert [pair.info for pair in first[1]] == sorted(pair.info for pair in first[1]), "not in the listing's order"


@pytest.mark.parametrize(("inputs", "size"), [(1, 32), (5, 32), (31, 32), (500, 1), (500, 3), (500, 33), (500, 0)])
def test_a_sample_has_the_wanted_size_and_no_input_twice(inputs, size):
    """All of a small archive; strata hold every input once, and two or more of the sample where it is not tiny."""
    rng = random.Random(inputs)
    population, pairs = drawn(infos([rng.choice([0, 10, 10**4, 10**8]) for _ in range(inputs)]), size)
    assert len(pairs) == len({pair.info.key for pair in pairs}) == min(inputs, size)
    assert sum(population) == inputs
    if size >= 4:
        places = Counter(pair.stratum for pair in pairs)
        assert all(places[i] >= min(2, inputs) for i, inputs in enumerate(population))


def test_few_large_scans_are_in_every_sample():
    """Three large scans among 5,000 small files hold most of the work: a plain random sample would miss them."""
    listing = infos([20_000 + i for i in range(5000)] + [300_000_000] * 3)
    for seed in range(20):
        assert sum(pair.info.size > 10**6 for pair in drawn(listing, 32, seed)[1]) >= 2


def test_every_input_of_a_stratum_has_the_same_chance():
    """Over many seeds each of 20 equal files is drawn about as often: within five standard deviations."""
    listing = infos([1000] * 20)
    times = Counter(pair.info.key for seed in range(1000) for pair in drawn(listing, 8, seed)[1])
    assert all(abs(times[info.key] - 400) < 5 * (1000 * 0.4 * 0.6) ** 0.5 for info in listing)


def test_a_sample_holds_little_of_a_long_listing():
    """What is kept does not grow with the listing."""
    sample = Sample(8, 0)
    for info in infos(i * 37 % 10**9 for i in range(30_000)):
        sample.add(info)
    assert sum(len(cell.lowest) for cell in sample._cells.values()) <= 8 * 31


# --- estimates


@pytest.mark.parametrize("kind", ["even", "skewed", "with bad files"])
def test_the_interval_of_a_total_holds_the_truth(kind):
    """In at least 88% of 150 draws (95% is aimed at; small skewed samples fall short), and the mean is unbiased."""
    rng = random.Random(0)
    pixels = [rng.lognormvariate(2, 1.0) for _ in range(700)]
    if kind == "even":
        pixels = [rng.uniform(10, 14) for _ in range(700)]
    listing = infos([int(one * 1e6 * rng.uniform(0.2, 0.5)) for one in pixels])
    if kind == "with bad files":
        pixels = [0.0 if rng.random() < 0.1 else one for one in pixels]
    truth, held, values = sum(pixels), 0, []
    for seed in range(150):
        population, pairs = drawn(listing, 32, seed)
        strata = [
            Stratum(inputs, [pixels[int(pair.info.key[4:10])] for pair in pairs if pair.stratum == i])
            for i, inputs in enumerate(population)
        ]
        estimate = total(strata)
        held += estimate.low <= truth <= estimate.high
        values.append(estimate.value)
    assert held >= 0.88 * 150
    assert abs(sum(values) / 150 / truth - 1) < 0.03


def test_what_was_seen_whole_is_exact():
    """Where all inputs were sampled, both bounds are the value."""
    strata = [Stratum(3, [1.0, 0.0, 1.0]), Stratum(1, [1.0])]
    assert total(strata) == count(strata) == (3, 3, 3)


def test_what_nobody_in_the_sample_has_may_still_be_there():
    """0 of 30 is no proof: the upper bound for 3,000 is near the rule of three (10%), and 30 of 30 mirrors it."""
    nobody, everybody = count([Stratum(3000, [0.0] * 30)]), count([Stratum(3000, [1.0] * 30)])
    assert nobody.value == nobody.low == 0
    assert 0.08 * 3000 < nobody.high < 0.13 * 3000
    assert everybody.low == pytest.approx(3000 - nobody.high)
    assert count([Stratum(31, [0.0] * 30)]).high <= 1, "one was not looked at, so one is the most"


def test_a_single_photograph_has_no_interval():
    """Nobody knows how much others differ from it."""
    assert total([Stratum(10, [2.5])]) == (25.0, None, None)


def test_time_and_cost_follow_from_the_sample():
    """Seconds are CPU seconds over CPUs, cost is hours of the whole cluster; rates are those of one CPU."""
    counts, looked = Counts(), []
    for i in range(4):
        counts.add(f"{i}.jpg", 10, None)
        probed = Probed("colorized", format="jpeg", width=1000, height=2000, pixels=2_000_000, kind="gray", cpu_s=9.0)
        looked.append(Looked(0, f"{i}.jpg", 10, None, 0.1, probed))
    config = PlanConfig(source="in", price_per_hour=7.0)
    source = open_source(str(photographs.__file__))
    report = make_report(config, source, counts, [4], looked, CheckpointName("c", "ab"), cpus=2)
    cluster = report["cluster"]
    assert cluster["seconds"] == {"value": 18.0, "low": 18.0, "high": 18.0}
    assert cluster["cost"]["value"] == pytest.approx(18 / 3600 * 7, abs=1e-4)
    assert cluster["images_per_second_per_cpu"] == pytest.approx(1 / 9, rel=1e-3)
    assert cluster["megapixels_per_second_per_cpu"] == pytest.approx(2 / 9, rel=1e-3)
    assert any("transfer" in line for line in report["not_modelled"])
    assert any("start-up" in line for line in report["not_modelled"])


# --- one photograph of the sample


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


def test_a_decoder_that_dies_or_hangs_costs_one_photograph():
    """The child is started again, and the next photograph is answered."""
    with Prober(ColorizerOptions(), timeout_s=1.0, child=plan_children.strange) as prober:
        answers = [prober.probe(data) for data in (b"good", b"die", b"hang", b"", b"good")]
    assert [one.status for one in answers] == ["colorized", "failed", "failed", "colorized", "colorized"]
    assert answers[1].detail == "the decoder died: SIGSEGV"
    assert answers[2].detail == "the decoder hung for 1 s and was ended"


@pytest.mark.parametrize(
    ("child", "message"),
    [
        (plan_children.refusing, "nobody: no such checkpoint"),
        (plan_children.dying, "did not start: exit code 3"),
    ],
)
def test_a_child_that_cannot_start_is_one_error(child, message):
    """A wrong checkpoint keeps its own words."""
    with pytest.raises(RaycolorError, match=message), Prober(ColorizerOptions(), timeout_s=9, child=child):
        pass


# --- the command


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
    folder, _, _, plan = planned
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
    assert plan["cluster"]["seconds"]["value"] > 0
    assert folder


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
        (["{tmp}/in", "--root", "s3://x"], "goes with a list of keys"),
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

    checkpoint = CheckpointName("none", "00")

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
    monkeypatch.setattr(job, "Prober", Standing)
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
