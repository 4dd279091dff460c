"""Laws of the checkpoint format."""

from __future__ import annotations

import hashlib
import json

import pytest
import torch

from raycolor.errors import CheckpointError, StorageError
from raycolor.models import checkpoints
from raycolor.models.build import build_model

ABOUT = {"method": "gan", "training": {"lr": 1e-3}, "dataset": {"sha256": "ab"}, "metrics": {"mse": 0.02}}
CONFIG = {"base": 8, "levels": 2, "norm": "batch"}


@pytest.fixture
def model():
    torch.manual_seed(1)
    net = build_model("gan", CONFIG)
    net(torch.rand(2, 1, 16, 16))  # moves the running statistics of batch normalization off their start
    return net.eval()


def test_save_and_load_give_the_same_output(tmp_path, model):
    """Save -> load -> the same output bit by bit, and everything that was said about it."""
    digest = checkpoints.save(tmp_path / "run", model, **ABOUT)
    loaded = checkpoints.load(tmp_path / "run")
    picture = torch.rand(1, 1, 16, 16)
    twin = loaded.model()
    assert not twin.training
    with torch.no_grad():
        assert torch.equal(model(picture), twin(picture))
    assert (loaded.method, loaded.training, loaded.dataset, loaded.metrics) == tuple(ABOUT.values())
    assert loaded.weights_sha256 == digest
    assert digest == hashlib.sha256((tmp_path / "run" / "weights.safetensors").read_bytes()).hexdigest()
    assert sorted(p.name for p in (tmp_path / "run").iterdir()) == ["checkpoint.json", "weights.safetensors"]


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_weights_stored_in_16_bits_load_as_float32(tmp_path, model, dtype):
    """16-bit storage halves the file and loads as float32 within the rounding of the type."""
    checkpoints.save(tmp_path / "a", model, **ABOUT)
    checkpoints.save(tmp_path / "b", model, dtype=dtype, **ABOUT)
    loaded = checkpoints.load(tmp_path / "b")
    for key, value in model.state_dict().items():
        assert loaded.weights[key].dtype == value.dtype
        if value.is_floating_point():
            # Relative rounding: 2^-11 for float16, 2^-8 for bfloat16; the absolute part covers float16 subnormals.
            assert torch.allclose(loaded.weights[key], value, rtol=2**-8, atol=1e-6)
    sizes = [(tmp_path / name / "weights.safetensors").stat().st_size for name in "ab"]
    assert sizes[1] < 0.65 * sizes[0]


def test_a_weight_too_large_for_float16_stays_as_it_is(tmp_path, model):
    """Variances of a batch normalization may be: the others are stored as float16 all the same."""
    with torch.no_grad():
        model.last.bias.fill_(123456.7)
    wide = checkpoints.save(tmp_path, model, dtype="float16", **ABOUT)
    loaded = checkpoints.load(tmp_path)
    assert torch.equal(loaded.weights["last.bias"], model.last.bias)
    assert len(loaded.data) < 0.7 * len(checkpoints.to_files(model, **ABOUT)["weights.safetensors"])
    assert wide == loaded.weights_sha256


def test_the_same_model_gives_the_same_bytes(model):
    """Nothing of time or place enters the files."""
    assert checkpoints.to_files(model, **ABOUT) == checkpoints.to_files(model, **ABOUT)


def test_a_failed_save_keeps_the_older_checkpoint(tmp_path, model):
    """A model with a weight of NaN is refused, and the checkpoint before it stays whole."""
    digest = checkpoints.save(tmp_path, model, **ABOUT)
    with torch.no_grad():
        model.last.bias.fill_(float("nan"))
    with pytest.raises(CheckpointError, match=r"last\.bias: a weight is not finite"):
        checkpoints.save(tmp_path, model, **ABOUT)
    assert checkpoints.load(tmp_path).weights_sha256 == digest


def test_training_state_round_trip(tmp_path, model):
    """Tensors and plain values come back; a damaged or missing state is one clear line."""
    state = {"step": 3, "optimizer": {"m": torch.ones(2)}, "curve": [{"mse": 0.5}]}
    checkpoints.save(tmp_path, model, state=state, **ABOUT)
    loaded = checkpoints.load_state(tmp_path)
    assert (loaded["step"], loaded["curve"]) == (3, [{"mse": 0.5}])
    assert torch.equal(loaded["optimizer"]["m"], torch.ones(2))
    path = tmp_path / "training_state.pt"
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(CheckpointError, match="damaged: remove it"):
        checkpoints.load_state(tmp_path)
    path.unlink()
    with pytest.raises(CheckpointError, match="no training state"):
        checkpoints.load_state(tmp_path)


