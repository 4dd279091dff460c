"""Laws of the run folder: which training may go on in it."""

import json
import logging

import labset
import pytest

from raycolor.errors import ConfigError
from raycolor.train.config import TrainConfig
from raycolor.train.run_folder import check, claim


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("lab")
    labset.write_dataset_of(folder, train=8)
    return folder


def settings_of(data, run, *, workers=1, claimed=None, **more):
    """Claim a run folder as `raycolor train gan` does."""
    network = {**labset.NETWORK, "discriminator": {"base": 8, "layers": 1}}
    config = TrainConfig(method="gan", data=str(data), out=str(run), batch_size=4, crop_px=32, network=network, **more)
    return claim(check(config), workers, **(claimed or {}))


def test_another_number_of_workers_goes_on_and_is_written_down(tmp_path, data):
    """run.json says how many there were before; over a finished run it says nothing new, and one process without Ray
    does not take over what several began."""
    settings_of(data, tmp_path, epochs=10, workers=2)
    fewer = settings_of(data, tmp_path, epochs=10)
    assert (fewer["workers"], fewer["workers_before"]) == (1, [2])
    again = settings_of(data, tmp_path, epochs=10, workers=2)
    assert (again["workers"], again["workers_before"]) == (2, [2, 1])
    assert json.loads((tmp_path / "run.json").read_text())["settings"] == again
    with pytest.raises(ConfigError, match="holds a training by 2 workers: go on with it on Ray"):
        settings_of(data, tmp_path, epochs=10, claimed={"may_differ": False})
    (tmp_path / "curve.csv").write_text("epoch\n" + "".join(f"{epoch}\n" for epoch in range(1, 11)))
    before = (tmp_path / "run.json").read_bytes()
    assert settings_of(data, tmp_path, epochs=10)["workers"] == 2
    assert (tmp_path / "run.json").read_bytes() == before


def test_more_epochs_extend_a_run_and_say_the_schedule(tmp_path, data, caplog):
    """Over a run of ten, `--epochs 20` goes on: run.json keeps that it was ten, and the log says what the rate does."""
    settings_of(data, tmp_path, epochs=10)
    (tmp_path / "curve.csv").write_text("epoch\n" + "".join(f"{epoch}\n" for epoch in range(1, 11)))
    with caplog.at_level(logging.INFO):
        longer = settings_of(data, tmp_path, epochs=20)
    assert (longer["epochs"], longer["extended"]) == (20, [10])
    assert "after epoch 10, now to 20: the onecycle schedule is that of 20 epochs" in caplog.text
    assert "goes on at 75% of its peak" in caplog.text
    assert (
        settings_of(data, tmp_path, epochs=20) == longer == json.loads((tmp_path / "run.json").read_text())["settings"]
    )


@pytest.mark.parametrize(
    ("more", "message"),
    [({"epochs": 5}, "epochs: 10, now 5"), ({"epochs": 20, "seed": 1}, "epochs: 10, now 20, seed: 0, now 1")],
)
def test_fewer_epochs_and_other_settings_are_refused(tmp_path, data, more, message):
    """A run folder belongs to one training: what differs is named, and run.json stays as it was."""
    settings_of(data, tmp_path, epochs=10)
    before = (tmp_path / "run.json").read_bytes()
    with pytest.raises(ConfigError, match=message):
        settings_of(data, tmp_path, **more)
    assert (tmp_path / "run.json").read_bytes() == before
