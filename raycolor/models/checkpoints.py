"""The one checkpoint format: checkpoint.json and weights.safetensors, and in run folders training_state.pt."""

from __future__ import annotations

import hashlib
import io
import json
import pickle
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

import safetensors

from raycolor import __version__
from raycolor.errors import CheckpointError, ConfigError, StorageError
from raycolor.models.whole_file import write_whole

# torch takes seconds to import, and a driver only wants to know which checkpoint it is.
if TYPE_CHECKING:
    from torch import Tensor, nn

    from raycolor.models.blocks import ColorNet
    from raycolor.models.card import Card

FORMAT: Final = "raycolor-checkpoint"
FORMAT_VERSION: Final = 1
JSON_FILE: Final = "checkpoint.json"
WEIGHTS_FILE: Final = "weights.safetensors"
ONNX_METHOD: Final = "onnx"
PYTHON_METHOD: Final = "python"
ONNX_FILE: Final = "model.onnx"
STATE_FILE: Final = "training_state.pt"
SHIPPED: Final = Path(__file__).parents[1] / "weights"

WeightType = Literal["float32", "float16", "bfloat16"]


@dataclass(frozen=True)
class Checkpoint:
    """A trained network and how it came to be.

    Attributes:
        source: the name or path it was loaded from.
        method: `regression`, `autoencoder`, `gan`, `unet`, `ensemble`, or `onnx`: an imported network.
        network: `{"name": ..., "config": {...}}`, what `build_model` takes; of an imported one its card.
        training: resolved training configuration.
        dataset: fingerprint and counts of the dataset.
        metrics: metrics on val when it was saved.
        raycolor_version: of the raycolor that saved it.
        weights_sha256: SHA-256 of `data`, hexadecimal: its identity in outputs and records.
        data: weights.safetensors or model.onnx, verified.
    """

    source: str
    method: str
    network: dict[str, Any]
    training: dict[str, Any]
    dataset: dict[str, Any]
    metrics: dict[str, Any]
    raycolor_version: str
    weights_sha256: str
    data: bytes = field(repr=False)

    @property
    def name(self) -> str:
        """What outputs call it: its shipped name, or the last part of its path."""
        return self.source.rstrip("/").rpartition("/")[2]

    @cached_property
    def card(self) -> Card | None:
        """What an imported network reads and answers; None of our own."""
        from raycolor.models.card import stored_card

        return stored_card(self.network["config"], self.source) if self.method == ONNX_METHOD else None

    @property
    def network_sha256(self) -> str:
        """SHA-256 of the network's configuration: the same weights can be read as duller or more vivid color."""
        return hashlib.sha256(json.dumps(self.network, sort_keys=True).encode()).hexdigest()

    @cached_property
    def weights(self) -> dict[str, Tensor]:
        """The state dict, floating-point weights as float32."""
        import safetensors.torch

        tensors = safetensors.torch.load(self.data)
        return {key: value.float() if value.is_floating_point() else value for key, value in tensors.items()}

    def model(self) -> ColorNet:
        """Build the network with these weights, in evaluation mode, on the CPU, in float32.

        Raises:
            CheckpointError: weights and network do not match.
        """
        model = self._build()
        if not model.fusible:
            return model.eval()
        try:
            model.load_state_dict(self.weights, strict=True)
        except RuntimeError as exc:
            raise CheckpointError(
                f"{self.source}: weights do not fit network {self.network['name']!r} "
                f"({_difference(model.state_dict(), self.weights)}): use the {JSON_FILE} they were saved with"
            ) from exc
        return model.eval()

    def skeleton(self) -> ColorNet:
        """Build the network without weights: what input sizes it takes, at no cost of memory or time.

        Raises:
            CheckpointError: a network that this raycolor does not know.
        """
        from raycolor.models.blocks import shapes_alone

        with shapes_alone():
            return self._build()

    def input_px(self, network: ColorNet) -> int:
        """Return the side at which its network, one of ours, sees photographs."""
        # Training crops are cut from photographs of this size: at it things appear as large as the network knows them.
        return network.input_px or int(self.dataset.get("image_size", 256))

    def _build(self) -> ColorNet:
        from raycolor.models.build import build_model

        if self.method == PYTHON_METHOD:
            from raycolor.models.python_network import build

            return build(self.source)
        if self.card is not None:
            from raycolor.models.onnx_network import OnnxNetwork  # onnxruntime only where it computes

            return OnnxNetwork(self.data, self.card, self.source)
        try:
            return build_model(str(self.network["name"]), self.network["config"], pretrained=False)
        except ConfigError as exc:
            raise CheckpointError(f"{self.source}: {exc}: it was saved by raycolor {self.raycolor_version}") from exc


