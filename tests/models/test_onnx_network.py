"""Imported networks compute what their card says: every kind against the same arithmetic in numpy."""

import numpy as np
import pytest
import torch
from onnx_made import Linear, exported, write_checkpoint

from raycolor.color.arrays import lab_to_linear, rgb_to_lab, srgb_encode
from raycolor.colorizer.config import ColorizerConfig
from raycolor.colorizer.predict import Predictor
from raycolor.errors import CheckpointError, ConfigError
from raycolor.models import checkpoints
from raycolor.models.card import BUILT_IN, Card, read_card

BINS = [[-60.0, 10.0], [0.0, 0.0], [30.0, -70.0], [80.0, 60.0]]
MEAN, STD = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]

KINDS = {
    "L, ab, dynamic": ({}, {}),
    "L centered by the card": ({"offset": -0.5, "scale": 0.01, "output_scale": 110.0}, {}),
    "gray of three channels, ImageNet outside": (
        {"input": "gray", "channels": 3, "mean": MEAN, "std": STD, "output_scale": 20.0, "output_offset": 1.5}, {},
    ),
    "gray, RGB 0..1": ({"input": "gray", "channels": 3, "output": "rgb"}, {}),
    "gray, RGB 0..255": (
        {"input": "gray", "channels": 3, "scale": 255.0, "output": "rgb", "output_scale": 1 / 255}, {},
    ),
    "gray as bytes": ({"input": "gray", "scale": 255.0, "dtype": "uint8"}, {"dtype": torch.uint8}),
    "half precision": ({"input": "gray", "dtype": "float16"}, {"dtype": torch.float16}),
    "logits": ({"output": "ab_logits", "scale": 0.05, "bins": BINS, "temperature": 0.38}, {}),
    "fixed size": ({"size": {"fixed_px": 64}}, {"dynamic": False}),
    "fixed size and batch": ({"size": {"fixed_px": 64}}, {"dynamic": False, "batch": 1}),
    "batch 1, free size": ({}, {"batch": 1}),
    "batch dynamic by the card": ({"batch": "dynamic"}, {}),
    "three inputs": (
        {"extra": [{"name": "extra_0", "value": 2, "channels": 2}, {"name": "extra_1", "value": -0.5, "channels": 1}]},
        {"extras": (2, 1)},
    ),
    "three inputs of fixed size": (
        {"size": {"fixed_px": 64}, "extra": [{"name": "extra_0", "value": 2.0}, {"name": "extra_1", "value": -0.5}]},
        {"extras": (2, 1), "dynamic": False, "batch": 1},
    ),
    "small answer": ({}, {"shrink": 4}),
    "confidence": ({"input": "gray", "confidence": "sure"}, {"confidence": True}),
}  # fmt: skip

FAST = ("L, ab, dynamic", "gray, RGB 0..255", "logits")  # each export takes seconds


def made(folder, card, kind):
    """Write the checkpoint of a kind of network; return the network and its card."""
    made_of = {key: kind.pop(key) for key in ("extras", "shrink", "confidence") if key in kind}
    outputs = {"rgb": 3, "ab_logits": len(BINS)}.get(card.get("output", "ab"), 2)
    net = Linear(card.get("channels", 1), outputs, **made_of)
    return net, write_checkpoint(folder, exported(net, **kind), **card)


def predictor(folder, **config):
    return Predictor(ColorizerConfig(checkpoint=str(folder), **config))


def planes(*shapes):
    """Return lightness planes that differ."""
    return [np.random.default_rng(i).uniform(0, 100, shape).astype(np.float32) for i, shape in enumerate(shapes)]


