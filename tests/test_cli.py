"""Laws of the command line: help, exit codes, and one line per error."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from raycolor import cli
from raycolor.config import Group
from raycolor.errors import CheckpointError, ConfigError
from raycolor.flags import is_group
from raycolor.models.checkpoints import shipped_names
from raycolor.train.config import TrainConfig

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


def _inside(group):
    """Return the flags that the help shows under a heading."""
    return {f"--{word}" for line in group for word in re.findall(r"^  --([a-z0-9-]+)", line)}


def _sections(text):
    """Return heading -> its lines."""
    parts = re.split(r"^(\S.*):$", text, flags=re.MULTILINE)
    return dict(zip(parts[1::2], (part.splitlines() for part in parts[2::2]), strict=True))


@pytest.mark.parametrize("name", cli.JOBS)
def test_every_scalar_setting_is_a_flag_under_its_group(name, capsys):
    """A setting of the model is a flag under the heading that the model names; only `--help-all` shows rare ones."""
    model = cli.cli.get_command(None, name).model
    assert cli.run([name, "--help-all"]) == 0
    whole = _sections(capsys.readouterr().out)
    cli.run([name, "--help"])
    first = _sections(capsys.readouterr().out)
    assert "Advanced" not in first
    for field, info in model.model_fields.items():
        if field in cli.JOBS[name].arguments or is_group(info):
            continue
        flags = {"--" + (info.alias or field).replace("_", "-")}
        flags |= {"--no-" + flag[2:] for flag in flags}
        group = model.group_of(field)
        assert flags & _inside(whole[group]), field
        assert bool(flags & _inside(first.get(group, []))) == (group is not Group.ADVANCED), field


def test_the_first_page_of_colorize_is_short(capsys):
    """What a new user reads first has the groups of the issue, and a page of flags."""
    cli.run(["colorize", "--help"])
    text = capsys.readouterr().out
    sections = _sections(text)
    assert list(sections)[:4] == ["Selection", "Look", "Files", "Cluster"]
    assert sum(len(_inside(lines)) for lines in sections.values()) <= 27
    assert "raycolor colorize --help-all" in text


def test_dotted_settings_are_in_the_help_with_default_and_meaning(capsys):
    """`train --help` shows every setting that has no flag; there is nothing to look up elsewhere."""
    cli.run(["train", "--help-all"])
    text = " ".join(capsys.readouterr().out.split())
    for inner in ("optim", "loss", "augment"):
        for key, info in TrainConfig.model_fields[inner].annotation.model_fields.items():
            assert f" {inner}.{key} {info.description.split()[0]}" in text
            if info.default not in (None, False):
                assert f"[default: {info.default}]" in text


@pytest.mark.parametrize(
    ("arguments", "keys"),
    [
        (
            ["colorize", "a", "b", "--saturation", "1.2", "--include", "*.jpg"],
            {"saturation": 1.2, "include": ["*.jpg"]},
        ),
        (["train", "gan", "--data", "d", "--out", "o", "--set", "optim.lr=1e-5"], {"epochs": 10}),
        (["plan", "a", "--json", "p.json"], {"json": "p.json"}),
        (["tune", "tune_configs/smoke.yaml", "--data", "d", "--out", "o"], {"trials": 4}),
        *[
            ([name, *("xyz"[: len(job.arguments)])], {})
            for name, job in cli.JOBS.items()
            if name not in ("tune", "train")
        ],
    ],
)
def test_the_printed_settings_are_what_config_takes(arguments, keys, capsys, tmp_path, monkeypatch):
    """`--print-config` prints the whole resolved file: `--config` takes it, and prints the same again."""
    monkeypatch.chdir(ROOT)
    assert cli.run([*arguments, "--print-config"]) == 0
    first = capsys.readouterr().out
    assert keys.items() <= yaml.safe_load(first).items()
    (tmp_path / "c.yaml").write_text(first)
    again = [arguments[0], *([] if arguments[0] == "tune" else ["--config"]), str(tmp_path / "c.yaml")]
    assert cli.run([*again, "--print-config"]) == 0
    assert capsys.readouterr().out == first


def test_places_that_nobody_named_are_comments_in_the_printed_settings(capsys):
    """A template needs no SOURCE: the file says what to fill in."""
    assert cli.run(["colorize", "--print-config"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(":")[0] for line in lines if line.startswith("#")] == ["# source", "# dest"]


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
        (["train", "gan", "--data", "d", "--out", "o", "--lr", "1"], "write --set optim.lr=VALUE"),
        (["train", "gan", "--data", "d", "--out", "o", "--lambda-pixel", "1"], "write --set loss.lambda_pixel=VALUE"),
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


SCRIPTS = [name for name, job in cli.JOBS.items() if job.script]


@pytest.mark.parametrize("name", SCRIPTS)
def test_every_command_has_its_script(name):
    """`python jobs/NAME.py` takes the arguments of `raycolor NAME`, from any working directory."""
    script = ROOT / "jobs" / f"{name}.py"
    process = subprocess.run(
        [sys.executable, script, "--no-such-flag"], cwd="/", capture_output=True, text=True, timeout=120
    )
    assert process.returncode == 2
    assert "No such option '--no-such-flag'" in process.stderr


def test_every_script_is_a_command():
    """jobs/ holds one script per command that a cluster runs, and nothing else."""
    assert {path.stem for path in (ROOT / "jobs").glob("*.py")} == set(SCRIPTS)


def test_the_readme_names_every_command():
    """A command that the README does not mention is a command that nobody finds."""
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    for name in cli.JOBS:
        assert f"raycolor {name} " in readme


def test_the_help_of_checkpoint_names_all_that_ship(capsys):
    """Each with what it is for."""
    cli.run(["colorize", "--help"])
    text = " ".join(capsys.readouterr().out.split())
    described = text[text.index("--checkpoint TEXT") : text.index("--tta")]
    assert all(f"{name}" in described for name in shipped_names())
