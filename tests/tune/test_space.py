"""Laws of a sweep's space: what it refuses, and what it draws."""

import math

import pytest

from raycolor.errors import ConfigError
from raycolor.tune.space import corners, count_points, draw, parse_space, put_dotted

SPACE = {
    "loss.lambda_pixel": {"loguniform": [1, 1000]},
    "optim": {"lr": {"uniform": [0.1, 0.2]}},
    "loss.adversarial": {"choice": ["lsgan", "minimax"]},
    "network.bottleneck": {"grid": [16, 64, 256]},
}


def test_groups_and_dotted_keys_are_the_same():
    """A space nested like a configuration is the space of its dotted keys."""
    nested = parse_space({"optim": {"lr": {"uniform": [0.1, 0.2]}, "ema": {"choice": [0, 0.9]}}})
    assert nested == parse_space({"optim.lr": {"uniform": [0.1, 0.2]}, "optim.ema": {"choice": [0, 0.9]}})


@pytest.mark.parametrize(
    ("space", "message"),
    [
        ({}, r"space is empty: name at least one key"),
        ({"a": {"lognormal": [1, 2]}}, r"space\.a: unknown distribution 'lognormal': known are uniform, loguniform"),
        ({"a": {"x": {"normal": [1, 2]}}}, r"space\.a\.x: unknown distribution 'normal'"),
        ({"a": 3}, r"space\.a = 3: must be \{KIND: values\}"),
        ({"a": {}}, r"space\.a = \{\}: must be"),
        ({"a": {"uniform": [2, 1]}}, r"space\.a\.uniform = \[2, 1\]: the first bound must be below the second"),
        ({"a": {"uniform": [1]}}, r"must be \[lowest, highest\]"),
        ({"a": {"uniform": [1, "x"]}}, r"'x' is not a number"),
        ({"a": {"uniform": [0, True]}}, r"True is not a number"),
        ({"a": {"uniform": [0, float("inf")]}}, r"inf is not a number"),
        ({"a": {"loguniform": [0, 1]}}, r"a logarithmic scale needs bounds above 0"),
        ({"a": {"choice": []}}, r"must be a list that is not empty"),
        ({"a": {"choice": "abc"}}, r"must be a list that is not empty"),
        ({"a": {"choice": [1, 1]}}, r"a value is repeated"),
        ({"a": {"choice": [[1], [2]]}}, r"space\.a\.choice"),
        ({"a": {"choice": [1], "grid": [2]}}, r"give one of uniform, loguniform, choice, grid alone"),
        ({"a": {"choice": [1]}, "a.b": {"choice": [2]}}, r"space\.a: is one value, and a\.b is inside it"),
        ({"a.b": {"choice": [1]}, "a": {"b": {"choice": [2]}}}, r"space\.a\.b: named twice"),
    ],
)
def test_what_makes_no_space_is_one_line(space, message):
    """Every mistake in a space is refused by its key."""
    with pytest.raises(ConfigError, match=message):
        parse_space(space)


def test_numbers_that_yaml_reads_as_words_are_numbers():
    """YAML 1.1 reads 1e-5 as a word; as a bound it is the number that was meant."""
    (one,) = parse_space({"lr": {"loguniform": ["1e-5", 1e-3]}})
    assert one.values == (1e-5, 1e-3)


def test_draws_depend_on_seed_and_number_alone():
    """A longer sweep, or one with its keys in another order, draws the same points."""
    space = parse_space(SPACE)
    points = [draw(space, "random", 3, number) for number in range(12)]
    assert points == [draw(space[::-1], "random", 3, number) for number in range(12)]
    assert points != [draw(space, "random", 4, number) for number in range(12)]
    assert len({point["loss.lambda_pixel"] for point in points}) == 12


def test_random_draws_keep_to_bounds_and_fill_them():
    """A log-uniform draw has as many points in each decade; grid dimensions get each value equally often."""
    space = parse_space(SPACE)
    points = [draw(space, "random", 0, number) for number in range(600)]
    values = [point["loss.lambda_pixel"] for point in points]
    assert all(1 <= value <= 1000 for value in values)
    decades = [sum(int(math.log10(value)) == decade for value in values) for decade in range(3)]
    # 600 draws: 200 expected in each decade, standard deviation 11.5; four of them.
    assert all(154 < count < 246 for count in decades)
    assert all(0.1 <= point["optim.lr"] <= 0.2 for point in points)
    for size in (16, 64, 256):
        assert sum(point["network.bottleneck"] == size for point in points) == 200
    assert all(value == float(f"{value:.6g}") for value in values)


def test_a_grid_is_every_point_once():
    """A grid search tries every combination, and says so when it is told another number."""
    space = parse_space({"a": {"grid": [1, 2, 3]}, "b": {"choice": ["x", "y"]}})
    assert count_points(space, "grid", None) == count_points(space, "grid", 6) == 6
    points = {tuple(draw(space, "grid", 0, number).values()) for number in range(6)}
    assert points == {(a, b) for a in (1, 2, 3) for b in ("x", "y")}
    with pytest.raises(ConfigError, match="trials = 4: the grid has 6 points"):
        count_points(space, "grid", 4)
    with pytest.raises(ConfigError, match=r"search = grid: space\.optim\.lr is uniform: give it as grid or choice"):
        count_points(parse_space({"optim.lr": {"uniform": [1, 2]}}), "grid", None)
    with pytest.raises(ConfigError, match="the space has 1,000,000 points"):
        count_points(parse_space({key: {"grid": list(range(100))} for key in "abc"}), "grid", None)


def test_corners_hold_every_bound_and_value():
    """Checking the corners checks every bound and every value at least once."""
    space = parse_space(SPACE)
    found = corners(space)
    for one in space:
        assert {point[one.key] for point in found} == set(one.values)
        assert all(set(point) == set(SPACE) - {"optim"} | {"optim.lr"} for point in found)


def test_dotted_keys_are_set_inside_groups():
    """Groups are made as needed; a value is not turned into a group."""
    settings = {"optim": {"lr": 1}}
    put_dotted(settings, "optim.ema", 0.9)
    put_dotted(settings, "network.discriminator.base", 8)
    assert settings == {"optim": {"lr": 1, "ema": 0.9}, "network": {"discriminator": {"base": 8}}}
    with pytest.raises(ConfigError, match=r"space\.optim\.lr\.x: lr is one value in base"):
        put_dotted(settings, "optim.lr.x", 1)
