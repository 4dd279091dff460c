"""First weights: of the regression encoder from a file or torchvision, of a whole network from a checkpoint."""

from __future__ import annotations

import hashlib
import io
import pickle
import socket
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch

from raycolor.errors import ConfigError
from raycolor.models import checkpoints
from raycolor.models.blocks import ColorNet
from raycolor.models.regression import RegressionConfig, RegressionNet, load_encoder_weights

_ENCODER = "encoder."  # of the U-Net's and of regression's parameters
DOWNLOAD_TIMEOUT_S = 20.0  # without any byte
EXPECTED = "expected a ResNet-18 state dict as torchvision or Places365 distribute it (.pth, .pth.tar, .safetensors)"


def read_encoder_weights(source: str) -> tuple[bytes, str]:
    """Read ResNet-18 weights and check that they fit.

    Args:
        source: a file, or `torchvision` for its ImageNet weights (downloaded once, needs a connection).

    Returns:
        Its encoder as bytes for `apply_weights`, and the SHA-256 over its tensors.

    Raises:
        ConfigError: missing, unreadable or wrong file.
    """
    network = RegressionNet(RegressionConfig())
    load_encoder_weights(network, _torchvision() if source == "torchvision" else _file(source), source)
    encoder = network.encoder.state_dict()
    digest = hashlib.sha256()
    for key, value in encoder.items():
        digest.update(key.encode())
        digest.update(value.contiguous().numpy().tobytes())
    return checkpoints.pack_state({_ENCODER + key: value for key, value in encoder.items()}), digest.hexdigest()


def read_weights(name_or_path: str, method: str) -> tuple[bytes, str]:
    """Read a checkpoint to start training from.

    Returns:
        Its state dict as bytes for `apply_weights`, and the SHA-256 of the checkpoint's weights.

    Raises:
        ConfigError: the checkpoint is of another method.
        CheckpointError: no checkpoint, or a damaged one.
    """
    checkpoint = checkpoints.load(name_or_path)
    if checkpoint.method != method:
        raise ConfigError(
            f"init_from = {name_or_path}: a checkpoint of {checkpoint.method}, not {method}: name one of {method}"
        )
    return checkpoints.pack_state(checkpoint.weights), checkpoint.weights_sha256


def apply_weights(network: ColorNet, packed: bytes) -> None:
    """Put weights that were read above into a network, as far as names and shapes agree; the rest stays as it is.

    An encoder is taken over whole or not at all: layers of one in another would be worse than none.

    Raises:
        ConfigError: nothing fits.
    """
    found: dict[str, torch.Tensor] = torch.load(io.BytesIO(packed), weights_only=True)
    own = network.state_dict()
    fitting = {key: value for key, value in found.items() if key in own and own[key].shape == value.shape}
    if {key for key in own if key.startswith(_ENCODER)} - set(fitting):
        fitting = {key: value for key, value in fitting.items() if not key.startswith(_ENCODER)}
    if not fitting:
        raise ConfigError(f"init_from: none of its weights fit this {network.name}: use the network settings it has")
    network.load_state_dict({**own, **fitting}, strict=True)


def _file(source: str) -> dict[str, Any]:
    path = Path(source)
    try:
        data = path.read_bytes()
    except OSError as exc:
        raise ConfigError(f"encoder_weights = {source}: cannot be read ({exc.strerror}): {EXPECTED}") from exc
    try:
        if path.suffix == ".safetensors":
            return dict(safetensors.torch.load(data))
        state = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    except (safetensors.SafetensorError, RuntimeError, EOFError, ValueError, pickle.UnpicklingError) as exc:
        raise ConfigError(f"encoder_weights = {source}: no weights in it: {EXPECTED}") from exc
    if not isinstance(state, dict):
        raise ConfigError(f"encoder_weights = {source}: holds a {type(state).__name__}: {EXPECTED}")
    return state


def _torchvision() -> dict[str, Any]:
    from torchvision.models import ResNet18_Weights

    before = socket.getdefaulttimeout()
    # torch's downloader sets no limit of its own, and a network that drops packets would be waited for without end.
    socket.setdefaulttimeout(DOWNLOAD_TIMEOUT_S)
    try:
        return dict(ResNet18_Weights.IMAGENET1K_V1.get_state_dict(progress=False, check_hash=True))
    except OSError as exc:  # urllib's errors and timeouts are OSErrors
        raise ConfigError(
            f"encoder_weights = torchvision: cannot be downloaded ({exc}): give a file instead; {EXPECTED}"
        ) from exc
    finally:
        socket.setdefaulttimeout(before)
