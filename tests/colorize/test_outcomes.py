"""Laws of the outcomes as CSV."""

import csv
import io
import tracemalloc
from dataclasses import asdict, fields

import pyarrow.csv
import pytest
from faultproxy import FaultProxy

from raycolor.colorize.job_folder import FOLDER, put_table
from raycolor.colorize.outcomes import (
    OUTCOME_SCHEMA,
    Outcome,
    Tally,
    read_tables,
    table_of_outcomes,
    write_csvs,
    write_outcomes,
)
from raycolor.sources.csv_cells import guard, unguard
from raycolor.storage import open_store

TEXTS = ["=1+1", "+a", "-a.jpg", "@x", "'=a", "''-b", "'quoted'", "", "a=b", "\tx", "\ry", "a\rb", 'a"b,c\nd', "ü"]


def written(dest, name):
    """Return the rows of one of the two files, as any reader of CSV sees them."""
    return list(csv.reader(io.StringIO(dest.get(FOLDER + name).decode(), newline=""), strict=True))


@pytest.mark.parametrize("text", TEXTS)
def test_a_guarded_cell_is_no_formula_and_comes_back(text):
    """What begins like a formula begins with an apostrophe instead; whatever the text, it is read back unchanged."""
    assert guard(text)[:1] not in tuple("=+-@\t\r")
    assert unguard(guard(text)) == text
    assert guard("a=b.jpg") == "a=b.jpg"


@pytest.mark.parametrize("place", ["disk", "s3"])
def test_both_files_hold_what_the_parquet_holds(tmp_path, request, place):
    """outcomes.csv: all outcomes in every column. failed.csv: key, reason and detail of the failed alone."""
    dest = open_store(tmp_path if place == "disk" else request.getfixturevalue("s3").uri())
    outcomes = [Outcome(text, "failed", "empty", "=0 bytes") for text in TEXTS]
    outcomes.append(
        Outcome("fine.jpg", "colorized", None, None, "gray", 5, 7, 11, "-e", "fine.jpg", 12, "ff", 0.5, 0.25)
    )
    write_csvs(dest, [table_of_outcomes(outcomes)])
    names, *rows = written(dest, "outcomes.csv")
    assert names == OUTCOME_SCHEMA.names == [field.name for field in fields(Outcome)]
    assert rows == [
        [
            guard(value) if isinstance(value, str) else "" if value is None else str(value)
            for value in asdict(o).values()
        ]
        for o in outcomes
    ]
    assert written(dest, "failed.csv") == [
        ["key", "reason", "detail"], *([guard(text), "empty", "'=0 bytes"] for text in TEXTS),
    ]  # fmt: skip
    options = pyarrow.csv.ParseOptions(newlines_in_values=True)
    assert pyarrow.csv.read_csv(io.BytesIO(dest.get(FOLDER + "outcomes.csv")), parse_options=options).num_rows == len(
        rows
    )


def test_memory_does_not_grow_with_the_number_of_outcomes(tmp_path):
    """50,000 outcomes (7 MB of text) pass through less than 4 MB of memory, both files together."""
    tables = (
        table_of_outcomes([Outcome(f"box/{i}.jpg", "failed", "empty", "x" * 100) for i in range(start, start + 64)])
        for start in range(0, 50_000, 64)
    )
    tracemalloc.start()
    try:
        write_csvs(open_store(tmp_path), tables)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert (tmp_path / FOLDER / "outcomes.csv").stat().st_size > 7e6
    assert peak < 4e6


def test_outcomes_are_counted_in_tables(tmp_path):
    """Counts and sums are those of the rows, also of a record of an earlier raycolor, which lacks the last columns."""
    outcomes = [
        Outcome("a", "colorized", None, None, "gray", 5, 7, 11, "e", "a", 12, "ff", 0.5, pages=3, pixels=90),
        Outcome("b", "colorized", None, None, "toned", 3, 4, 10, "e", "b", 13, "ff", 0.5, revision=2),
        Outcome("c", "skipped", "already_color", None, "color", 5, 7, 9),
        Outcome("d", "failed", "empty", "0 bytes"),
        Outcome("e", "failed", "empty", "0 bytes", input_bytes=4, pages=9, pixels=9),
    ]
    dest = open_store(tmp_path)
    write_outcomes(dest, 0, outcomes)
    old = table_of_outcomes(outcomes).drop_columns(["confidence", "flags", "pages", "pixels", "revision"])
    put_table(dest, FOLDER + "outcomes/part-000001.parquet", old)
    tally = Tally()
    (table,) = read_tables(dest)
    tally.add_table(table)
    assert tally.counts == {"colorized": 4, "skipped": 2, "failed": 4}
    assert tally.reasons == {"already_color": 2, "empty": 4}
    assert tally.kinds == {"gray": 2, "toned": 2, "color": 2}
    assert tally.revisions == {0: 9, 2: 1}
    assert (tally.pages, tally.pixels) == (3 + 1 + 1 + 1, 90 + 3 * 4 + 5 * 7 + 3 * 4)
    assert (tally.input_bytes, tally.output_bytes) == (2 * (11 + 10 + 9 + 4), 2 * (12 + 13))
    assert table["shard"].to_pylist() == [0] * 5 + [1] * 5


def test_no_outcomes_are_no_rows(tmp_path):
    """A job that was stopped before its first shard has CSV files with a heading alone."""
    tally = Tally()
    tally.add_table(table_of_outcomes([]))
    assert tally == Tally()
    write_csvs(open_store(tmp_path), read_tables(open_store(tmp_path)))
    assert (tmp_path / FOLDER / "failed.csv").read_text() == "key,reason,detail\n"


def test_records_far_away_are_asked_for_together(s3):
    """Where an answer takes 50 ms, 20 requests and more are on their way at a time, and each record is read once."""
    near = open_store(s3.uri())
    for shard in range(96):
        write_outcomes(near, shard, [Outcome(f"{shard}", "failed", "empty")])
    with FaultProxy(s3.endpoint, latency_s=0.05) as far:
        tables = list(read_tables(open_store(near.uri, endpoint_url=far.endpoint)))
        assert far.counts == {"passed": 96 + 1}
        assert far.most_at_once >= 20
    assert [key for table in tables for key in table["key"].to_pylist()] == [str(shard) for shard in range(96)]
