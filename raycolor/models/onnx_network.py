"""A network from an ONNX file, run by onnxruntime behind the interface of our own networks."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from raycolor.color import scale
from raycolor.color.resize import resize_area
from raycolor.models.blocks import ColorNet, NetworkConfig
from raycolor.models.card import Card, padded_shape
from raycolor.models.card_arithmetic import color_of, run_network
from raycolor.models.onnx_file import open_session, parse, stored_numbers


class OnnxNetwork(ColorNet):
    """An imported network as one of ours; it has nothing to train.

    It runs where the module is: `to("cuda")` asks for onnxruntime's CUDA provider. Photographs are computed one by
    one unless the card says that the batch is dynamic.

    Args:
        data: model.onnx.
        card: what it reads and answers.
        source: what messages call it.
    """

    name: ClassVar[str] = "onnx"
    fusible: ClassVar[bool] = False
    _place: Tensor

    def __init__(self, data: bytes, card: Card, source: str) -> None:
        super().__init__(NetworkConfig())
        self.card, self._data, self._source = card, data, source
        # Any size is taken: what does not fit is resized or padded here.
        self.stride, self.fixed_size_px = 1, None
        # Follows `to(device)`.
        self.register_buffer("_place", torch.empty(0), persistent=False)
        self._session: Any = None
        self._device = ""

    def config(self) -> dict[str, Any]:
        """See `ColorNet.config`: the card."""
        return self.card.model_dump(mode="json")

    def parameter_count(self) -> int:
        """See `ColorNet.parameter_count`: the numbers stored in the file."""
        return stored_numbers(parse(self._data, self._source))

    def forward(self, L_net: Tensor) -> Tensor:
        """Return ab (B, 2, H', W') in network units, at the network's own size."""
        return self.color(L_net)[0]

    def color(self, L_net: Tensor) -> tuple[Tensor, Tensor | None]:
        """See `ColorNet.color`; ab has the size that the network gives it.

        Args:
            L_net: also (B, 4, H, W): lightness, a and b of hints in network units, and 1 where there is a hint.

        Raises:
            CheckpointError: onnxruntime cannot run it, or it answers something else than its card says.
        """
        L = scale.net_to_L(L_net[:, :1].float()).cpu().numpy()[:, 0]
        hints = _hints(L_net)
        height, width = L.shape[1:]
        rule = self.card.size
        if self.card.fit == "stretch" and ((height, width) != self._square(height, width)):
            side = self._square(height, width)
            L = np.stack([resize_area(plane, *side) for plane in L])
            hints = _resized(hints, side)
        else:
            full = padded_shape(self.card, height, width)
            if rule.fixed_px is not None and max(height, width) > rule.fixed_px:
                height, width = self.card.plane_shape(height, width, rule.fixed_px)
                L = np.stack([resize_area(plane, height, width) for plane in L])
                hints = _resized(hints, (height, width))
            fill = ((0, 0), (0, full[0] - height), (0, full[1] - width))
            L = np.pad(L, fill, mode="edge")
            hints = None if hints is None else np.pad(hints, ((0, 0), *fill))
        planes = np.ascontiguousarray(L, np.float32)
        answer, confidence = run_network(self._open(), self.card, planes, self._source, hints)
        ab = color_of(self.card, answer)
        if self.card.fit != "stretch":
            rows, columns = (
                round(size * part / whole)
                for size, part, whole in zip(ab.shape[2:], (height, width), L.shape[1:], strict=True)
            )
            ab = ab[:, :, : max(1, rows), : max(1, columns)]
        device = L_net.device
        ab_net = scale.ab_to_net(torch.from_numpy(np.ascontiguousarray(ab, np.float32)).to(device))
        return ab_net, None if confidence is None else torch.from_numpy(confidence).to(device)

    def _square(self, height: int, width: int) -> tuple[int, int]:
        """Return the square that a plane is stretched to."""
        rule = self.card.size
        if rule.fixed_px is not None:
            return rule.fixed_px, rule.fixed_px
        if height == width and height % rule.multiple_of == 0 and rule.min_px <= height <= rule.max_px:
            return height, width
        return rule.default_px, rule.default_px

    def _open(self) -> Any:
        """Return onnxruntime's session on the device where this module is."""
        device = self._place.device.type
        if device != self._device:
            self._session, self._device = open_session(self._data, self._source, device), device
        return self._session


def _hints(L_net: Tensor) -> NDArray[np.float32] | None:
    """Return the hints beside lightness, (B, 3, H, W): a and b in Lab units, and 1 where there is one."""
    if L_net.shape[1] == 1:
        return None
    found: NDArray[np.float32] = L_net[:, 1:].float().cpu().numpy().copy()
    found[:, :2] = scale.net_to_ab(found[:, :2])
    return found


def _resized(hints: NDArray[np.float32] | None, side: tuple[int, int]) -> NDArray[np.float32] | None:
    """Resize hints; around each they keep their color."""
    if hints is None:
        return None
    made = np.stack([[resize_area(np.ascontiguousarray(plane), *side) for plane in one] for one in hints])
    share = made[:, 2:]
    return np.where(share > 0, np.concatenate([made[:, :2] / np.maximum(share, 1e-6), np.ones_like(share)], 1), 0)
