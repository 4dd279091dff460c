"""Laws of the command line: help, exit codes, and one line per error."""

import subprocess
import sys
from pathlib import Path

import pytest

from raycolor import cli
from raycolor.colorize.config import ColorizeConfig
from raycolor.errors import CheckpointError, ConfigError

ROOT = Path(__file__).resolve().parent.parent


@pytest.mark.parametrize("name", cli.JOBS)
def test_help_of_every_command_names_its_arguments_and_flags(name, capsys):
    """`raycolor NAME --help` is complete and ends with 0; each flag has a text."""
    assert cli.run([name, "--help"]) == 0
    text = capsys.readouterr().out
    job = cli.JOBS[name]
    assert job.summary in text
    for argument in job.arguments:
        assert argument.upper() in text
    assert "--config" in text or "SWEEP.yaml" in text  # a sweep is a file of settings itself
    assert "--set" in text


def test_every_scalar_setting_is_a_flag(capsys):
    """A setting that stands in the model can be given on the command line; `--help-all` shows all of them."""
    assert cli.run(["colorize", "--help-all"]) == 0
    whole = capsys.readouterr().out
    cli.run(["colorize", "--help"])
    text = capsys.readouterr().out
    for field in ColorizeConfig.model_fields:
        if field not in ("source", "dest"):
            assert f"--{field.replace('_', '-')}" in whole
            assert (f"--{field.replace('_', '-')} " in text) == (field not in ("gpu_batch", "images_per_shard")), field


def test_no_command_shows_the_help(capsys):
    """`raycolor` alone says what there is, and that this was no job."""
    assert cli.run([]) == 2
    assert "colorize" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["colourise"], "No such command 'colourise'"),
        (["colorize", "a", "b", "--qualty", "3"], "No such option '--qualty'"),
        (["colorize", "a"], "dest is missing"),
        (["colorize", "a", "b", "--on-color", "maybe"], "input should be 'skip', 'recolor' or 'copy'"),
        (["colorize", "a", "b", "--max-pixels", "huge"], "max_pixels"),
        (["train", "gan", "--data", "d", "--out", "o", "--set", "optim.rate=1"], "unknown key optim.rate"),
    ],
)
def test_bad_usage_is_one_line_and_exit_code_2(arguments, message, capsys):
    """What was wrong, in one line, before anything is started."""
    assert cli.run(arguments) == cli.BAD_USAGE
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


@pytest.mark.parametrize(
    ("error", "code"),
    [(ConfigError("a\nb"), 2), (CheckpointError("broken"), 1), (KeyboardInterrupt(), 130)],
)
def test_errors_become_exit_codes(error, code, monkeypatch, capsys):
    """A user's error is 2, a failure 1, Ctrl-C 130; never a traceback."""

    def fail(config):
        raise error

    monkeypatch.setattr("raycolor.colorize.driver.run", fail)
    assert cli.run(["colorize", "a", "b"]) == code
    assert capsys.readouterr().err.strip().count("\n") == 0


@pytest.mark.parametrize("name", cli.JOBS)
def test_every_command_has_its_script(name):
    """`python jobs/NAME.py` takes the arguments of `raycolor NAME`, from any working directory."""
    script = ROOT / "jobs" / f"{name}.py"
    process = subprocess.run(
        [sys.executable, script, "--no-such-flag"], cwd="/", capture_output=True, text=True, timeout=120
    )
    assert process.returncode == 2
    assert "No such option '--no-such-flag'" in process.stderr


def test_every_script_is_a_command():
    """jobs/ holds one script per command and nothing else."""
    assert {path.stem for path in (ROOT / "jobs").glob("*.py")} == set(cli.JOBS)


def test_the_readme_names_every_command():
    """A command that the README does not mention is a command that nobody finds."""
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    for name in cli.JOBS:
        assert f"raycolor {name} " in readme