def _difference(expected: Mapping[str, Tensor], found: Mapping[str, Tensor]) -> str:
    """Name the first tensor in which two state dicts differ."""
    for key in expected:
        if key not in found:
            return f"no {key}"
        if expected[key].shape != found[key].shape:
            return f"{key} is {tuple(found[key].shape)}, not {tuple(expected[key].shape)}"
    extra = sorted(set(found) - set(expected))
    return f"{extra[0]} is not part of it" if extra else "types differ"


def shipped_names() -> list[str]:
    """Return the names of the checkpoints that come with raycolor."""
    if not SHIPPED.is_dir():
        return []
    return sorted(entry.name for entry in SHIPPED.iterdir() if (entry / JSON_FILE).is_file())


def to_files(
    model: nn.Module,
    *,
    method: str,
    training: Mapping[str, Any],
    dataset: Mapping[str, Any],
    metrics: Mapping[str, Any],
    dtype: WeightType = "float32",
) -> dict[str, bytes]:
    """Return a checkpoint as its files, in the order in which they are to be written.

    The same arguments give the same bytes.

    Args:
        model: a ColorNet, not wrapped.
        method: `regression`, `autoencoder`, `gan`, `unet` or `ensemble`.
        training: resolved training configuration, JSON values.
        dataset: fingerprint and counts of the dataset, JSON values.
        metrics: metrics on val, JSON values.
        dtype: of floating-point weights in the file, but for those that are too large for it, which stay as they are;
            loading gives float32 again.

    Raises:
        CheckpointError: the model is no ColorNet, or a weight is not finite.
    """
    import safetensors.torch
    import torch

    from raycolor.models.blocks import ColorNet

    if not isinstance(model, ColorNet):
        raise CheckpointError(f"{type(model).__name__}: not a network of raycolor: unwrap it before saving")
    weights: dict[str, Tensor] = {}
    for key, value in model.state_dict().items():
        tensor = value.detach().cpu().contiguous()
        if tensor.is_floating_point():
            if not bool(torch.isfinite(tensor).all()):
                raise CheckpointError(f"{key}: a weight is not finite: the checkpoint was not saved")
            narrow = tensor.to(getattr(torch, dtype))
            tensor = narrow if bool(torch.isfinite(narrow).all()) else tensor
        weights[key] = tensor
    data = safetensors.torch.save(weights)
    description = {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "raycolor_version": __version__,
        "method": method,
        "network": {"name": model.name, "config": model.config()},
        "training": dict(training),
        "dataset": dict(dataset),
        "metrics": dict(metrics),
        "weights": {
            "file": WEIGHTS_FILE,
            "sha256": hashlib.sha256(data).hexdigest(),
            "bytes": len(data),
            "dtype": dtype,
            "parameters": sum(parameter.numel() for parameter in model.parameters()),
        },
    }
    # The description goes last: its hash makes a half-written pair recognizable.
    return {WEIGHTS_FILE: data, JSON_FILE: (json.dumps(description, indent=2) + "\n").encode()}


def save(
    folder: Path,
    model: nn.Module,
    *,
    method: str,
    training: Mapping[str, Any],
    dataset: Mapping[str, Any],
    metrics: Mapping[str, Any],
    state: Mapping[str, Any] | None = None,
    dtype: WeightType = "float32",
) -> str:
    """Save a checkpoint, each file whole or not at all; arguments as in `to_files`.

    Args:
        folder: created if missing; files of an older checkpoint in it are replaced.
        state: what training needs to go on (tensors, numbers, strings, lists and dicts of these), or None.

    Returns:
        SHA-256 of weights.safetensors, hexadecimal.

    Raises:
        CheckpointError: the folder cannot be written, or the model cannot be saved.
    """
    files = to_files(model, method=method, training=training, dataset=dataset, metrics=metrics, dtype=dtype)
    if state is not None:
        write_whole(folder / STATE_FILE, pack_state(state))
    for name, data in files.items():
        write_whole(folder / name, data)
    return str(json.loads(files[JSON_FILE])["weights"]["sha256"])


def pack_state(state: Mapping[str, Any]) -> bytes:
    """Return a training state as the bytes of training_state.pt."""
    import torch

    buffer = io.BytesIO()
    torch.save(dict(state), buffer)
    return buffer.getvalue()


def load_state(folder: Path) -> dict[str, Any]:
    """Load the training state of a run folder, on the CPU.

    Raises:
        CheckpointError: missing, empty or damaged.
    """
    import torch

    path = folder / STATE_FILE
    data = _read_local(path, f"no training state at {folder}: name a run folder of `raycolor train`")
    try:
        # weights_only: tensors and plain values, never code.
        state = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    except (RuntimeError, EOFError, pickle.UnpicklingError, ValueError) as exc:
        raise CheckpointError(f"{path}: damaged: remove it to train from the start") from exc
    if not isinstance(state, dict):
        raise CheckpointError(f"{path}: holds no training state: remove it to train from the start")
    return state


