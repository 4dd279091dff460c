"""`raycolor export`: a checkpoint as an ONNX file that any host runs, with its card in the metadata."""

from __future__ import annotations

import json
import logging
import warnings
from pathlib import Path
from typing import Final

import torch
from torch import Tensor, nn

from raycolor import __version__
from raycolor.color import scale
from raycolor.errors import CheckpointError, ConfigError
from raycolor.exchange.config import ExportConfig
from raycolor.models.blocks import ColorNet
from raycolor.models.card import BUILT_IN, METADATA_KEY, Card, SizeRule
from raycolor.models.checkpoints import PYTHON_METHOD, Checkpoint, load
from raycolor.models.fused import leave_last_doubling
from raycolor.models.whole_file import write_whole

logger = logging.getLogger(__name__)

_OPSET: Final = 18  # the one that other published colorizers use; hosts of 2023 and later have it
_COLOR, _CONFIDENCE = "ab", "confidence"


class _InLab(nn.Module):
    """A network that reads L in 0..100 and answers ab in Lab units, and confidence where it has one.

    Color ends at the size at which it is computed: whoever runs it enlarges it to the photograph anyway, better along
    its edges and once than twice.
    """

    def __init__(self, network: ColorNet) -> None:
        super().__init__()
        leave_last_doubling(network)
        self.network = network

    def forward(self, L: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        ab_net, confidence = self.network.color(scale.L_to_net(L))
        ab = scale.net_to_ab(ab_net.float())
        return ab if confidence is None else (ab, confidence)


def run(config: ExportConfig) -> int:
    """Export a checkpoint; returns the exit code.

    Raises:
        CheckpointError: the checkpoint cannot be loaded, or is a network of others.
        ConfigError: the file cannot be an ONNX file.
    """
    if "://" in config.file or not config.file.endswith(".onnx"):
        raise ConfigError(f"{config.file}: give a local file that ends in .onnx")
    checkpoint = load(config.checkpoint)
    for talkative in ("onnxscript", "onnx_ir"):
        logging.getLogger(talkative).setLevel(logging.WARNING)
    data = to_onnx(checkpoint)
    write_whole(Path(config.file), data)
    logger.info("%s: %.1f MB, opset %d, from checkpoint %s", config.file, len(data) / 1e6, _OPSET, checkpoint.name)
    return 0


def card_of(checkpoint: Checkpoint, network: ColorNet, *, output_stride: int, confidence: bool) -> Card:
    """Return the card of one of our networks."""
    fixed = network.fixed_size_px
    default = fixed or checkpoint.input_px(network)
    size = SizeRule(
        fixed_px=fixed, multiple_of=fixed or network.stride, default_px=round(default / network.stride) * network.stride
    )
    return BUILT_IN["raycolor"].model_copy(
        update={
            "name": f"raycolor {checkpoint.name}"[:100],
            "input_name": "L",
            "output_name": _COLOR,
            "output_stride": output_stride,
            "confidence": _CONFIDENCE if confidence else None,
            "size": size,
            "fit": "stretch" if fixed else "keep",
            "source": f"raycolor {__version__}, checkpoint {checkpoint.name}, sha256 {checkpoint.weights_sha256}",
        }
    )


def to_onnx(checkpoint: Checkpoint) -> bytes:
    """Return a checkpoint as the bytes of an ONNX file: float32, free batch, height and width where it takes any.

    Color has the size at which the network computes it, often half of the input's: the card says it (`output_stride`).

    Raises:
        CheckpointError: it is a network of others.
    """
    if checkpoint.method == PYTHON_METHOD:
        raise CheckpointError(f"{checkpoint.source}: is a network in Python: only raycolor's own can be exported")
    if checkpoint.card is not None:
        raise CheckpointError(
            f"{checkpoint.source}: is an imported network: its ONNX file is in the checkpoint already"
        )
    network = checkpoint.model()
    side = network.fixed_size_px or 4 * network.stride
    # Sizes of a batch of 1, or alike, torch would take for constants.
    width = side if network.fixed_size_px else side + network.stride
    L = torch.zeros(2, 1, side, width)
    # With gradients the bins head is read by torch's own operations, not by our compiled loop.
    network.requires_grad_(True)
    whole = _InLab(network).eval()
    with torch.no_grad():
        ab_net, found = network.color(scale.L_to_net(L[:1]))
    confidence = found is not None
    free: dict[int, object] = {0: torch.export.Dim("batch", max=4096)}
    if not network.fixed_size_px:
        for axis in (2, 3):
            free[axis] = network.stride * torch.export.Dim(f"strides_{axis}", min=1, max=256)
    with warnings.catch_warnings(), torch.enable_grad():
        warnings.simplefilter("ignore")  # of torch's own deprecations
        program = torch.onnx.export(
            whole, (L,), dynamo=True, verbose=False, opset_version=_OPSET, external_data=False,
            input_names=["L"], output_names=[_COLOR, _CONFIDENCE][: 1 + confidence], dynamic_shapes=(free,),
        )  # fmt: skip
    if program is None:
        raise CheckpointError(f"{checkpoint.source}: torch cannot export it")
    card = card_of(checkpoint, network, output_stride=side // ab_net.shape[2], confidence=confidence)
    program.model.metadata_props[METADATA_KEY] = json.dumps(card.model_dump(mode="json"))
    return bytes(program.model_proto.SerializeToString())