@pytest.mark.parametrize(
    ("name", "damage", "message"),
    [
        ("weights.safetensors", lambda data: b"", "is empty: copy"),
        ("weights.safetensors", lambda data: data[:-1], "truncated or of another checkpoint; copy it again"),
        ("weights.safetensors", lambda data: data[:-1] + b"!", "damaged or of another checkpoint"),
        ("weights.safetensors", None, "weights.safetensors is missing"),
        ("checkpoint.json", lambda data: b"", "is empty: copy"),
        ("checkpoint.json", lambda data: data[:40], "is not JSON"),
        ("checkpoint.json", lambda data: b"{}", "does not describe a raycolor checkpoint"),
        ("checkpoint.json", None, "checkpoint.json is missing"),
        ("checkpoint.json", lambda data: data.replace(b'"format_version": 1', b'"format_version": 7'), "version 7"),
        ("checkpoint.json", lambda data: data.replace(b'"metrics"', b'"metricks"'), "has no 'metrics'"),
    ],
)
def test_every_damage_is_one_clear_line(tmp_path, model, name, damage, message):
    """Whatever is wrong with a file, loading stops with one line that says what and how to mend it."""
    checkpoints.save(tmp_path, model, **ABOUT)
    path = tmp_path / name
    if damage is None:
        path.unlink()
    else:
        path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(CheckpointError, match=message) as caught:
        checkpoints.load(tmp_path)
    assert "\n" not in str(caught.value)
    assert str(tmp_path) in str(caught.value)


@pytest.mark.parametrize(
    ("network", "message"),
    [
        ({"name": "regression", "config": {}}, r"do not fit network 'regression' \(no encoder\.conv1\.weight\)"),
        ({"name": "gan", "config": {**CONFIG, "base": 16}}, r"downs\.0\.conv\.weight is \(8, 1, 4, 4\), not"),
        ({"name": "gan", "config": {"bases": 8}}, "unknown key 'bases'"),
        ({"name": "gans", "config": {}}, "'gans': unknown"),
    ],
)
def test_weights_of_another_network_are_refused(tmp_path, model, network, message):
    """Loading is strict: no weight is dropped, added or reshaped."""
    checkpoints.save(tmp_path, model, **ABOUT)
    path = tmp_path / "checkpoint.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"network": network}))
    with pytest.raises(CheckpointError, match=message) as caught:
        checkpoints.load(tmp_path).model()
    assert "\n" not in str(caught.value)


def test_names_resolve_to_shipped_checkpoints(tmp_path, model, monkeypatch):
    """A bare name is a shipped checkpoint; an unknown one lists those that exist."""
    monkeypatch.setattr(checkpoints, "SHIPPED", tmp_path / "weights")
    checkpoints.save(tmp_path / "weights" / "default", model, **ABOUT)
    assert checkpoints.load("default").method == "gan"
    assert checkpoints.shipped_names() == ["default"]
    with pytest.raises(CheckpointError, match=r"defualt: no such checkpoint: .* shipped: default"):
        checkpoints.load("defualt")


def test_files_may_lie_in_a_store(model, monkeypatch):
    """A checkpoint in S3 is read by key; a file that cannot be read is one line naming the file."""
    files = checkpoints.to_files(model, **ABOUT)
    monkeypatch.setattr(checkpoints, "_reader", lambda source: files.__getitem__)
    assert checkpoints.load("s3://bucket/run").method == "gan"

    def missing(name: str) -> bytes:
        raise StorageError("not_found", name)

    monkeypatch.setattr(checkpoints, "_reader", lambda source: missing)
    with pytest.raises(CheckpointError, match=r"s3://bucket/run: checkpoint\.json cannot be read \(not_found"):
        checkpoints.load("s3://bucket/run")


def test_every_shipped_checkpoint_loads():
    """Each checkpoint that is shipped builds its network and has metrics on val."""
    for name in checkpoints.shipped_names():
        loaded = checkpoints.load(name)
        loaded.model()
        assert loaded.metrics
