"""Laws of `raycolor init`: everything named is there, and nothing of the user's is touched."""

import tomllib
from pathlib import Path

import pytest

from raycolor import cli
from raycolor.starter.write import EXAMPLES

ROOT = Path(__file__).resolve().parents[2]


def test_init_writes_the_examples_and_touches_nothing(tmp_path, capsys):
    """The files of the repository, byte for byte; what is there already stays."""
    mine = tmp_path / "tune_configs/smoke.yaml"
    mine.parent.mkdir()
    mine.write_text("mine")
    assert cli.run(["init", str(tmp_path)]) == 0
    assert mine.read_text() == "mine"
    assert "1 left as they were" in capsys.readouterr().err
    for name in ("jobs/colorize.py", "cluster.yaml", "docs/grafana.json", "docs/aws/setup.py"):
        assert (tmp_path / name).read_bytes() == (ROOT / name).read_bytes()
    assert len(list((tmp_path / "docs/sample").iterdir())) == len(list((ROOT / "docs/sample").iterdir()))


def test_a_folder_that_cannot_be_is_one_line(tmp_path, capsys):
    """A file where the folder should be: exit code 2."""
    (tmp_path / "file").write_text("")
    assert cli.run(["init", str(tmp_path / "file")]) == 2
    assert capsys.readouterr().err.count("\n") == 1


@pytest.mark.parametrize("name", EXAMPLES)
def test_the_wheel_takes_along_what_init_writes(name):
    """The list in pyproject.toml is the one that `init` goes through."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    taken = project["tool"]["hatch"]["build"]["targets"]["wheel"]["force-include"]
    assert taken[name] == f"raycolor/examples/{name}"
    assert set(taken) == set(EXAMPLES)
