"""Importing networks of others: what is refused, in which words, and that hostile files reach nothing."""

import json

import onnx
import pytest
import yaml
from onnx import TensorProto, helper, numpy_helper
from onnx_made import endless, network

from raycolor.cli import run
from raycolor.errors import CheckpointError
from raycolor.models import checkpoints
from raycolor.models.onnx_file import open_session


@pytest.fixture
def attempt(tmp_path, capfd):
    """Import `net.onnx` with a card; gives the exit code and what was said."""

    def go(card=None, *flags):
        if isinstance(card, dict):
            (tmp_path / "card.yaml").write_text(yaml.safe_dump({"name": "mine", **card}))
            card = str(tmp_path / "card.yaml")
        given = [] if card is None else ["--card", card]
        code = run(["import", str(tmp_path / "net.onnx"), str(tmp_path / "net"), *given, *flags])
        said = capfd.readouterr().err
        assert code == 0 or not (tmp_path / "net").exists()
        assert "Traceback" not in said
        return code, said

    return go


def test_a_published_network_becomes_a_checkpoint(tmp_path, attempt):
    """With its card, hash, license, source and citation; sizes that the file fixes are taken from it."""
    network(tmp_path / "net.onnx", channels=3, side=64)
    code, said = attempt("ddcolor")
    assert code == 0
    assert "Apache-2.0" in said
    loaded = checkpoints.load(tmp_path / "net")
    assert loaded.data == (tmp_path / "net.onnx").read_bytes()
    assert (loaded.method, loaded.card.size.fixed_px, loaded.card.input) == ("onnx", 64, "gray")
    assert "Kang" in loaded.card.citation
    assert json.loads((tmp_path / "net" / "checkpoint.json").read_text())["weights"]["sha256"] == loaded.weights_sha256


def test_the_card_in_the_file_is_read(tmp_path, attempt):
    """As JSON in its metadata; `--card` wins over it."""
    network(tmp_path / "net.onnx", metadata=json.dumps({"name": "told", "offset": -50.0}))
    assert attempt()[0] == 0
    assert checkpoints.load(tmp_path / "net").card.offset == -50
    assert attempt("eccv16")[0] == 0
    assert checkpoints.load(tmp_path / "net").card.name == "eccv16"


def test_without_a_card_those_that_fit_are_proposed(tmp_path, attempt):
    """By inputs, sizes and outputs: three channels in and two out may be DDColor, three out DeOldify."""
    network(tmp_path / "net.onnx", channels=3)
    code, said = attempt()
    assert code == 2
    assert "--card ddcolor or --card colorformer" in said
    network(tmp_path / "net.onnx", channels=3, outputs=3)
    assert "--card deoldify or --card deoldify-255" in attempt()[1]


