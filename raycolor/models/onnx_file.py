"""ONNX files: what is in them that must not be, and a session of onnxruntime; without torch."""

from __future__ import annotations

import importlib.util
import math
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from raycolor.errors import CheckpointError, ConfigError

if TYPE_CHECKING:
    import onnx


def parse(data: bytes, source: str) -> onnx.ModelProto:
    """Read an ONNX file without reading any other file.

    Raises:
        CheckpointError: it is none.
    """
    import onnx
    from google.protobuf.message import DecodeError

    try:
        model = onnx.load_model_from_string(data)
    except (DecodeError, ValueError) as exc:
        raise CheckpointError(f"{source}: is no ONNX file: export the network to ONNX again") from exc
    if not model.graph.node or not model.graph.output:
        raise CheckpointError(f"{source}: is no ONNX file: it holds no network")
    return model


def tensors(model: onnx.ModelProto) -> Iterator[onnx.TensorProto]:
    """Yield every stored tensor: weights and constants, also those of loops, branches and functions."""
    yield from _of_graph(model.graph)
    for function in model.functions:
        yield from _of_nodes(function.node)


def stored_numbers(model: onnx.ModelProto) -> int:
    """Return how many weights are stored; shapes and indices, which are integers of 32 or 64 bits, are none."""
    counted = (tensor for tensor in tensors(model) if tensor.data_type not in (tensor.INT64, tensor.INT32, tensor.BOOL))
    return sum(math.prod(tensor.dims) for tensor in counted)


def _of_graph(graph: onnx.GraphProto) -> Iterator[onnx.TensorProto]:
    yield from graph.initializer
    for sparse in graph.sparse_initializer:
        yield from (sparse.values, sparse.indices)
    yield from _of_nodes(graph.node)


def _of_nodes(nodes: Any) -> Iterator[onnx.TensorProto]:
    for node in nodes:
        for attribute in node.attribute:
            if attribute.HasField("t"):
                yield attribute.t
            if attribute.HasField("sparse_tensor"):
                yield from (attribute.sparse_tensor.values, attribute.sparse_tensor.indices)
            yield from attribute.tensors
            for graph in (*((attribute.g,) if attribute.HasField("g") else ()), *attribute.graphs):
                yield from _of_graph(graph)


def dtype_of(kind: str) -> str:
    """Return numpy's name of an element type that onnxruntime calls, for example, `tensor(float)`."""
    name = kind.removeprefix("tensor(").removesuffix(")")
    return {"float": "float32", "double": "float64"}.get(name, name)


def providers(device: str) -> list[Any]:
    """Return what onnxruntime is to run a network with on `cpu` or `cuda`."""
    if device == "cpu":
        return ["CPUExecutionProvider"]
    # Algorithms are chosen by rule, not by a race; and what is no TF32 on a CPU is none here.
    cuda = {"cudnn_conv_algo_search": "HEURISTIC", "use_tf32": "0"}
    return [("CUDAExecutionProvider", cuda), "CPUExecutionProvider"]


def open_session(data: bytes, source: str, device: str = "cpu") -> Any:
    """Return a session of onnxruntime for a file that may be anybody's; as `start_session`.

    Raises:
        CheckpointError: it keeps weights in other files, too; names where.
    """
    for tensor in tensors(parse(data, source)):
        if tensor.data_location == tensor.EXTERNAL:  # onnxruntime looks for it in the current folder
            place = next((entry.value for entry in tensor.external_data if entry.key == "location"), "?")
            raise CheckpointError(
                f"{source}: keeps weights outside itself, in {place[:100]!r}: save it as one file: no other is read"
            )
    return start_session(data, source, device)


def start_session(data: bytes, source: str, device: str = "cpu") -> Any:
    """Return a session of onnxruntime: one thread, deterministic.

    Args:
        data: the ONNX file, which names no other files.
        source: what messages call it.
        device: `cpu` or `cuda`.

    Raises:
        CheckpointError: onnxruntime does not take the file.
        ConfigError: onnxruntime is not installed, or has no CUDA provider.
    """
    if importlib.util.find_spec("onnxruntime") is None:
        raise ConfigError(f"{source}: runs with onnxruntime, which is not installed: pip install onnxruntime")
    import onnxruntime

    if device != "cpu" and "CUDAExecutionProvider" not in onnxruntime.get_available_providers():
        raise ConfigError(
            f"{source}: onnxruntime has no CUDA provider here: pip uninstall onnxruntime, then pip install "
            "'raycolor[onnx-gpu]', or give --shape fused"
        )
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.use_deterministic_compute = True
    options.log_severity_level = 4
    try:
        return onnxruntime.InferenceSession(data, options, providers=providers(device))
    except Exception as exc:
        # onnxruntime's exceptions share no base but this one.
        raise CheckpointError(
            f"{source}: onnxruntime does not take it ({' '.join(str(exc).split())[:200]}): export the network again"
        ) from exc
