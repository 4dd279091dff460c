"""Laws of settings: their order, their refusals, and the one line that each error is."""

import pytest

from raycolor import Colorizer
from raycolor.colorize.config import ColorizeConfig
from raycolor.config import load_config
from raycolor.errors import ConfigError
from raycolor.evaluate.config import EvaluateConfig
from raycolor.prepare.config import PrepareConfig
from raycolor.storage import open_store
from raycolor.train.config import TrainConfig
from raycolor.training.config import OptimConfig


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
        ("colour: true", r"job.yaml: unknown key colour: known are add_new, address, .*workers$"),
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


@pytest.mark.parametrize(
    "url",
    [
        "https://me:s3cret@store:9000", "https://s3cret@store", "me:s3cret@store:9000", "https://me:s?3cret@store",
        "https://store/?token=s3cret", "https://me:s#3cret@store", "https://me:@s3cret@store",
    ],
)  # fmt: skip
def test_credentials_in_an_address_are_refused_and_not_repeated(url, tmp_path, monkeypatch):
    """As a flag, in a file, by --set, for a store of Python and in the environment: one line, without the secret."""
    (tmp_path / "c.yaml").write_text(f'endpoint_url: "{url}"')
    places = {"source": "a", "dest": "b"}
    ways = [
        lambda: load_config(ColorizeConfig, flags={**places, "endpoint_url": url}),
        lambda: load_config(ColorizeConfig, file=str(tmp_path / "c.yaml"), flags=places),
        lambda: load_config(ColorizeConfig, sets=[f"endpoint_url='{url}'"], flags=places),
        lambda: open_store("s3://bucket", endpoint_url=url),
        lambda: monkeypatch.setenv("AWS_ENDPOINT_URL", url) or next(iter(open_store("s3://bucket").list())),
    ]
    for way in ways:
        with pytest.raises(ConfigError, match=r"holds credentials .*: give the address alone") as caught:
            way()
        assert "3cret" not in str(caught.value)
        assert "\n" not in str(caught.value)


def test_an_address_without_credentials_is_taken():
    """A port, a path and a number for a host are no credentials."""
    for url in ("https://store:9000/path", "http://[::1]:8333", "http://127.0.0.1:8333"):
        assert ColorizeConfig(source="a", dest="b", endpoint_url=url).endpoint_url == url


def _aliases(levels: int = 30) -> str:
    """Return settings of a kilobyte that name a billion values."""
    lines = ["a0: &a0 [x, x]"]
    lines += [f"a{i}: &a{i} [*a{i - 1}, *a{i - 1}]" for i in range(1, levels)]
    return "\n".join(lines)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (_aliases(), r"job.yaml: alias \*a0: write the value out"),
        ("include: " + "[" * 5000, "job.yaml: more than 50 settings inside one another"),
        ("x: y\n" * 60_000, r"job.yaml: over 256,000 bytes: is it a settings file\?"),
        ("workers: " + "9" * 5000, "job.yaml: 9{199}…: must have at most 18 digits"),
        ("workers: 100000000000000000000", "job.yaml: 100000000000000000000: must have at most 18 digits"),
        ("workers: 10000000000000000", "job.yaml: workers = 10000000000000000: must be at most 1,000,000,000,000,000"),
        ("saturation: .inf", r"job.yaml: \.inf: must be a finite number"),
        ("saturation: .nan", r"job.yaml: \.nan: must be a finite number"),
        ("image_timeout_s: 1.0e+400", r"job.yaml: 1.0e\+400: must be a finite number"),
        ("max_pixels: infMP", 'job.yaml: max_pixels = "infMP": must be a number such as 250MP'),
        ("image_timeout_s: inf", 'job.yaml: image_timeout_s = "inf": input should be a finite number'),
        ("since: 2026-99-99", "job.yaml: is not YAML: month must be in 1..12"),
        ('"a\\nb": 1', "job.yaml: unknown key a b: known are"),
    ],
)
def test_settings_cost_no_more_than_their_size(tmp_path, text, message):
    """Aliases, depth, length and numbers that no machine holds are refused in one line, before they cost anything."""
    with pytest.raises(ConfigError, match=message) as caught:
        load_config(ColorizeConfig, file=write(tmp_path, text), flags={"source": "a", "dest": "b"})
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize("setting", ["saturation=.inf", "max_pixels=1e999", "workers=100000000000000000000", "tta=*a"])
def test_set_and_flags_are_held_to_the_same(setting):
    """--set takes no more than a file does."""
    with pytest.raises(ConfigError, match="--set") as caught:
        load_config(ColorizeConfig, sets=[setting], flags={"source": "a", "dest": "b"})
    assert len(str(caught.value).splitlines()) == 1
    with pytest.raises(ConfigError, match=r"--workers: workers = 1000000.*: must be at most"):
        load_config(ColorizeConfig, flags={"source": "a", "dest": "b", "workers": 10**20})


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: TrainConfig(method="gan", data="d", out="o", lr=1),
            r"TrainConfig: unknown key lr: known are address, ",
        ),
        (
            lambda: TrainConfig(method="gan", data="d", out="o", optim={"lr": -1}),
            r"TrainConfig: optim\.lr = -1: input ",
        ),
        (lambda: TrainConfig(method="gan", data="d"), r"TrainConfig: out is missing$"),
        (lambda: EvaluateConfig(checkpoint=[], data="d", out="o"), r"EvaluateConfig: checkpoint = \[\]: "),
        (
            lambda: PrepareConfig(source="s", dataset="d", train=-1),
            r"PrepareConfig: train = -1: input should be greater",
        ),
        (lambda: Colorizer(saturate=1), r"Colorizer: unknown key saturate: known are "),
        (lambda: OptimConfig(lr="fast"), r"OptimConfig: lr = \"fast\": input should be a valid number"),
    ],
)
def test_mistakes_in_python_are_one_line(make, message):
    """A configuration made in Python says what is wrong as the commands do: which model, which key, which value."""
    with pytest.raises(ConfigError, match=message) as caught:
        make()
    assert "\n" not in str(caught.value)
