"""Small networks as ONNX files, made by torch's own export or node by node, for tests of imported networks."""

import io
import warnings

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import nn

from raycolor.models.card import METADATA_KEY, Card
from raycolor.models.onnx_checkpoint import to_files


class Linear(nn.Module):
    """A 1 x 1 convolution with known numbers: what it computes can be written in numpy, too.

    Args:
        inputs: channels of the input.
        outputs: channels of the output.
        extras: channels of further inputs, whose sum is added to the output.
        shrink: height and width of the output are that many times smaller.
        confidence: answers a second output, the mean of the first input, clipped to 0..1.
        gain: factor on the weights, which else lie in -0.5..0.5; three outputs are RGB, with weights of their own.
    """

    def __init__(self, inputs, outputs, extras=(), shrink=1, confidence=False, gain=1.0):
        super().__init__()
        numbers = torch.Generator().manual_seed(inputs * 100 + outputs)
        if outputs == 3:  # RGB within its range for every gray
            weight, bias = torch.rand(3, inputs, generator=numbers) / inputs, torch.zeros(3)
        else:
            weight = gain * (torch.rand(outputs, inputs, generator=numbers) - 0.5)
            bias = torch.rand(outputs, generator=numbers) - 0.5
        self.weight, self.bias = nn.Parameter(weight[:, :, None, None]), nn.Parameter(bias)
        self.extras, self.shrink, self.confidence = extras, shrink, confidence

    def forward(self, x, *others):
        y = nn.functional.conv2d(x.float(), self.weight, self.bias)
        for other in others:
            y = y + other.float().sum(dim=1, keepdim=True)
        if self.shrink > 1:
            y = nn.functional.avg_pool2d(y, self.shrink)
        if self.confidence:
            return y, x.float().mean(dim=(1, 2, 3)).clamp(0, 1)
        return y


def exported(net, *, side=64, dynamic=True, batch="dynamic", dtype=torch.float32):
    """Return a `Linear` as the bytes of an ONNX file.

    Args:
        net: the network.
        side: height and width of the example, and of a fixed size.
        dynamic: height and width are free.
        batch: 1 or `dynamic`.
        dtype: of the first input.
    """
    channels = [net.weight.shape[1], *net.extras]
    # torch takes a size of 1 for a constant.
    size = 2 if batch == "dynamic" else 1
    example = tuple(
        torch.zeros(size, count, side, side, dtype=dtype if i == 0 else torch.float32)
        for i, count in enumerate(channels)
    )
    free = {}
    if batch == "dynamic":
        free[0] = torch.export.Dim("batch")
    if dynamic:
        free |= {2: torch.export.Dim.AUTO, 3: torch.export.Dim.AUTO}
    names = ["input", *(f"extra_{i}" for i in range(len(net.extras)))]
    outputs = ["color", "sure"] if net.confidence else ["color"]
    # `*others` is one argument to torch.
    shapes = (dict(free), *((tuple(dict(free) for _ in net.extras),) if net.extras else ())) if free else None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        program = torch.onnx.export(
            net.eval(), example, dynamo=True, verbose=False, input_names=names, output_names=outputs,
            dynamic_shapes=shapes, optimize=True, external_data=False,
        )  # fmt: skip
    buffer = io.BytesIO()
    program.save(buffer)
    return buffer.getvalue()


def network(
    path, *, channels=1, outputs=2, side=None, gain=1.0, bias=1.0, nodes=None, metadata=None, extra=(), batch=1
):
    """Write a 1 x 1 convolution as an ONNX file, or other nodes from `input` to `output`."""
    sides = [side or "height", side or "width"]
    weight = np.linspace(-1, 1, outputs * channels).reshape(outputs, channels, 1, 1).astype(np.float32) * gain
    stored = [
        numpy_helper.from_array(weight, "weight"),
        numpy_helper.from_array(np.full(outputs, bias, np.float32), "bias"),
    ]
    graph = helper.make_graph(
        nodes or [helper.make_node("Conv", ["input", "weight", "bias"], ["output"])],
        "network",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, [batch, channels, *sides]), *extra],
        [helper.make_tensor_value_info("output", TensorProto.FLOAT, [batch, outputs, *sides])],
        stored if nodes is None else [],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
    if metadata is not None:
        helper.set_model_props(model, {METADATA_KEY: metadata})
    onnx.save(model, path)
    return model


def endless(above=-1.0):
    """Return nodes that give ab of one lightness plane, or loop for ever if its mean is above a number."""
    body = helper.make_graph(
        [helper.make_node("Identity", ["go"], ["on"]), helper.make_node("Sin", ["x"], ["y"])],
        "body",
        [
            helper.make_tensor_value_info("i", TensorProto.INT64, []),
            helper.make_tensor_value_info("go", TensorProto.BOOL, []),
            helper.make_tensor_value_info("x", TensorProto.FLOAT, None),
        ],
        [
            helper.make_tensor_value_info("on", TensorProto.BOOL, []),
            helper.make_tensor_value_info("y", TensorProto.FLOAT, None),
        ],
    )
    limit = helper.make_tensor("t", TensorProto.FLOAT, [], [above])
    return [
        helper.make_node("Constant", [], ["limit"], value=limit),
        helper.make_node("ReduceMean", ["input"], ["mean"], keepdims=0),
        helper.make_node("Greater", ["mean", "limit"], ["bright"]),
        helper.make_node("Concat", ["input", "input"], ["two"], axis=1),
        helper.make_node("Loop", ["", "bright", "two"], ["output"], body=body),
    ]


def write_checkpoint(folder, data, **card):
    """Write the checkpoint folder of a network, and return its card."""
    made = Card.model_validate({"name": "test", **card})
    folder.mkdir(parents=True, exist_ok=True)
    for name, file in to_files(data, made).items():
        (folder / name).write_bytes(file)
    return made
