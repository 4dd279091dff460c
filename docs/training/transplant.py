"""Give a trained U-Net another encoder: python docs/training/transplant.py CHECKPOINT DATASET OUT [ENCODER [N]]

The decoder has learned to read the old encoder's features. N photographs of train (default 320) show how to tell those
from the new encoder's: by a linear map at each of the five sizes, found by ridge regression. It is folded into the
convolutions that read them, so that training with `--init-from OUT` begins where the decoder is of use, instead of with
weights drawn anew. Printed: what share of the old features' variance the new ones explain.
"""

import sys
from pathlib import Path

import torch
from torch import Tensor, nn

from raycolor.dataset.info import read_dataset
from raycolor.dataset.loading import batches
from raycolor.dataset.shards import LabSplit
from raycolor.models import checkpoints
from raycolor.models.blocks import ColorNet
from raycolor.models.build import build_model
from raycolor.storage import open_store

RIDGE = 1e-3  # of the mean variance of a feature
FROZEN = {"lite0": 5, "lite2": 7}  # as far as 1/8 of the size


def fit(old: nn.Module, new: nn.Module, split: LabSplit, count: int) -> list[tuple[Tensor, Tensor]]:
    """Return for each size the map from new features to old ones (inputs, outputs), and its constant (outputs,)."""
    sums: list[tuple[Tensor, Tensor, Tensor]] = []  # of x xT, x yT and y yT; x ends with a 1
    done = 0
    for batch in batches(split, epoch=0, seed=0, batch_size=16, crop_px=192, training=True):
        if done >= count:
            break
        done += len(batch.ids)
        with torch.inference_mode():
            pairs = list(zip(new(batch.L_net), old(batch.L_net), strict=True))
        for number, (features, wanted) in enumerate(pairs):
            x = features.movedim(1, -1).flatten(0, -2).double()
            y = wanted.movedim(1, -1).flatten(0, -2).double()
            x = torch.cat([x, torch.ones(len(x), 1, dtype=x.dtype)], dim=1)
            found = (x.T @ x, x.T @ y, y.T @ y)
            if number == len(sums):
                sums.append(found)
            else:
                sums[number] = tuple(a + b for a, b in zip(sums[number], found, strict=True))
    maps = []
    for xx, xy, yy in sums:
        ridge = RIDGE * xx.diagonal()[:-1].mean() * torch.eye(len(xx), dtype=xx.dtype)
        ridge[-1, -1] = 0
        solution = torch.linalg.solve(xx + ridge, xy)
        left = yy.trace() - 2 * (solution * xy).sum() + (solution * (xx @ solution)).sum()
        total = yy.trace() - xy[-1].square().sum() / xx[-1, -1]
        print(f"{len(xx) - 1} features explain {1 - float(left / total):.3f} of {len(yy)}")
        maps.append((solution[:-1], solution[-1]))
    return maps


def fold(network: ColorNet, trained: dict[str, Tensor], maps: list[tuple[Tensor, Tensor]]) -> dict[str, Tensor]:
    """Return the state dict of `network` with the trained decoder, read through the maps."""
    own = network.state_dict()
    state = {**own, **{key: value for key, value in trained.items() if not key.startswith("encoder.")}}
    deepest, skips = maps[-1], maps[:-1][::-1]
    for number, skip in enumerate(skips):
        weight = trained[f"levels.{number}.convs.0.weight"].double()
        reading = weight.shape[1] - skip[0].shape[1]  # channels that come from the level below
        below, beside = weight[:, :reading], weight[:, reading:]
        shift = torch.einsum("oikl,i->o", beside, skip[1])
        beside = torch.einsum("oikl,ji->ojkl", beside, skip[0])
        if number == 0:
            shift = shift + torch.einsum("oikl,i->o", below, deepest[1])
            below = torch.einsum("oikl,ji->ojkl", below, deepest[0])
        state[f"levels.{number}.convs.0.weight"] = torch.cat([below, beside], dim=1).float()
        # The constant goes into the normalization behind; at the very edges, which are padded, it is a little off.
        mean = f"levels.{number}.convs.1.running_mean"
        state[mean] = (trained[mean].double() - shift).float()
    return state


def main(checkpoint: str, dataset: str, out: str, encoder: str = "lite2", count: str = "320") -> None:
    """Fit, fold and save."""
    loaded = checkpoints.load(checkpoint)
    old = loaded.model()
    new = build_model("unet", {**old.config(), "encoder": encoder, "frozen_blocks": FROZEN[encoder]}).eval()
    store = open_store(dataset)
    maps = fit(old.encoder, new.encoder, LabSplit(read_dataset(store), store, "train"), int(count))
    new.load_state_dict(fold(new, loaded.weights, maps))
    checkpoints.save(
        Path(out), new, method=loaded.method, training=loaded.training, dataset=loaded.dataset,
        metrics={"transplanted_from": loaded.weights_sha256},
    )  # fmt: skip


if __name__ == "__main__":
    main(*sys.argv[1:])
