"""Count a U-Net's normalization anew: python docs/training/recount.py CHECKPOINT DATASET OUT INPUT_PX [N]

Training sees enlarged crops and averages weights: the running means and variances that it leaves are those of other
features than the averaged weights make of whole photographs. So N photographs of train (default 640) go whole, at
INPUT_PX, through the network, and what its normalizations see of them is kept (Touvron et al. 2019, arXiv:1906.06423,
on sizes in training and use). No weight changes; layers of the encoder that were never trained stay as published.
Metrics of the training are left out: they are not this network's.
"""

import sys
from pathlib import Path

import torch
from ship import with_settings
from torch import nn

from raycolor.dataset.config import AugmentConfig
from raycolor.dataset.info import read_dataset
from raycolor.dataset.loading import batches
from raycolor.dataset.shards import LabSplit
from raycolor.models import checkpoints
from raycolor.models.blocks import to_channels_last
from raycolor.models.precision import choose_precision
from raycolor.storage import open_store

BATCH = 16
FILM = AugmentConfig(film=1.0)  # grays as different films give them, as in archives


def main(checkpoint: str, dataset: str, out: str, input_px: str, count: str = "640") -> None:
    """Count and save."""
    loaded = checkpoints.load(checkpoint)
    network = with_settings(loaded.model(), {"input_px": int(input_px)})
    to_channels_last(network)
    frozen = {id(one) for block in network.encoder.first(network.config()["frozen_blocks"]) for one in block.modules()}
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d) and id(module) not in frozen:
            module.reset_running_stats()
            module.momentum = None  # the plain mean over all batches
            module.train()
    store = open_store(dataset)
    info = read_dataset(store)
    split = LabSplit(info, store, "train")
    bf16 = choose_precision("auto", torch.device("cpu")) == "bf16"
    done = 0
    for batch in batches(split, epoch=0, seed=0, batch_size=BATCH, crop_px=info.image_size, augment=FILM):
        if done >= int(count):
            break
        size = (int(input_px), int(input_px))
        L_net = nn.functional.interpolate(batch.L_net, size=size, mode="bilinear", align_corners=False)
        with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            network.features(L_net)
        done += len(batch.ids)
    checkpoints.save(
        Path(out), network.eval(), method=loaded.method, training=loaded.training, dataset=loaded.dataset,
        metrics={},
    )  # fmt: skip
    print(f"{out}: normalization of {done} photographs at {input_px} px")


if __name__ == "__main__":
    main(*sys.argv[1:])
