"""Laws of the bulk job's records."""

import itertools

import pyarrow as pa
import pytest

from raycolor.colorize.job_folder import FOLDER, get_table, put_table, table_of
from raycolor.colorize.job_record import JobRecord, check_same_job, read_job
from raycolor.colorize.manifest import (
    MOST_IN_ROW,
    Manifest,
    ManifestTotals,
    order_of_work,
    rows_of_work,
    shard_limits,
    write_manifest,
)
from raycolor.colorize.outcomes import Outcome, Tally, done_shards, read_outcomes, write_outcomes
from raycolor.errors import ManifestError
from raycolor.sources import Input
from raycolor.storage import open_store


def listing(count, size=10):
    """Return `count` made-up objects."""
    return [Input(f"box {i // 100}/photo-{i:06d}.jpg", size, f"e{i}") for i in range(count)]


@pytest.mark.parametrize("count", [0, 1, 4, 33, 16_384, 40_000])
def test_every_listed_object_is_in_exactly_one_shard(tmp_path, count):
    """The shards of a manifest, read back, are the listing: nothing lost, nothing twice, order kept."""
    store = open_store(tmp_path)
    totals = write_manifest(store, iter(listing(count)), images_per_shard=64)
    manifest = Manifest(store, totals)
    shards = [manifest.shard(number) for number in range(totals.shards)]
    assert list(itertools.chain.from_iterable(shards)) == listing(count)
    assert all(0 < len(shard) <= 64 for shard in shards)
    assert (totals.images, totals.bytes) == (count, 10 * count)


def test_first_shards_are_small():
    """A handful of photographs is spread over many shards, so that every worker has one."""
    assert list(itertools.islice(shard_limits(64), 40))[::8] == [4, 8, 16, 32, 64]
    assert set(itertools.islice(shard_limits(2), 20)) == {2}


@pytest.mark.parametrize("workers", [1, 2, 100])
@pytest.mark.parametrize("shards", [[], [7], list(range(3)), list(range(5, 300, 3))])
def test_work_begins_and_ends_with_small_shards(shards, workers):
    """Every shard once: at first a small one for each worker, then the larger before the smaller."""
    order = order_of_work(reversed(shards), 64, workers)
    assert sorted(order) == shards
    assert order[:workers] == shards[:workers]
    limits = list(itertools.islice(shard_limits(64), 300))
    rest = order[workers:]
    assert all((-limits[one], one) < (-limits[following], following) for one, following in itertools.pairwise(rest))


@pytest.mark.parametrize("workers", [1, 8, 128])
@pytest.mark.parametrize("shards", [0, 1, 100, 5_000, 156_255])
def test_shards_are_handed_out_several_at_a_time(shards, workers):
    """Every shard once and in order; single ones first and last, never more than a 32nd of a worker's share."""
    order = list(range(shards))
    rows = rows_of_work(order, workers)
    assert list(itertools.chain.from_iterable(rows)) == order
    assert {len(row) for row in rows[: 2 * workers] + rows[-workers:]} <= {1}
    left = shards
    for row in rows:
        assert len(row) == 1 or len(row) <= min(MOST_IN_ROW, left / (32 * workers))
        left -= len(row)


def test_rows_of_ten_million_inputs_are_few():
    """16 shards to a row but at the beginning and the end: the driver's objects are counted by rows."""
    assert len(rows_of_work(list(range(156_255)), 128)) < 25_000
    assert len(rows_of_work(list(range(156_255)), 16)) < 11_500


def test_the_part_of_a_known_shard_is_the_only_one_read(tmp_path):
    """Photographs of a page cost a read each, however many parts a manifest has."""
    store, read = open_store(tmp_path), []
    totals = write_manifest(store, iter(listing(60_000)), images_per_shard=64)
    manifest = Manifest(store, totals)
    store.get = lambda key, get=store.get: read.append(key) or get(key)

    class Bytes:
        def sized(self, info):
            return info

        def get(self, info):
            return info.etag.encode()

    for shard in (900, 3, 500):
        info = manifest.shard(shard)[-1]
        again = Manifest(store, totals)
        read.clear()
        assert again.read(Bytes(), info.key, shard) == info.etag.encode()
        assert len(read) == 1


def test_a_shard_is_bounded_in_bytes_too(tmp_path):
    """Large photographs make short shards: what a kill undoes stays small."""
    totals = write_manifest(open_store(tmp_path), listing(10, size=400 * 2**20), images_per_shard=64)
    assert totals.shards == 10