def in_numpy(net, card, L):
    """Compute color (h, w, 2) and confidence as the card says: from the words of docs/formats.md, not from the code."""
    plane = L if card.input == "L" else srgb_encode(lab_to_linear(np.stack([L, 0 * L, 0 * L], -1)))[..., 0]
    x = np.stack([plane] * card.channels)
    mean, std = (np.reshape(value, (-1, 1, 1)) for value in (card.mean, card.std))
    x = (x * card.scale + card.offset - mean) / std
    x = np.rint(x) if card.dtype == "uint8" else x.astype(card.dtype)
    weight, bias = net.weight.detach().numpy()[:, :, 0, 0], net.bias.detach().numpy()
    y = np.tensordot(weight, x, axes=1) + bias[:, None, None]
    y = y + sum(one.value * channels for one, channels in zip(card.extra, net.extras, strict=True))
    if net.shrink > 1:
        y = y.reshape(len(y), y.shape[1] // net.shrink, net.shrink, -1, net.shrink).mean(axis=(2, 4))
    y = y * card.output_scale + card.output_offset
    if card.output == "rgb":
        color = rgb_to_lab(np.clip(np.moveaxis(y, 0, -1), 0, 1))[..., 1:]
    elif card.output == "ab_logits":
        share = np.exp(y / card.temperature)
        color = np.moveaxis(np.tensordot(np.asarray(card.bins).T, share / share.sum(axis=0), axes=1), 0, -1)
    else:
        color = np.moveaxis(y, 0, -1)
    return color, float(np.clip(x.mean(), 0, 1)) if net.confidence else None


@pytest.mark.parametrize(
    "name", [name if name in FAST else pytest.param(name, marks=pytest.mark.slow) for name in KINDS]
)
def test_every_kind_of_card_computes_what_numpy_does(tmp_path, name):
    """Input, scales, type, extra inputs, output and its reading: all as the card says, within rounding."""
    net, card = made(tmp_path / "net", KINDS[name][0], dict(KINDS[name][1]))
    L = planes((64, 64))[0]
    found = predictor(tmp_path / "net").predict([L])[0]
    color, sure = in_numpy(net, card, L)
    assert found.ab.shape == color.shape
    assert found.ab.dtype == np.float32
    # Rounding of float32 over some hundred units, and of float16 in 0..1.
    assert np.abs(found.ab - color).max() < (2e-2 if card.dtype == "float16" else 2e-3)
    assert np.abs(color).max() > 0.3  # there is something to compare
    assert (found.confidence is None) == (sure is None)
    assert sure is None or found.confidence == pytest.approx(sure, abs=1e-5)


@pytest.mark.parametrize("batch", [1, "dynamic"])
def test_two_runs_and_other_neighbors_give_the_same_bytes(tmp_path, batch):
    """Bytes depend on the photograph alone."""
    made(tmp_path / "net", {"batch": batch}, {})
    shapes = [(64, 64), (64, 64), (96, 64)]
    together = predictor(tmp_path / "net").predict(planes(*shapes))
    alone = [predictor(tmp_path / "net").predict([plane])[0] for plane in planes(*shapes)]
    assert [one.ab.tobytes() for one in together] == [one.ab.tobytes() for one in alone]


def test_flip_averages_with_the_mirrored_photograph(tmp_path):
    """A network that computes pixel by pixel gives the same color mirrored: its mean with itself is itself."""
    made(tmp_path / "net", {}, {})
    L = planes((64, 64))
    plain, both = (predictor(tmp_path / "net", tta=tta).predict(L)[0].ab for tta in ("none", "flip"))
    assert np.abs(plain - both).max() < 1e-4


@pytest.mark.parametrize(
    ("card", "shape", "answer"),
    [
        ({"fit": "pad", "size": {"fixed_px": 64}}, (40, 64), (40, 64)),
        ({"fit": "pad", "size": {"multiple_of": 32, "default_px": 64}}, (64, 43), (64, 43)),
        ({"fit": "keep", "size": {"multiple_of": 16, "default_px": 64}}, (48, 96), (48, 96)),
    ],
)
def test_padding_is_cut_off_again(tmp_path, card, shape, answer):
    """What the network says of the padding never shows, and color lies where the photograph is."""
    net, read = made(tmp_path / "net", card, {"dynamic": "fixed_px" not in card["size"]})
    L = planes(shape)[0]
    found = predictor(tmp_path / "net").predict([L])[0].ab
    assert found.shape[:2] == answer
    assert np.abs(found - in_numpy(net, read, L)[0]).max() < 2e-3


@pytest.mark.parametrize(
    ("card", "photograph", "plane"),
    [
        ({"fit": "stretch", "size": {"multiple_of": 32, "default_px": 512}}, (300, 1000), (512, 512)),
        ({"fit": "stretch", "size": {"fixed_px": 256}}, (300, 1000), (256, 256)),
        ({"fit": "pad", "size": {"fixed_px": 256}}, (500, 1000), (128, 256)),
    ],
)
def test_fit_decides_the_plane(card, photograph, plane):
    """Stretched to a square, or reduced with its aspect ratio."""
    made_card = Card.model_validate({"name": "test", **card})
    assert made_card.plane_shape(*photograph, made_card.network_px(None)) == plane


@pytest.mark.parametrize(
    ("card", "message"),
    [
        ({"mean": [0.0, 0.0]}, "mean must have 1 number or 1"),
        ({"std": 0.0}, "std must not be 0"),
        ({"output": "ab_logits"}, "bins are needed"),
        ({"fit": "keep", "size": {"fixed_px": 64}}, "fit must be stretch or pad"),
        ({"chanels": 3}, "unknown key chanels"),
        ({"size": {"multiple_of": 32, "default_px": 100}}, "multiple of 32"),
    ],
)
def test_a_card_that_contradicts_itself_is_refused(card, message):
    """In one line that names the place and what is wrong."""
    with pytest.raises(ConfigError, match=message) as refused:
        read_card({"name": "test", **card}, "card.yaml")
    assert str(refused.value).startswith("card.yaml: ")


def test_a_size_that_the_network_does_not_take_is_refused(tmp_path):
    """By the card's bounds; within them the nearest multiple is taken."""
    card = BUILT_IN["ddcolor"]
    assert card.network_px(300) == 288
    with pytest.raises(ConfigError, match="takes 64 to 1024 px"):
        card.network_px(2048)
    with pytest.raises(ConfigError, match="takes 64 px only"):
        Card.model_validate({"name": "test", "size": {"fixed_px": 64}}).network_px(128)


def test_a_damaged_file_or_card_is_no_checkpoint(tmp_path):
    """Changed bytes are found by their hash, a wrong card by its field, both in one line."""
    made(tmp_path / "net", {}, {})
    file = tmp_path / "net" / "model.onnx"
    file.write_bytes(file.read_bytes()[:-1] + b"?")
    with pytest.raises(CheckpointError, match=r"model.onnx has SHA-256"):
        checkpoints.load(tmp_path / "net")
    write_checkpoint(tmp_path / "other", b"no network")
    with pytest.raises(CheckpointError, match="is no ONNX file"):
        predictor(tmp_path / "other").predict(planes((64, 64)))
    text = tmp_path / "other" / "checkpoint.json"
    text.write_text(text.read_text().replace('"stretch"', '"squash"'))
    with pytest.raises(CheckpointError, match=r"fit = \"squash\".*import the network again"):
        predictor(tmp_path / "other")


def test_a_network_that_answers_something_else_is_refused(tmp_path):
    """The card says ab, the file answers RGB."""
    write_checkpoint(tmp_path / "net", exported(Linear(1, 3)))
    with pytest.raises(CheckpointError, match=r"answers \(1, 3, 64, 64\), and its card says ab"):
        predictor(tmp_path / "net").predict(planes((64, 64)))
