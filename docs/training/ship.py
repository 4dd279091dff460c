"""Put a trained checkpoint among those that come with raycolor, at half the size: python docs/training/ship.py RUN NAME

Weights are stored as float16 and computed with as float32. The script prints by how much the colors of a made picture
change, in Lab units.
"""

import sys

import numpy as np
import torch

from raycolor import checkpoints
from raycolor.color.scale import net_to_ab


def main(run: str, name: str) -> None:
    """Store, load again, compare."""
    trained = checkpoints.load(run)
    folder = checkpoints.SHIPPED / name
    checkpoints.save(
        folder,
        trained.model(),
        method=trained.method,
        training=trained.training,
        dataset=trained.dataset,
        metrics=trained.metrics,
        dtype="float16",
    )
    L_net = torch.from_numpy(np.random.default_rng(0).uniform(-1, 1, (1, 1, 28, 28)).astype(np.float32))
    L_net = torch.nn.functional.interpolate(L_net, size=(224, 224), mode="bicubic")
    with torch.inference_mode():
        before, after = (net_to_ab(one.model()(L_net)) for one in (trained, checkpoints.load(str(folder))))
    size_mb = (folder / checkpoints.WEIGHTS_FILE).stat().st_size / 1e6
    print(f"{folder}: {size_mb:.1f} MB, ab differs by at most {float((before - after).abs().max()):.3f}")


if __name__ == "__main__":
    main(*sys.argv[1:])
