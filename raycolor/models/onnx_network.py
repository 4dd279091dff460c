"""A network from an ONNX file, run by onnxruntime behind the interface of our own networks."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from raycolor.color import scale
from raycolor.color.arrays import lab_to_linear, rgb_to_lab, srgb_encode
from raycolor.color.resize import resize_area
from raycolor.errors import CheckpointError
from raycolor.models.blocks import ColorNet, NetworkConfig
from raycolor.models.card import Card, padded_shape
from raycolor.models.onnx_file import open_session


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

    def forward(self, L_net: Tensor) -> Tensor:
        """Return ab (B, 2, H', W') in network units, at the network's own size."""
        return self.color(L_net)[0]

    def color(self, L_net: Tensor) -> tuple[Tensor, Tensor | None]:
        """See `ColorNet.color`; ab has the size that the network gives it.

        Raises:
            CheckpointError: onnxruntime cannot run it, or it answers something else than its card says.
        """
        L = scale.net_to_L(L_net.float()).cpu().numpy()[:, 0]
        height, width = L.shape[1:]
        rule = self.card.size
        if self.card.fit == "stretch" and ((height, width) != self._square(height, width)):
            side = self._square(height, width)
            L = np.stack([resize_area(plane, *side) for plane in L])
        else:
            full = padded_shape(self.card, height, width)
            if rule.fixed_px is not None and max(height, width) > rule.fixed_px:
                height, width = self.card.plane_shape(height, width, rule.fixed_px)
                L = np.stack([resize_area(plane, height, width) for plane in L])
            L = np.pad(L, ((0, 0), (0, full[0] - height), (0, full[1] - width)), mode="edge")
        ab, sure = self._run(np.ascontiguousarray(L, np.float32))
        if self.card.fit != "stretch":
            rows, columns = (
                round(size * part / whole)
                for size, part, whole in zip(ab.shape[2:], (height, width), L.shape[1:], strict=True)
            )
            ab = ab[:, :, : max(1, rows), : max(1, columns)]
        device = L_net.device
        ab_net = scale.ab_to_net(torch.from_numpy(np.ascontiguousarray(ab, np.float32)).to(device))
        return ab_net, None if sure is None else torch.from_numpy(sure).to(device)

    def _square(self, height: int, width: int) -> tuple[int, int]:
        """Return the square that a plane is stretched to."""
        rule = self.card.size
        if rule.fixed_px is not None:
            return rule.fixed_px, rule.fixed_px
        if height == width and height % rule.multiple_of == 0 and rule.min_px <= height <= rule.max_px:
            return height, width
        return rule.default_px, rule.default_px

    def _run(self, L: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32] | None]:
        """Return ab (B, 2, h, w) in Lab units and confidence (B,) for planes (B, H, W) of a size that it takes."""
        if self.card.batch == 1 and len(L) > 1:
            colors, sure = zip(*(self._run(plane[None]) for plane in L), strict=True)
            return np.concatenate(colors), None if sure[0] is None else np.concatenate(sure)
        session = self._open()
        inputs = network_input(self.card, L)
        known = {given.name: given for given in session.get_inputs()}
        extra = {one.name: _constant(known, one.name, one.value, one.channels, L.shape) for one in self.card.extra}
        name = self.card.input_name or next((name for name in known if name not in extra), "")
        others = (output.name for output in session.get_outputs() if output.name != self.card.confidence)
        outputs = [self.card.output_name or next(others, "")]
        outputs += [self.card.confidence] if self.card.confidence else []
        try:
            found = session.run(outputs, {name: inputs, **extra})
        except Exception as exc:
            # onnxruntime's exceptions share no base but this one.
            raise CheckpointError(
                f"{self._source}: onnxruntime cannot run it ({' '.join(str(exc).split())[:200]}): import it with "
                "another card"
            ) from exc
        ab = network_output(self.card, np.asarray(found[0]), self._source)
        if len(ab) != len(L):
            raise CheckpointError(f"{self._source}: answers {len(ab)} planes for {len(L)}: its card must say batch: 1")
        if len(found) == 1:
            return ab, None
        sure_of = np.asarray(found[1], np.float32).reshape(len(ab), -1).mean(axis=1)
        return ab, np.clip(sure_of, 0, 1).astype(np.float32)

    def _open(self) -> Any:
        """Return onnxruntime's session on the device where this module is."""
        device = self._place.device.type
        if device != self._device:
            self._session, self._device = open_session(self._data, self._source, device), device
        return self._session


