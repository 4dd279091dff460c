"""What can be refused without Ray is: a mistake costs a user no start of a cluster."""

from pathlib import Path

import labset
import pytest

from raycolor import cli
from raycolor.cluster import session
from raycolor.train.config import TrainConfig
from raycolor.train.run_folder import check, claim

SMALL = {"batch_size": 2, "crop_px": 32}
SMOKE = Path(__file__).parents[1] / "tune_configs" / "smoke.yaml"


@pytest.fixture(scope="module")
def places(tmp_path_factory):
    """A folder with a dataset, one without photographs to train on, a checkpoint and a folder of text."""
    root = tmp_path_factory.mktemp("places")
    labset.write_dataset_of(root / "scenes")
    labset.write_dataset_of(root / "people", train=0)
    labset.write_checkpoint(root / "one")
    claim(check(TrainConfig(method="regression", data=str(root / "scenes"), out=str(root / "run"), **SMALL)), 1)
    (root / "texts").mkdir()
    (root / "texts" / "a.txt").write_text("no photograph")
    return root


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("prepare nowhere out", "nowhere: no such folder"),
        ("prepare texts scenes", "scenes: holds a dataset already"),
        ("prepare texts out", "texts: no photograph could be used (0 bad; 0 dropped; 1 other files)"),
        ("train regression --data nowhere --out r", "nowhere: no such folder"),
        ("train regression --data scenes --out r --set network.foo=1", "network regression: unknown key 'foo'"),
        (
            "train regression --data scenes --out r --batch-size 2 --crop-px 64",
            "crop_px = 64: the dataset stores squares of 40 px",
        ),
        ("train regression --data scenes --out r --set init_from=nowhere", "nowhere: no such checkpoint"),
        (
            "train regression --data scenes --out run --batch-size 2 --crop-px 32 --epochs 3",
            "holds a training with other settings (epochs: 10, now 3)",
        ),
        ("evaluate none --data scenes --out r", "none: no such checkpoint"),
        ("evaluate one --data nowhere --out r", "nowhere: no such folder"),
        ("evaluate one --data one --out r", "one: not a dataset"),
        ("evaluate one --data people --out r", "no photographs in train, whose mean is the floor"),
        ("evaluate one --data scenes --out r --network-size 96", "stores squares of 40 px"),
        (f"tune {SMOKE} --data nowhere --out r", "nowhere: no such folder"),
        (f"tune {SMOKE} --data scenes --out r --set base.network.foo=1", "unknown key 'foo'"),
    ],
)
def test_mistakes_are_found_before_ray_starts(command, message, places, capsys, monkeypatch):
    """One line, and nobody has asked for a cluster."""

    def connect(*args, **options):
        raise AssertionError("Ray was started")

    monkeypatch.setattr(session, "connect", connect)
    monkeypatch.chdir(places)
    assert cli.run(command.split()) in (1, 2)
    said = [line for line in capsys.readouterr().err.splitlines() if line.startswith("raycolor: ")]
    assert len(said) == 1
    assert message in said[0]
