"""Laws of a TPE search: points of the space, nearer to what was good, the same from the same records."""

import math

from raycolor.tune.records import Trial
from raycolor.tune.space import parse_space
from raycolor.tune.tpe import TpeSampler

SPACE = parse_space(
    {"loss.lambda_pixel": {"loguniform": [1, 1000]}, "loss.adversarial": {"choice": ["lsgan", None, True]}}
)
OBJECTIVES = {"mse": "min", "colorfulness": "max"}


def ended(number, values, mse, colorfulness=1.0, status="finished"):
    row = {"epoch": 1.0, "val_mse": mse, "val_colorfulness": colorfulness}
    return Trial(number, values, {}, status, curve=(row,) if status == "finished" else ())


def test_points_lie_in_the_space_and_follow_from_the_records():
    """The same records and number give the same point, whoever asks; failed and running trials are understood."""
    known = []
    for number in range(14):
        sampler = TpeSampler(SPACE, OBJECTIVES, seed=5)
        values = sampler.ask(number, known)
        assert values == sampler.ask(number, known) == TpeSampler(SPACE, OBJECTIVES, seed=5).ask(number, known)
        assert 1 <= values["loss.lambda_pixel"] <= 1000
        assert values["loss.adversarial"] in ("lsgan", None, True)
        status = {3: "failed", 5: "running", 13: "waiting"}.get(number, "finished")
        known.append(ended(number, values, mse=number / 10, status=status))
    assert len({trial.values["loss.lambda_pixel"] for trial in known}) == 14


def test_it_learns():
    """After thirty trials that say lambda = 10 is best, draws are nearer to it than those of chance."""

    def loss(values):
        return (math.log10(values["loss.lambda_pixel"]) - 1) ** 2

    sampler, known = TpeSampler(SPACE, {"mse": "min"}, seed=0), []
    for number in range(40):
        values = sampler.ask(number, known)
        known.append(ended(number, values, loss(values)))
    late = [loss(trial.values) for trial in known[30:]]
    # Chance: the mean of (x - 1)^2 over x in [0, 3] is 1.
    assert sum(late) / len(late) < 0.25
