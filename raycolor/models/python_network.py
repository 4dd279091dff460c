"""A network written in Python, named as `package.module:factory`; docs/own-network.md has an example."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from raycolor.color import scale
from raycolor.color.resize import resize_area
from raycolor.errors import CheckpointError
from raycolor.models.blocks import ColorNet, NetworkConfig
from raycolor.models.factory import importable


class PythonNetwork(ColorNet):
    """What a user's factory returns, as one of ours: it is called with lightness planes, 0..100, one at a time.

    Args:
        predict: takes a list of (h, w) float32 planes and returns for each ab (h', w', 2) in Lab units, float32, and
            confidence, 0..1 or None. Its attribute `multiple_of`, default 32, says which heights and widths it takes.
        source: what messages call it.
    """

    name: ClassVar[str] = "python"
    fusible: ClassVar[bool] = False

    def __init__(self, predict: Callable[[Sequence[Any]], Sequence[Any]], source: str) -> None:
        super().__init__(NetworkConfig())
        self._predict, self._source = predict, source
        self.stride = int(getattr(predict, "multiple_of", 32))

    def parameter_count(self) -> None:
        """See `ColorNet.parameter_count`: what a function holds is its own affair."""
        return

    def forward(self, L_net: Tensor) -> Tensor:
        """Return ab (B, 2, h', w') in network units."""
        return self.color(L_net)[0]

    def color(self, L_net: Tensor) -> tuple[Tensor, Tensor | None]:
        """See `ColorNet.color`; ab has the size that the network gives it.

        Raises:
            CheckpointError: it returns something else than it should.
        """
        planes = np.ascontiguousarray(scale.net_to_L(L_net.float()).cpu().numpy()[:, 0], np.float32)
        found = [self._one(plane) for plane in planes]
        size = found[0][0].shape[:2]
        ab = np.stack([one if one.shape[:2] == size else resize_area(one, *size) for one, _ in found])
        ab_net = scale.ab_to_net(torch.from_numpy(ab).permute(0, 3, 1, 2)).to(L_net.device)
        confidences = [one for _, one in found if one is not None]
        return ab_net, torch.tensor(confidences).to(L_net.device) if len(confidences) == len(found) else None

    def _one(self, plane: Any) -> tuple[Any, float | None]:
        try:
            ((ab, confidence),) = self._predict([plane])
        except (TypeError, ValueError) as exc:
            raise CheckpointError(f"{self._source}: {exc}: it must return [(ab, confidence)] for one plane") from exc
        if not isinstance(ab, np.ndarray) or ab.ndim != 3 or ab.shape[2] != 2 or 0 in ab.shape:
            raise CheckpointError(f"{self._source}: ab is {getattr(ab, 'shape', type(ab))}: it must be (h, w, 2)")
        return np.ascontiguousarray(ab, np.float32), None if confidence is None else float(confidence)


def build(source: str) -> PythonNetwork:
    """Import a factory and call it.

    Raises:
        CheckpointError: it cannot be imported, or returns nothing that can be called.
    """
    module, name = importable(source)
    try:
        factory = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError) as exc:
        raise CheckpointError(f"{source}: cannot be imported ({exc}): check the name") from exc
    predict = factory()
    if not callable(predict):
        raise CheckpointError(f"{source}: returns {type(predict).__name__}: it must return a function of planes")
    return PythonNetwork(predict, source)
