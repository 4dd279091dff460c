"""Prepare a trained network for inference: fold normalization into convolutions and fuse activations.

Weights, and what they compute, stay the same up to rounding. The result does not depend on what went through before.
"""

from __future__ import annotations

import copy
from typing import Any, Final, cast

import torch
from torch import Tensor, fx, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from raycolor.models.blocks import ColorNet, Upsample
from raycolor.models.efficientnet import SameConv2d

_RELU: Final = (nn.ReLU, torch.relu, torch.relu_, nn.functional.relu, nn.functional.relu_, "relu", "relu_")
_RELU6: Final = (nn.ReLU6, nn.functional.relu6)
# What oneDNN calls an activation, and its parameters.
_ONEDNN: Final[dict[str, tuple[str, list[float]]]] = {
    "": ("none", []), "relu": ("relu", []), "relu6": ("hardtanh", [0.0, 6.0]),
}  # fmt: skip


def onednn_convolution(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    padding: list[int],
    stride: list[int],
    dilation: list[int],
    groups: int,
    activation: str,
) -> Tensor:
    """Convolve (B, C, H, W) and activate in one pass: what Inductor's compiled code calls, and no public interface.

    Raises:
        AttributeError, RuntimeError, NotImplementedError: this torch or this CPU cannot.
    """
    name, limits = _ONEDNN[activation]
    fused = torch.ops.mkldnn._convolution_pointwise
    return fused(x, weight, bias, padding, stride, dilation, groups, name, limits, "")  # type: ignore[no-any-return]


class FusedConv(nn.Module):
    """A convolution with the activation behind it, computed by oneDNN in one pass where torch has it.

    Args:
        conv: with zeros as padding.
        activation: `relu`, `relu6` or empty.
        dtype: of weights and output; sums are float32.
    """

    def __init__(self, conv: nn.Conv2d, activation: str, dtype: torch.dtype) -> None:
        super().__init__()
        self._activation = activation
        self._around = conv.around if isinstance(conv, SameConv2d) else None
        self._padding, self._stride = list(cast(Any, conv.padding)), list(conv.stride)
        self._dilation, self._groups = list(conv.dilation), conv.groups
        self._weight: Tensor = conv.weight.detach().to(dtype).contiguous(memory_format=torch.channels_last)
        # A constant rounded is off by as much at every pixel, and no mean makes up for it.
        self._bias: Tensor | None = None if conv.bias is None else conv.bias.detach().float()
        self._in_one = self._works_in_one()
        if self._bias is not None and not self._in_one:
            self._bias = self._bias.to(dtype)  # torch's own convolution takes no other

    def forward(self, x: Tensor) -> Tensor:
        """Convolve (B, C, H, W) and activate."""
        x = x.to(self._weight.dtype)
        if self._around is not None:
            x = nn.functional.pad(x, self._around)
        if self._in_one:
            return self._convolve_in_one(x)
        y = nn.functional.conv2d(x, self._weight, self._bias, self._stride, self._padding, self._dilation, self._groups)
        if self._activation == "relu":
            return y.relu_()
        return y.clamp_(0, 6) if self._activation == "relu6" else y

    def _convolve_in_one(self, x: Tensor) -> Tensor:
        # The weights are left in torch's order: packed without the photograph's size, those of 1 x 1 convolutions are
        # far slower on small maps, and with it hardly faster.
        how = (self._padding, self._stride, self._dilation, self._groups)
        return onednn_convolution(x, self._weight, self._bias, *how, self._activation)

    def _works_in_one(self) -> bool:
        """Try it: it needs oneDNN, and that needs AVX-512 for bfloat16."""
        if self._weight.device.type != "cpu":
            return False
        side = max(self._weight.shape[2:]) * max(self._dilation)
        try:
            self._convolve_in_one(self._weight.new_zeros(1, self._weight.shape[1] * self._groups, side, side))
        except (AttributeError, RuntimeError, NotImplementedError):
            return False
        return True