def load(name_or_path: str | Path) -> Checkpoint:
    """Load and verify a checkpoint.

    Args:
        name_or_path: a shipped name (`default`, `regression`, ...), a folder, s3://bucket/prefix, or a
            network in Python, `package.module:factory`.
            A bare name is a shipped one if there is one, else a folder.

    Raises:
        CheckpointError: unknown name, missing, empty, truncated or damaged file, another format version.
            The message is one line and names the fix.
    """
    source = str(name_or_path)
    if ":" in source and "/" not in source:
        from raycolor.models.factory import named

        return named(source)
    fetch = _reader(source)

    def read(name: str) -> bytes:
        try:
            return fetch(name)
        except StorageError as exc:
            raise CheckpointError(f"{source}: {name} cannot be read ({exc}): check the address and access") from exc

    description = _parse(source, read(JSON_FILE))
    file = ONNX_FILE if description["method"] == ONNX_METHOD else WEIGHTS_FILE
    data = read(file)
    if not data:
        raise CheckpointError(f"{source}: {file} is empty: copy the checkpoint again")
    stated = description["weights"]
    digest = hashlib.sha256(data).hexdigest()
    if len(data) != stated.get("bytes", len(data)):
        raise CheckpointError(
            f"{source}: {file} has {len(data)} bytes, not {stated['bytes']}: "
            "it is truncated or of another checkpoint; copy it again"
        )
    if digest != stated["sha256"]:
        raise CheckpointError(
            f"{source}: {file} has SHA-256 {digest[:12]}, not {stated['sha256'][:12]}: "
            "it is damaged or of another checkpoint; copy it again"
        )
    try:
        if file == WEIGHTS_FILE:
            safetensors.deserialize(data)  # type: ignore[no-untyped-call]
    except safetensors.SafetensorError as exc:
        raise CheckpointError(f"{source}: {file} is not a safetensors file: copy it again") from exc
    return Checkpoint(
        source=source,
        method=str(description["method"]),
        network=description["network"],
        training=description["training"],
        dataset=description["dataset"],
        metrics=description["metrics"],
        raycolor_version=str(description["raycolor_version"]),
        weights_sha256=digest,
        data=data,
    )


def _reader(source: str) -> Callable[[str], bytes]:
    """Return what reads the files of a checkpoint by name."""
    if "://" in source:
        from raycolor.storage import open_store  # a folder needs no S3 client

        return open_store(source).get
    if "/" not in source and (SHIPPED / source / JSON_FILE).is_file():
        folder = SHIPPED / source
    else:
        folder = Path(source)
        if not folder.exists():
            names = ", ".join(shipped_names()) or "none"
            raise CheckpointError(f"{source}: no such checkpoint: name a folder, or one that is shipped: {names}")
    missing = f"{source}: not a checkpoint: a folder with {JSON_FILE} and {WEIGHTS_FILE} is needed"
    return lambda name: _read_local(folder / name, f"{missing} ({name} is missing)")


def _read_local(path: Path, missing: str) -> bytes:
    """Read a file, or raise `CheckpointError(missing)` where there is none."""
    try:
        data = path.read_bytes()
    except (FileNotFoundError, NotADirectoryError) as exc:
        raise CheckpointError(missing) from exc
    except OSError as exc:
        raise CheckpointError(f"{path}: cannot be read ({exc.strerror}): check its permissions") from exc
    if not data:
        raise CheckpointError(f"{path}: is empty: copy the checkpoint again")
    return data


def _parse(source: str, data: bytes) -> dict[str, Any]:
    """Parse checkpoint.json and check that it says all it must."""
    try:
        description = json.loads(data)
    except (json.JSONDecodeError, UnicodeDecodeError) as exc:
        raise CheckpointError(f"{source}: {JSON_FILE} is not JSON: copy the checkpoint again") from exc
    if not isinstance(description, dict) or description.get("format") != FORMAT:
        raise CheckpointError(f"{source}: {JSON_FILE} does not describe a raycolor checkpoint: name another folder")
    version = description.get("format_version")
    if version != FORMAT_VERSION:
        raise CheckpointError(
            f"{source}: checkpoint format version {version!r}: this raycolor reads version {FORMAT_VERSION}; "
            f"use the raycolor that saved it ({description.get('raycolor_version', 'unknown')})"
        )
    for key, kind in [
        ("method", str), ("network", dict), ("training", dict), ("dataset", dict),
        ("metrics", dict), ("raycolor_version", str), ("weights", dict),
    ]:  # fmt: skip
        if not isinstance(description.get(key), kind):
            raise CheckpointError(f"{source}: {JSON_FILE} has no {key!r}: copy the checkpoint again")
    if not {"name", "config"} <= set(description["network"]) or "sha256" not in description["weights"]:
        raise CheckpointError(f"{source}: {JSON_FILE} does not name its network and weights: copy it again")
    return description