def test_outcomes_survive_the_round_trip(tmp_path):
    """What is written about an input is read back unchanged, None included."""
    store = open_store(tmp_path)
    outcomes = [
        Outcome("a b/ü\n.jpg", "colorized", None, None, "gray", 5, 7, 11, "e", "a b/ü\n.jpg", 12, "ff", 0.5),
        Outcome("broken", "failed", "truncated", "ends after 7 bytes", input_bytes=7),
        Outcome("blue.jpg", "skipped", "already_color", source_kind="color"),
    ]
    write_outcomes(store, 3, outcomes)
    assert done_shards(store) == {3}
    assert list(read_outcomes(store)) == outcomes


def test_tallies_add_up():
    """Outcomes that are counted in parts make the tally of all at once."""
    outcomes = [
        Outcome("a", "colorized", source_kind="gray", width=10, height=20, input_bytes=3, output_bytes=4),
        Outcome("b", "failed", "empty"),
        Outcome("c", "colorized", source_kind="toned", width=1, height=1, input_bytes=5, output_bytes=6),
    ]
    whole, parts = Tally(), Tally()
    whole.add(*outcomes)
    parts.add(*outcomes[:2])
    parts.add(outcomes[2])
    assert parts == whole
    assert (whole.total, whole.pixels, whole.counts["failed"], whole.reasons["empty"]) == (3, 201, 1, 1)


def record(**changes):
    """Return a job record with some settings."""
    identity = {"saturation": 1.0, "weights_sha256": "aa", **changes}
    totals = ManifestTotals(3, 30, 2, (0,))
    return JobRecord(identity, {"name": "default"}, "/in", {}, "0.1.0", totals, "2026-01-01T00:00:00+00:00")


def test_job_record_survives_the_round_trip(tmp_path):
    """job.json gives back the record, and a place without one has no job."""
    store = open_store(tmp_path)
    assert read_job(store) is None
    record().write(store)
    assert read_job(store) == record()


def test_another_setting_is_refused_showing_both():
    """Continuing under other settings names each difference with both values."""
    check_same_job(record(), record().identity, "out")
    with pytest.raises(ManifestError, match=r"out holds another job: saturation was 1.0, now 1.5; weights_sha256 was"):
        check_same_job(record(), {"saturation": 1.5, "weights_sha256": "bb"}, "out")


@pytest.mark.parametrize("damage", [b"", b"{", b'{"format_version": 1}', b'{"format_version": 99}'])
def test_a_damaged_job_record_is_one_clear_error(tmp_path, damage):
    """A broken or foreign job.json is refused, never overwritten."""
    store = open_store(tmp_path)
    store.put(FOLDER + "job.json", damage)
    with pytest.raises(ManifestError, match="give a new DEST"):
        read_job(store)


def test_a_missing_manifest_part_is_one_clear_error(tmp_path):
    """A manifest part that has gone is named."""
    store = open_store(tmp_path)
    totals = write_manifest(store, listing(5), images_per_shard=64)
    store.delete(FOLDER + "manifest/part-00000.parquet")
    with pytest.raises(ManifestError, match=r"part-00000.parquet is missing"):
        Manifest(store, totals).shard(0)


@pytest.mark.parametrize("count", [0, 1, 7, 8, 9, 1000])
def test_tables_are_those_that_pyarrow_makes(tmp_path, count):
    """Columns laid out by hand are what pyarrow makes of the same values, in memory and in the file."""
    schema = pa.schema([("key", pa.string()), ("size", pa.int64()), ("shard", pa.int32()), ("share", pa.float64())])
    texts = ["a.jpg", None, "", "é/\N{GRINNING FACE}.tif", "x" * 300]
    rows = [(texts[i % 5], None if i % 3 else -(2**40) - i, i, None if i % 4 else i / 7) for i in range(count)]
    columns = list(zip(*rows, strict=True)) or [[], [], [], []]
    expected = pa.table([pa.array(c, f.type) for c, f in zip(columns, schema, strict=True)], schema=schema)
    made = table_of(columns, schema)
    made.validate(full=True)
    assert made.equals(expected)
    store = open_store(tmp_path)
    put_table(store, "made.parquet", made)
    put_table(store, "expected.parquet", expected)
    assert store.get("made.parquet") == store.get("expected.parquet")
    assert get_table(store, "made.parquet").equals(expected)
