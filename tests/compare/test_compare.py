"""Laws of `raycolor compare`: jobs side by side on one page, and nothing else written."""

import json

import photographs
import pytest

from raycolor import cli
from raycolor.colorize.job_record import JobRecord
from raycolor.colorize.manifest import write_manifest
from raycolor.colorize.outcomes import Outcome, write_outcomes
from raycolor.sources import open_source
from raycolor.storage import open_store


def made(tmp_path, name, count, seed, missing=()):
    """Write the records and outputs of a job over tmp_path/in, without a network."""
    source, dest = open_source(str(tmp_path / "in")), open_store(tmp_path / name)
    totals = write_manifest(dest, source.inputs(dest.uri), images_per_shard=100)
    outcomes = []
    for i in range(count):
        key = f"{i:03}.png"
        if key in missing:
            outcomes.append(Outcome(key, "failed", "empty"))
            continue
        dest.put(key, photographs.encoded(photographs.color_pixels(seed=seed * (i + 1)), "png"))
        outcomes.append(Outcome(key, "colorized", output_key=key, width=64, height=48))
    write_outcomes(dest, 0, outcomes)
    checkpoint = {"name": name, "method": "unet", "weights_sha256": "ab" * 32}
    JobRecord({"saturation": float(seed)}, checkpoint, source.uri, {}, "1", totals, "now", root=source.root).write(dest)


@pytest.fixture
def jobs(tmp_path):
    """Two jobs over the same thirty photographs, one of which failed in the second."""
    for i in range(30):
        photographs.write_all(
            tmp_path / "in", {f"{i:03}.png": photographs.encoded(photographs.gray_pixels(seed=i), "png")}
        )
    made(tmp_path, "one", 30, 1)
    made(tmp_path, "two", 30, 2, missing={"003.png"})
    return [str(tmp_path / "one"), str(tmp_path / "two")]


def compare(jobs, page, *flags):
    return cli.run(["compare", *jobs, "--page", str(page), *flags])


def test_a_page_shows_what_is_in_all_jobs_and_changes_nothing(jobs, tmp_path):
    """Original and both outputs of each; how the jobs differ; no request for anything else."""
    before = photographs.tree(tmp_path)
    assert compare(jobs, tmp_path / "page.html") == 0
    html = (tmp_path / "page.html").read_text()
    assert html.count("<article>") == 29
    assert html.count("data:image/jpeg") == 3 * 29
    assert "003.png" not in html
    assert "saturation: 2.0" in html
    assert not any(f'{attribute}="http' in html for attribute in ("src", "href"))
    after = photographs.tree(tmp_path)
    del after["page.html"]
    assert after == before


def test_of_many_a_sample_is_shown(jobs, tmp_path):
    """As many as asked for, the same ones each time, others with another seed; globs choose, whatever their case."""
    pages = []
    for name, flags in (("a", ()), ("b", ()), ("c", ("--seed", "1"))):
        assert compare(jobs, tmp_path / f"{name}.html", "--photographs", "5", *flags) == 0
        pages.append((tmp_path / f"{name}.html").read_text())
    assert pages[0].count("<article>") == 5
    assert pages[0] == pages[1] != pages[2]
    assert "5 of the 29 photographs" in pages[0]
    assert compare(jobs, tmp_path / "d.html", "--include", "00*.PNG") == 0
    assert (tmp_path / "d.html").read_text().count("<article>") == 9


def test_a_comparison_replaces_only_a_comparison(jobs, tmp_path, capsys):
    """A page of its own is written anew; a file of somebody else stays."""
    (tmp_path / "mine.html").write_text("<p>mine")
    assert compare(jobs, tmp_path / "mine.html") == 2
    assert "a file that is no comparison exists there" in capsys.readouterr().err
    assert (tmp_path / "mine.html").read_text() == "<p>mine"
    for _ in range(2):
        assert compare(jobs, tmp_path / "page.html") == 0


def test_what_cannot_be_compared_is_told(jobs, tmp_path, capsys):
    """A folder without a job, one job alone, none in common: one line."""
    assert compare([jobs[0], str(tmp_path / "in")], tmp_path / "p.html") == 2
    assert "holds no job of `raycolor colorize`" in capsys.readouterr().err
    assert compare(jobs[:1], tmp_path / "p.html") == 2
    assert compare(jobs, tmp_path / "p.html", "--include", "nothing*") == 2
    assert "no photograph was colorized in all" in capsys.readouterr().err
    assert not (tmp_path / "p.html").exists()


def test_a_photograph_that_has_gone_is_left_out(jobs, tmp_path, caplog):
    """The page is a view: it says how many are missing."""
    (tmp_path / "in" / "001.png").unlink()
    assert compare(jobs, tmp_path / "page.html") == 0
    assert "1 could not be read" in (tmp_path / "page.html").read_text()
    assert json.loads((tmp_path / "one" / "_raycolor" / "job.json").read_text())["round"] is None
