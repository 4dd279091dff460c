"""Let a trained U-Net predict color at a quarter of its input's size: python docs/training/quarter.py CHECKPOINT OUT

Its last decoder level convolves at half the size what is averaged over 2 x 2 pixels when color is read. What its first
convolution gives there on average, a convolution at a quarter of the size gives of the features before they are doubled
and of the folded skip, but for the very edges. The ones behind it follow a ReLU, and are brought over as if what they
see ran straight between pixels. Count the normalization anew by `recount.py`; training with `--init-from OUT` makes up
for the rest.
"""

import sys
from pathlib import Path

import torch
from torch import Tensor

from raycolor.models import checkpoints
from raycolor.models.build import build_model

# Rows are the offsets -1, 0, 1 of a kernel at half the size; columns the coarse pixels -1, 0, 1, and their shares in
# what the kernel sees there on average over a coarse pixel's two fine ones.
DOUBLED = torch.tensor([[0.5, 0.5, 0.0], [0.125, 0.75, 0.125], [0.0, 0.5, 0.5]])  # of what was doubled bilinearly
STRAIGHT = torch.tensor([[0.5, 0.5, 0.0], [0.0, 1.0, 0.0], [0.0, 0.5, 0.5]])
FOLDED = torch.tensor([[[0, 1], [1, 0], [0, 0]], [[0, 0], [1, 1], [0, 0]], [[0, 0], [0, 1], [1, 0]]]) / 2.0
"""The same for each of the two fine pixels in a coarse one."""


def spread(kernel: Tensor, shares: Tensor) -> Tensor:
    """Return a kernel (O, I, 3, 3) for features of half the size."""
    return torch.einsum("oikl,km,ln->oimn", kernel, shares, shares)


def fold(kernel: Tensor) -> Tensor:
    """Return a kernel (O, I, 3, 3) for folded features, (O, 4 I, 3, 3)."""
    return torch.einsum("oikl,kmp,lnq->oipqmn", kernel, FOLDED, FOLDED).flatten(1, 3)


def convert(trained: dict[str, Tensor], skip: int) -> dict[str, Tensor]:
    """Return the state dict of the same U-Net with `output_stride` 4, whose first skip has so many channels."""
    last = max(int(key.split(".")[1]) for key in trained if key.startswith("levels."))
    state = {key: value.float() if value.is_floating_point() else value for key, value in trained.items()}
    for key, kernel in state.items():
        if not key.startswith(f"levels.{last}.convs.") or kernel.ndim != 4:
            continue
        if key.endswith("convs.0.weight"):
            below, beside = kernel[:, :-skip], kernel[:, -skip:]
            state[key] = torch.cat([spread(below, DOUBLED), fold(beside)], dim=1)
        else:
            state[key] = spread(kernel, STRAIGHT)
    return state


def main(checkpoint: str, out: str) -> None:
    """Convert and save."""
    loaded = checkpoints.load(checkpoint)
    config = {**loaded.network["config"], "output_stride": 4, "pooling": 1}
    network = build_model("unet", config, pretrained=False)
    network.load_state_dict(convert(loaded.weights, network.encoder.skip_channels[0]))
    checkpoints.save(
        Path(out), network.eval(), method=loaded.method, training=loaded.training, dataset=loaded.dataset, metrics={}
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
