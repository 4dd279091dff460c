"""Show how a distribution over colors is best read: python docs/training/reading.py CHECKPOINT CHROMA FOLDER ...

The network runs once per color photograph of the folders, none of which it was trained on; what its bins head (or the
mean of an ensemble's members) says is turned into color in every way, each at the saturation that gives the mean chroma
CHROMA, in Lab units. Of ways of equal chroma the one with the least error is the best. Printed for each folder and way:
the saturation, mean CIEDE2000, and the share of photographs that end farther from the truth than gray. Errors are
counted at every so many pixels. Settings of the network are made permanent by `docs/training/ship.py RUN NAME
temperature=T shrinkage=K saturation=S`.
"""

import sys
from itertools import product
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor

from raycolor.color import kernels, scale
from raycolor.color.difference import delta_e00
from raycolor.color.kernels import lightness
from raycolor.color.resize import resize_area
from raycolor.colorizer.photograph import usual_shape
from raycolor.models import checkpoints
from raycolor.models.bins import BinsHead
from raycolor.models.precision import choose_precision

WAYS = [*product((0.6, 0.7, 0.85, 1.0), (0.0, 0.3, 0.6, 0.9)), (1.2, 0.6)]  # temperature, shrinkage
COUNTED_PX = 85  # so many pixels of the longer side are compared


def errors(L: Tensor, ab: Tensor, truth: Tensor) -> Tensor:
    """Return the mean CIEDE2000 of two pictures of one lightness."""
    return delta_e00(torch.cat([L, ab], dim=1), torch.cat([L, truth], dim=1)).mean()


def main(name: str, chroma: str, *folders: str) -> None:
    """Measure every way."""
    checkpoint = checkpoints.load(name)
    network = checkpoint.model().to(memory_format=torch.channels_last)
    size = checkpoint.input_px(network)
    members = list(getattr(network, "members", [network]))
    head = members[0].head
    if not all(isinstance(member.head, BinsHead) for member in members):
        raise SystemExit(f"{name}: has no bins head")
    bf16 = choose_precision("auto", torch.device("cpu")) == "bf16"
    head.saturation = 1.0
    print("| folder | temperature | shrinkage | saturation | ΔE00 | farther than gray |")
    print("|---|---:|---:|---:|---:|---:|")
    for folder in folders:
        truths: list[tuple[Tensor, Tensor]] = []
        found: dict[tuple[float, float], list[Tensor]] = {way: [] for way in WAYS}
        for path in sorted(file for file in Path(folder).rglob("*") if file.is_file()):
            bgr = cv2.imread(str(path), cv2.IMREAD_COLOR)
            if bgr is None:
                continue
            L, a, b = kernels.pixels_to_lab(np.ascontiguousarray(bgr[..., ::-1]))
            gray = np.ascontiguousarray(kernels.join(np.uint8, L, np.zeros((1, 1, 2), np.float32))[..., 0])
            seen = usual_shape(*L.shape, size, network.stride, None)
            L_net = torch.from_numpy(scale.L_to_net(lightness(resize_area(gray, *seen)))[None, None])
            step = max(1, max(L.shape) // COUNTED_PX)
            counted = (slice(None), slice(None), slice(step // 2, None, step), slice(step // 2, None, step))
            truths.append((torch.from_numpy(L)[None, None][counted], torch.from_numpy(np.stack([a, b]))[None][counted]))
            with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16, enabled=bf16):
                logits = torch.stack([one.head.at_reading(one.features(L_net)) for one in members]).mean(dim=0)
            for way in WAYS:
                head.temperature, head.shrinkage = way
                with torch.inference_mode():
                    ab = scale.net_to_ab(head.read(logits)[0])
                ab = torch.nn.functional.interpolate(ab, size=L.shape, mode="bilinear", align_corners=False)
                found[way].append(ab[counted].clone())
        label = f"{'/'.join(Path(folder).parts[-2:])} ({len(truths)})"
        dull = torch.stack([errors(L, torch.zeros_like(ab), ab) for L, ab in truths])
        print(f"| {label} | gray | | 0 | {dull.mean():.2f} | |")
        for way, colors in found.items():
            saturation = float(chroma) / float(torch.stack([ab.norm(dim=1).mean() for ab in colors]).mean())
            error = torch.stack([errors(L, ab * saturation, own) for ab, (L, own) in zip(colors, truths, strict=True)])
            farther = (error > dull).float().mean()
            print(
                f"| {label} | {way[0]} | {way[1]} | {saturation:.2f} | {error.mean():.3f} | {farther:.2f} |", flush=True
            )


if __name__ == "__main__":
    main(*sys.argv[1:])
