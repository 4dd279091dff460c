"""Laws of the outcomes as CSV."""

import csv
import io
import tracemalloc
from dataclasses import asdict, fields

import pyarrow.csv
import pytest

from raycolor.colorize.job_folder import FOLDER
from raycolor.colorize.outcomes import OUTCOME_SCHEMA, Outcome, write_csvs
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
    write_csvs(dest, iter(outcomes))
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
    outcomes = (Outcome(f"box/{i}.jpg", "failed", "empty", "x" * 100) for i in range(50_000))
    tracemalloc.start()
    try:
        write_csvs(open_store(tmp_path), outcomes)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert (tmp_path / FOLDER / "outcomes.csv").stat().st_size > 7e6
    assert peak < 4e6
