"""Laws of settings: their order, their refusals, and the one line that each error is."""

import pytest

from raycolor.config import ColorizeConfig, TrainConfig, load_config
from raycolor.errors import ConfigError


def write(tmp_path, text):
    """Write a settings file and return its path."""
    path = tmp_path / "job.yaml"
    path.write_text(text)
    return str(path)


def test_flags_win_over_the_file_and_set_over_flags(tmp_path):
    """Defaults, then the file, then flags, then --set."""
    file = write(tmp_path, "source: a\ndest: b\nsaturation: 0.5\njpeg_quality: 80\non_color: copy\n")
    config = load_config(
        ColorizeConfig, file=file, sets=["on_color=recolor"], flags={"jpeg_quality": 90, "on_color": "skip"}
    )
    assert (config.saturation, config.jpeg_quality, config.on_color, config.max_failed) == (0.5, 90, "recolor", "5%")


def test_dotted_settings_reach_inner_models_as_yaml_values():
    """--set optim.lr=1.0e-4 sets a number, network.x=true a flag."""
    sets = ["optim.lr=1.0e-4", "network.base=8", "network.norm=group"]
    config = load_config(TrainConfig, sets=sets, flags={"method": "gan", "data": "d", "out": "o"})
    assert (config.optim.lr, config.network) == (1e-4, {"base": 8, "norm": "group"})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("colour: true", r"job.yaml: unknown key colour: known are address, .*workers$"),
        ("saturation: -1", r"job.yaml: saturation = -1: input should be greater than or equal to 0"),
        ("on_color: maybe", r"job.yaml: on_color = \"maybe\": input should be 'skip', 'recolor' or 'copy'"),
        ("- a\n- b", r"job.yaml: must hold `key: value` lines, not list"),
        ("a: [", r"job.yaml: is not YAML"),
    ],
)
def test_a_bad_file_is_one_line_that_names_it(tmp_path, text, message):
    """The error names file, key, value and what is allowed, in one line."""
    with pytest.raises(ConfigError, match=message) as caught:
        load_config(ColorizeConfig, file=write(tmp_path, text), flags={"source": "a", "dest": "b"})
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("sets", "message"),
    [
        (["saturation"], "must read KEY=VALUE"),
        (["optim.lr=-1"], r"--set: optim.lr = -1: input should be greater than 0"),
        (["optim.momentum=1"], r"--set: unknown key optim.momentum: known are beta1, clip_norm, "),
        (["seed=1", "seed.x=2"], "seed is one value, not a group"),
    ],
)
def test_a_bad_set_is_one_line(sets, message):
    """--set is held to the same bounds as files and flags."""
    with pytest.raises(ConfigError, match=message):
        load_config(TrainConfig, sets=sets, flags={"method": "gan", "data": "d", "out": "o"})


def test_a_missing_argument_and_a_missing_file_are_named():
    """What is missing is named, with how to give it."""
    with pytest.raises(ConfigError, match="dest is missing: give it as an argument or in --config"):
        load_config(ColorizeConfig, flags={"source": "a"})
    with pytest.raises(ConfigError, match=r"nowhere.yaml: cannot be read \(No such file or directory\)"):
        load_config(ColorizeConfig, file="nowhere.yaml")


@pytest.mark.parametrize(("text", "pixels"), [("250MP", 250_000_000), ("1.5e6", 1_500_000), (7, 7)])
def test_pixels_are_read_as_people_write_them(text, pixels):
    """--max-pixels takes megapixels and plain numbers."""
    config = load_config(ColorizeConfig, flags={"source": "a", "dest": "b", "max_pixels": text})
    assert config.max_pixels == pixels


def test_identity_leaves_out_what_changes_no_byte():
    """A job may be continued on another cluster, with other workers and limits."""
    base = {"source": "a", "dest": "b"}
    one = load_config(ColorizeConfig, flags=base)
    other = load_config(ColorizeConfig, flags={**base, "workers": 3, "max_failed": "50%", "address": "auto"})
    assert one.identity() == other.identity()
    assert one.identity() != load_config(ColorizeConfig, flags={**base, "saturation": 1.1}).identity()