class _Tracer(fx.Tracer):
    """Takes a convolution that pads by itself as one step, too."""

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return isinstance(m, SameConv2d) or super().is_leaf_module(m, module_qualified_name)


def fuse(network: ColorNet, dtype: torch.dtype = torch.float32) -> ColorNet:
    """Return a copy of a network for inference, which computes convolutions in `dtype`, float32 or bfloat16.

    Its color has half the height and width, or less, where the network ends by enlarging it bilinearly: that is left to
    whoever enlarges color to the photograph's size. For bfloat16 it is called under autocast, as the network itself
    would be.

    Args:
        network: in evaluation mode, on the device where it will run; stays as it is.
        dtype: of convolutions; sums are float32.
    """
    if not network.fusible:
        return network
    model = copy.deepcopy(network).eval().to(memory_format=torch.channels_last)
    leave_last_doubling(model)
    _fuse_children(model, dtype)
    return model


def leave_last_doubling(network: ColorNet) -> None:
    """Let a network end before it enlarges its finished color bilinearly, if it does."""
    doublings = network.last_doublings
    if all(cast(Upsample, network.get_submodule(name)).mode == "bilinear" for name in doublings):
        for name in doublings:
            network.set_submodule(name, nn.Identity())


def _fuse_children(module: nn.Module, dtype: torch.dtype) -> None:
    """Give every child that torch can trace a forward that is fused; others are looked into."""
    for child in module.children():
        forward: nn.Module | None = None
        if _can_fuse(child):
            forward = FusedConv(cast(nn.Conv2d, child), "", dtype)
        elif next(child.children(), None) is not None:
            try:
                forward = _fused_graph(child, dtype)
            except (fx.proxy.TraceError, NotImplementedError, TypeError, AttributeError, RuntimeError):
                _fuse_children(child, dtype)  # it decides by its input, or is a list and computes nothing
        if forward is not None:
            # The forward alone: a head may have more to say, and stays what it is. Past nn.Module's own __setattr__,
            # which would make a submodule of it that the class's forward hides.
            object.__setattr__(child, "forward", forward)


def _fused_graph(module: nn.Module, dtype: torch.dtype) -> nn.Module:
    """Trace a module and fold its convolutions."""
    traced = fx.GraphModule(module, _Tracer().trace(module)).eval()
    for node in list(traced.graph.nodes):
        conv = _module(traced, node)
        if _can_fuse(conv):
            _fold(traced, node, cast(nn.Conv2d, conv), dtype)
    traced.recompile()
    return traced


def _can_fuse(module: nn.Module | None) -> bool:
    return isinstance(module, nn.Conv2d) and module.padding_mode == "zeros" and not isinstance(module.padding, str)


def _fold(traced: fx.GraphModule, node: fx.Node, conv: nn.Conv2d, dtype: torch.dtype) -> None:
    """Replace a convolution and what follows it by one step."""
    chain = [node]
    follower = _only_user(node)
    norm = _module(traced, follower)
    if follower is not None and isinstance(norm, nn.BatchNorm2d):
        conv = fuse_conv_bn_eval(conv, norm)
        chain.append(follower)
        follower = _only_user(follower)
    activation = ""
    if follower is not None and follower.op in ("call_module", "call_function", "call_method"):
        kind = type(_module(traced, follower)) if follower.op == "call_module" else follower.target
        activation = "relu" if kind in _RELU else "relu6" if kind in _RELU6 else ""
        chain += [follower] if activation else []
    name = f"fused_{node.name}"
    traced.add_submodule(name, FusedConv(conv, activation, dtype))
    with traced.graph.inserting_before(node):
        fused = traced.graph.call_module(name, (node.args[0],))
    chain[-1].replace_all_uses_with(fused)
    for done in reversed(chain):
        traced.graph.erase_node(done)


def _only_user(node: fx.Node) -> fx.Node | None:
    return next(iter(node.users)) if len(node.users) == 1 else None


def _module(traced: fx.GraphModule, node: fx.Node | None) -> nn.Module | None:
    return traced.get_submodule(str(node.target)) if node is not None and node.op == "call_module" else None
