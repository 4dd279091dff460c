"""Show how a distribution over colors is best read: python docs/training/reading.py CHECKPOINT FOLDER ...

The network runs once per color photograph of the folders, none of which it was trained on; what its bins head (or those
of an ensemble's members) says is turned into color by every temperature, rebalancing and saturation. Printed for each
folder and way: mean CIEDE2000, chroma and colorfulness with the photographs' own, and the share of photographs that end
farther from the truth than gray. Of ways of equal colorfulness the one with the least error is the best. Settings of
the network are made permanent by `docs/training/ship.py RUN NAME temperature=T rebalance=R saturation=S`.
"""

import argparse
from pathlib import Path

import cv2
import numpy as np
import torch

from raycolor.color import kernels, scale
from raycolor.color.difference import delta_e00
from raycolor.color.kernels import lightness
from raycolor.color.resize import resize_area
from raycolor.colorizer.photograph import network_shape
from raycolor.models import checkpoints
from raycolor.models.bins import BinsHead
from raycolor.models.metrics import colorfulness, to_rgb
from raycolor.models.precision import choose_precision

WAYS = [(1.0, 0.0), (0.6, 0.0), (0.4, 0.0), (0.3, 0.0), (0.6, 0.1), (1.0, 0.2)]
SATURATIONS = (1.0, 1.1, 1.15, 1.2, 1.3, 1.4)


def main() -> None:
    """Measure every way."""
    parser = argparse.ArgumentParser()
    parser.add_argument("checkpoint")
    parser.add_argument("folders", nargs="+")
    parser.add_argument("-n", type=int, default=10_000)
    parser.add_argument("--size", type=int, help="of the network's input; default: the checkpoint's own")
    args = parser.parse_args()
    checkpoint = checkpoints.load(args.checkpoint)
    network = checkpoint.model().to(memory_format=torch.channels_last)
    size = args.size or checkpoint.input_px(network)
    members = list(getattr(network, "members", [network]))
    if not all(isinstance(member.head, BinsHead) for member in members):
        raise SystemExit(f"{args.checkpoint}: has no bins head")
    bf16 = choose_precision("auto", torch.device("cpu")) == "bf16"
    print("| folder | temperature | rebalance | saturation | ΔE00 | chroma | colorfulness | farther than gray |")
    print("|---|---:|---:|---:|---:|---:|---:|---:|")
    for folder in args.folders:
        found: dict[tuple[float, float, float], list[tuple[float, ...]]] = {}
        truths = []
        for path in sorted(file for file in Path(folder).rglob("*") if file.is_file())[: args.n]:
            bgr = cv2.imread(str(path), cv2.IMREAD_COLOR)
            if bgr is None:
                continue
            rgb = np.ascontiguousarray(bgr[..., ::-1])
            L, a, b = kernels.pixels_to_lab(rgb)
            gray = np.ascontiguousarray(kernels.join(np.uint8, L, np.zeros((1, 1, 2), np.float32))[..., 0])
            seen = network_shape(*L.shape, size, network.stride, None)
            L_net = torch.from_numpy(scale.L_to_net(lightness(resize_area(gray, *seen)))[None, None])
            with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16, enabled=bf16):
                logits = [member.head.at_reading(member.features(L_net)) for member in members]
            full = torch.from_numpy(L)[None, None], torch.from_numpy(np.stack([a, b]))[None]
            truth = torch.cat(full, dim=1)
            dull = float(delta_e00(torch.cat([full[0], 0 * full[1]], dim=1), truth).mean())
            truths.append((dull, float(full[1].norm(dim=1).mean()), float(colorfulness(to_rgb(*full)))))
            for temperature, rebalance in WAYS:
                ab = torch.zeros(())
                for member, one in zip(members, logits, strict=True):
                    member.head.temperature, member.head.rebalance, member.head.saturation = temperature, rebalance, 1
                    with torch.inference_mode():
                        ab = ab + scale.net_to_ab(member.head.mean(one)) / len(members)
                ab = torch.nn.functional.interpolate(ab, size=L.shape, mode="bilinear", align_corners=False)
                for saturation in SATURATIONS:
                    color = ab * saturation
                    error = float(delta_e00(torch.cat([full[0], color], dim=1), truth).mean())
                    chroma, rich = float(color.norm(dim=1).mean()), float(colorfulness(to_rgb(full[0], color)))
                    found.setdefault((temperature, rebalance, saturation), []).append(
                        (error, chroma, rich, error > dull)
                    )
        gray_error, own_chroma, own_colorfulness = np.mean(truths, axis=0)
        name = "/".join(Path(folder).parts[-2:])
        print(f"| {name} ({len(truths)}) | gray | | | {gray_error:.2f} | {own_chroma:.1f} | {own_colorfulness:.1f} | |")
        for way, values in found.items():
            error, chroma, rich, farther = np.mean(values, axis=0)
            cells = [name, *map(str, way), f"{error:.2f}", f"{chroma:.1f}", f"{rich:.1f}", f"{farther:.2f}"]
            print(f"| {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
