"""Our networks as ONNX files: exported and imported again they give the same colors."""

import json
from pathlib import Path

import numpy as np
import onnx
import onnx_made
import pytest

from raycolor import codecs
from raycolor.cli import run
from raycolor.color.arrays import rgb_to_lab
from raycolor.colorizer.config import ColorizerConfig
from raycolor.colorizer.photograph import FileColorizer
from raycolor.models import checkpoints
from raycolor.models.card import METADATA_KEY

ROOT = Path(__file__).parents[2]
SIZES = {"autoencoder": [(224, 224)]}
PHOTOGRAPHS = {"default": 16, "accurate": 3}
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
    """For every shipped checkpoint, float32 against float32: of planes of several sizes, and in files of docs/sample.

    The card says at which size color comes, and imports check that it is true.
    """
    file, folder = tmp_path / "net.onnx", tmp_path / "net"
    assert run(["export", name, str(file)]) == 0
    assert run(["import", str(file), str(folder)]) == 0
    said = {prop.key: prop.value for prop in onnx.load(file).metadata_props}
    card = json.loads(said[METADATA_KEY])
    assert card["output"] == "ab"
    ours = FileColorizer(ColorizerConfig(checkpoint=name, precision="fp32"))
    theirs = FileColorizer(ColorizerConfig(checkpoint=str(folder)))
    for L in planes(name):
        one, other = ours.predict([L])[0], theirs.predict([L])[0]
        assert L.shape[0] == card["output_stride"] * other.ab.shape[0]
        assert one.ab.shape == other.ab.shape
        assert np.abs(one.ab - other.ab).mean() < MOST
        assert np.abs(one.ab).mean() > 0.5
        assert (one.confidence is None) == (other.confidence is None)
        assert one.confidence is None or one.confidence == pytest.approx(other.confidence, abs=1e-3)
    for path in sorted((ROOT / "docs" / "sample").glob("*.jpg"))[: PHOTOGRAPHS.get(name, 1)]:
        photograph = path.read_bytes()
        colors = [ab_of(one.colorize(photograph).data) for one in (ours, theirs)]
        assert np.abs(colors[0] - colors[1]).mean() < MOST, path
        assert np.abs(colors[0]).mean() > 1


def ab_of(data):
    """Return the colors of a file, in Lab units."""
    return rgb_to_lab(codecs.decode(data, max_pixels=10**7).pages[0] / 255)[..., 1:]


def test_a_card_that_says_another_size_of_the_answer_is_refused(tmp_path, capfd):
    """It answers as large a plane as it is given, and the card says half."""
    card = json.dumps({"name": "told", "output_stride": 2})
    onnx_made.network(tmp_path / "net.onnx", metadata=card)
    assert run(["import", str(tmp_path / "net.onnx"), str(tmp_path / "net")]) == 2
    assert "it answers 256 px to 256 px where the card says output_stride 2" in capfd.readouterr().err


def test_what_cannot_be_exported_is_one_line(tmp_path, capfd):
    """An address that is no file, a network of others, or a checkpoint that is not there."""
    assert run(["export", "gan", str(tmp_path / "net.pt")]) == 2
    assert "give a local file that ends in .onnx" in capfd.readouterr().err
    onnx_made.write_checkpoint(tmp_path / "theirs", onnx_made.network(tmp_path / "their.onnx").SerializeToString())
    assert run(["export", str(tmp_path / "theirs"), str(tmp_path / "net.onnx")]) == 1
    assert "its ONNX file is in the checkpoint already" in capfd.readouterr().err
    assert run(["export", "json:loads", str(tmp_path / "net.onnx")]) == 1
    assert "only raycolor's own can be exported" in capfd.readouterr().err
    assert not (tmp_path / "net.onnx").exists()
    assert run(["export", "nothing", str(tmp_path / "net.onnx")]) == 1
    assert "no such checkpoint" in capfd.readouterr().err
