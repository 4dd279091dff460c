"""Our networks as ONNX files: exported and imported again they give the same colors."""

import json

import numpy as np
import onnx
import pytest

from raycolor.cli import run
from raycolor.colorizer.config import ColorizerConfig
from raycolor.colorizer.predict import Predictor
from raycolor.models import checkpoints
from raycolor.models.card import METADATA_KEY

SIZES = {"autoencoder": [(224, 224)]}
MOST = 0.05  # Lab units of mean |Δab|: float32 in another order of sums


def planes(name):
    """Return smooth lightness planes of sizes that the network takes."""
    rng = np.random.default_rng(7)
    made = []
    for height, width in SIZES.get(name, [(128, 192), (64, 64)]):
        coarse = rng.uniform(0, 100, (height // 16, width // 16))
        made.append(np.kron(coarse, np.ones((16, 16))).astype(np.float32))
    return made


@pytest.mark.parametrize(
    "name",
    [name if name == "gan" else pytest.param(name, marks=pytest.mark.slow) for name in checkpoints.shipped_names()],
)
def test_an_export_gives_the_same_colors(tmp_path, name):
    """For every shipped checkpoint, float32 against float32, at several sizes where it takes them; and confidence."""
    file, folder = tmp_path / "net.onnx", tmp_path / "net"
    assert run(["export", name, str(file)]) == 0
    assert run(["import", str(file), str(folder)]) == 0
    said = {prop.key: prop.value for prop in onnx.load(file).metadata_props}
    assert json.loads(said[METADATA_KEY])["output"] == "ab"
    ours = Predictor(ColorizerConfig(checkpoint=name, precision="fp32"))
    theirs = Predictor(ColorizerConfig(checkpoint=str(folder)))
    for L in planes(name):
        one, other = ours.predict([L])[0], theirs.predict([L])[0]
        ab = other.ab
        if one.ab.shape != ab.shape:  # ours leaves the last doubling to whoever enlarges
            ab = ab.reshape(one.ab.shape[0], 2, one.ab.shape[1], 2, 2).mean(axis=(1, 3))
            kernel = np.pad(one.ab, ((1, 1), (1, 1), (0, 0)), mode="edge")
            # Bilinear doubling and averaging by two is 1-6-1 over 8 in both directions.
            rows = (kernel[:-2] + 6 * kernel[1:-1] + kernel[2:]) / 8
            expected = (rows[:, :-2] + 6 * rows[:, 1:-1] + rows[:, 2:]) / 8
        else:
            expected = one.ab
        assert np.abs(expected - ab).mean() < MOST
        assert np.abs(expected).mean() > 0.5
        assert (one.confidence is None) == (other.confidence is None)
        assert one.confidence is None or one.confidence == pytest.approx(other.confidence, abs=1e-3)


def test_what_cannot_be_exported_is_one_line(tmp_path, capfd):
    """An address that is no file, or a checkpoint that is not there."""
    assert run(["export", "gan", str(tmp_path / "net.pt")]) == 2
    assert "give a local file that ends in .onnx" in capfd.readouterr().err
    assert run(["export", "nothing", str(tmp_path / "net.onnx")]) == 1
    assert "no such checkpoint" in capfd.readouterr().err
