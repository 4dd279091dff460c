"""First weights of the regression encoder: from a file, or named as what is missing."""

import socket

import pytest
import torch
from torchvision.models import resnet18

from raycolor.errors import ConfigError
from raycolor.models.build import build_model
from raycolor.training import encoder
from raycolor.training.config import TrainingConfig
from raycolor.training.settings import resolve


def test_a_resnet_file_lands_in_the_encoder(tmp_path):
    """A three-channel ResNet-18 becomes the encoder: conv1 summed to gray, all else as it is."""
    weights = resnet18(weights=None).state_dict()
    torch.save(weights, tmp_path / "resnet18.pth")
    packed, digest = encoder.read_encoder_weights(str(tmp_path / "resnet18.pth"))
    network = build_model("regression")
    encoder.apply_weights(network, packed)
    state = network.encoder.state_dict()
    firsts = [value for value in state.values() if value.shape == (64, 1, 7, 7)]
    assert torch.allclose(firsts[0], weights["conv1.weight"].sum(1, keepdim=True))
    assert sum(torch.equal(value, weights["layer2.1.conv2.weight"]) for value in state.values()) == 1
    assert len(digest) == 64


@pytest.mark.parametrize("content", [b"", b"no weights", b"PK\x03\x04 cut"])
def test_a_wrong_file_is_refused_with_what_was_expected(tmp_path, content):
    """Empty, foreign or truncated: one line that says what belongs there."""
    path = tmp_path / "weights.pth"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match=r"expected a ResNet-18 state dict"):
        encoder.read_encoder_weights(str(path))
    with pytest.raises(ConfigError, match=r"expected a ResNet-18 state dict"):
        encoder.read_encoder_weights(str(tmp_path / "nowhere.pth"))


def test_other_networks_have_no_such_encoder():
    """Only the regression starts from a ResNet-18."""
    with pytest.raises(ConfigError, match="only regression"):
        resolve(TrainingConfig(method="gan", encoder_weights="resnet18.pth"))


@pytest.mark.timeout(120)
@pytest.mark.parametrize("answers", [False, True], ids=["refused", "silent"])
def test_without_a_network_torchvision_is_one_line(tmp_path, monkeypatch, answers):
    """A connection that is refused, or that never answers, ends in one line, not in an endless wait."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr(encoder, "DOWNLOAD_TIMEOUT_S", 1.0)
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        if answers:
            server.listen()  # connects, and says nothing ever after
        for name in ("https_proxy", "HTTPS_PROXY"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{server.getsockname()[1]}")
        with pytest.raises(ConfigError, match=r"torchvision: cannot be downloaded .*give a file"):
            encoder.read_encoder_weights("torchvision")
    assert socket.getdefaulttimeout() is None
