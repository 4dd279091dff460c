"""Laws of what a plan computes: exact counts, fair samples, honest intervals."""

import random
from collections import Counter

import photographs
import pytest

from raycolor.plan.config import PlanConfig
from raycolor.plan.counts import Counts, named_format
from raycolor.plan.estimate import Stratum, count, total
from raycolor.plan.probe import CheckpointName, Probed
from raycolor.plan.report import Looked, Start, make_report
from raycolor.plan.sample import Sample
from raycolor.sources import Input, open_source


def infos(sizes):
    """Make a listing of inputs with these sizes."""
    return [Input(f"box/{i:06d}.tif", size, "e") for i, size in enumerate(sizes)]


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


@pytest.mark.parametrize(("size", "workers"), [(10, 1), (10_000_000, 2)])
def test_time_and_cost_follow_from_the_sample(size, workers):
    """Seconds are the start and CPU seconds over workers, cost is hours of the whole cluster; rates are one CPU's."""
    counts, looked = Counts(), []
    for i in range(4):
        counts.add(f"{i}.jpg", size, None)
        probed = Probed("colorized", format="jpeg", width=1000, height=2000, pixels=2_000_000, kind="gray", cpu_s=9.0)
        looked.append(Looked(0, f"{i}.jpg", 10, None, 0.1, probed))
    config = PlanConfig(source="in", price_per_hour=7.0)
    source = open_source(str(photographs.__file__))
    report = make_report(config, source, counts, [4], looked, CheckpointName("c", "ab"), start=Start(2, 20.0))
    cluster = report["cluster"]
    busy = 36.0 / workers
    assert cluster["workers"] == workers, "as many as the job would start"
    assert (cluster["start_seconds"], cluster["colorizing_seconds"]["value"]) == (20.0, busy)
    assert cluster["seconds"] == dict.fromkeys(("value", "low", "high"), 20.0 + busy)
    assert cluster["cost"]["value"] == pytest.approx((20.0 + busy) / 3600 * 7, abs=1e-4)
    assert cluster["images_per_second_per_cpu"] == pytest.approx(1 / 9, rel=1e-3)
    assert cluster["megapixels_per_second_per_cpu"] == pytest.approx(2 / 9, rel=1e-3)
    assert any("transfer" in line for line in report["not_modelled"])
    assert any("start-up" in line for line in report["not_modelled"])