@pytest.mark.parametrize(
    ("made", "card", "words"),
    [
        ({"channels": 3}, "eccv16", "'input' is (1, 3, ?, ?), not (B, 1, H, W): try --card ddcolor"),
        ({"outputs": 3}, "eccv16", "'output' is (1, 3, ?, ?), not ab"),
        ({"gain": 0.0}, "eccv16", "the same whatever the photograph"),
        ({"gain": 0.001, "bias": 0.0}, "eccv16", "Lab units, -110 to 110: gray"),
        ({"gain": 100.0}, "eccv16", "where the card says ab in Lab units"),
        ({"bias": float("nan")}, "eccv16", "answers NaN"),
        ({"channels": 3, "outputs": 3, "gain": 100.0}, "deoldify", "RGB of 0 to 1: try --card deoldify-255"),
        ({"channels": 3, "outputs": 3, "gain": 0.004}, "deoldify-255", "black: try --card deoldify"),
        ({"side": 64}, {"size": {"fixed_px": 128}}, "it takes 64x64 px only, not 128"),
        ({}, {"input_name": "image"}, "it has no input 'image', but 'input'"),
        ({}, {"dtype": "float16"}, "'input' is float32, not float16"),
        ({}, {"extra": [{"name": "hints"}]}, "it has no input 'hints'"),
        (
            {"extra": [helper.make_tensor_value_info("hints", TensorProto.FLOAT, [1, 2, "height", "width"])]},
            "eccv16", "nothing is known of its input 'hints' (1, 2, ?, ?)",
        ),
        ({}, "edcolor", "neither a file nor one of ddcolor"),
        ({"metadata": "{"}, None, "the card in it is no JSON"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_refused_in_one_line(tmp_path, attempt, made, card, words):
    """What was found, and which card would fit."""
    network(tmp_path / "net.onnx", **made)
    code, said = attempt(card)
    assert code == 2
    assert words in said
    assert len(said.strip().splitlines()) == 1


@pytest.mark.parametrize("place", ["../secret", "/etc/hostname", "link", "..", "sub/../../secret"])
def test_no_file_outside_the_folder_is_read(tmp_path, attempt, place):
    """External data by `../`, an absolute path or a link is refused, here and in a checkpoint that somebody made."""
    (tmp_path.parent / "secret").write_bytes(bytes(64))
    (tmp_path / "link").symlink_to(tmp_path.parent / "secret")
    model = network(tmp_path / "net.onnx")
    stored = model.graph.initializer[0]
    stored.ClearField("raw_data")
    stored.data_location = TensorProto.EXTERNAL
    stored.external_data.add(key="location", value=place)
    (tmp_path / "net.onnx").write_bytes(model.SerializeToString())
    code, said = attempt("eccv16")
    assert code == 1
    assert "only a file in its own folder is read" in said
    with pytest.raises(CheckpointError, match="keeps weights outside itself"):
        open_session(model.SerializeToString(), "a checkpoint")


def test_weights_beside_the_file_are_taken_in(tmp_path, attempt):
    """As exporters write them: the checkpoint holds one file with all of it."""
    model = network(tmp_path / "net.onnx")
    onnx.save(model, tmp_path / "net.onnx", save_as_external_data=True, location="net.data", size_threshold=0)
    assert attempt("eccv16")[0] == 0
    read = onnx.load_model_from_string(checkpoints.load(tmp_path / "net").data)
    assert numpy_helper.to_array(read.graph.initializer[0]).ravel().tolist() == [-1.0, 1.0]


def test_a_loop_that_never_ends_is_given_up(tmp_path, attempt):
    """After --timeout-s, in one line; nothing is imported."""
    network(tmp_path / "net.onnx", nodes=endless())
    code, said = attempt("eccv16", "--timeout-s", "5")
    assert code == 1
    assert "hung for 5 s and was ended: it is not imported" in said


def test_huge_tensors_are_given_up(tmp_path, attempt):
    """A tensor of 16 TB costs the child that tries it."""
    shape = helper.make_tensor("s", TensorProto.INT64, [4], [1, 2, 2_000_000, 1_000_000])
    nodes = [
        helper.make_node("Constant", [], ["shape"], value=shape),
        helper.make_node("ConstantOfShape", ["shape"], ["huge"]),
        helper.make_node("ReduceMean", ["huge"], ["one"], keepdims=1),
        helper.make_node("Add", ["input", "one"], ["sum"]),
        helper.make_node("Concat", ["sum", "sum"], ["output"], axis=1),
    ]
    network(tmp_path / "net.onnx", nodes=nodes)
    code, said = attempt("eccv16")
    assert code == 1
    assert len(said.strip().splitlines()) == 1


def test_a_file_in_s3_is_one_line(capfd):
    """It is said that checkpoints may lie there, and files to import not."""
    assert run(["import", "s3://bucket/net.onnx", "net", "--card", "eccv16"]) == 2
    assert "s3://bucket/net.onnx: only local files are imported" in capfd.readouterr().err


@pytest.mark.parametrize("data", [b"", b"GIF89a", bytes(1000)])
def test_what_is_no_onnx_file_is_refused(tmp_path, attempt, data):
    """In one line."""
    (tmp_path / "net.onnx").write_bytes(data)
    code, said = attempt("eccv16")
    assert code == 1
    assert "is no ONNX file" in said