def network_input(card: Card, L: NDArray[np.float32]) -> NDArray[Any]:
    """Return what a network is given for lightness planes.

    Args:
        card: of the network.
        L: (B, H, W), 0..100.

    Returns:
        (B, channels, H, W), of the card's type.
    """
    value = L if card.input == "L" else neutral_gray(L)
    channels = np.repeat(value[:, None].astype(np.float32), card.channels, axis=1)
    mean, std = (np.asarray(numbers, np.float32)[None, :, None, None] for numbers in (card.mean, card.std))
    made = (channels * np.float32(card.scale) + np.float32(card.offset) - mean) / std
    if card.dtype == "uint8":
        made = np.clip(np.rint(made), 0, 255)
    return np.ascontiguousarray(made.astype(card.dtype))


def neutral_gray(L: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the gamma-encoded sRGB, 0..1, of grays of lightness L, 0..100; any shape."""
    lab = np.zeros((*L.shape, 3))
    lab[..., 0] = L
    return np.clip(srgb_encode(lab_to_linear(lab)[..., 0]), 0, 1).astype(np.float32)


def network_output(card: Card, values: NDArray[Any], source: str) -> NDArray[np.float32]:
    """Read a network's output as color.

    Args:
        card: of the network.
        values: (B, 2, h, w) ab, (B, 3, h, w) RGB, or (B, Q, h, w) logits.
        source: what messages call the network.

    Returns:
        (B, 2, h, w), Lab units; what is no number, or beyond any color, stays what it is for who looks for it.

    Raises:
        CheckpointError: another shape.
    """
    wanted = {"ab": 2, "rgb": 3, "ab_logits": len(card.bins)}[card.output]
    if values.ndim != 4 or values.shape[1] != wanted or 0 in values.shape:
        raise CheckpointError(
            f"{source}: answers {tuple(values.shape)}, and its card says {card.output}, (B, {wanted}, h, w): import it "
            "with another card"
        )
    made = values.astype(np.float32) * np.float32(card.output_scale) + np.float32(card.output_offset)
    if card.output == "ab_logits":
        made = made / np.float32(card.temperature)
        share = np.exp(made - made.max(axis=1, keepdims=True))
        share /= share.sum(axis=1, keepdims=True)
        centers = np.asarray(card.bins, np.float32)
        mean: NDArray[np.float32] = np.einsum("bqhw,qc->bchw", share, centers).astype(np.float32)
        return mean
    if card.output == "rgb":
        rgb = np.clip(made, 0, 1).transpose(0, 2, 3, 1)
        return np.ascontiguousarray(rgb_to_lab(rgb)[..., 1:].transpose(0, 3, 1, 2), np.float32)
    return np.ascontiguousarray(made)


def _constant(known: dict[str, Any], name: str, value: float, channels: int | None, L: tuple[int, ...]) -> NDArray[Any]:
    """Return an extra input filled with its constant."""
    if name not in known:
        raise CheckpointError(f"extra input {name!r} of the card: the file has {', '.join(known)}: mend the card")
    kind = known[name].type.removeprefix("tensor(").removesuffix(")")
    dtype = {"float": "float32", "double": "float64"}.get(kind, kind)
    if channels is not None:
        shape = [L[0], channels, *L[1:]]
    else:
        # A free batch is the lightness's own; other free sides are those of its plane.
        sides = [L[0], 1, *L[1:]]
        shape = [
            side if isinstance(side, int) else (sides[axis] if axis < len(sides) else 1)
            for axis, side in enumerate(known[name].shape)
        ]
    return np.full(shape, value, dtype)
