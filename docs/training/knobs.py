"""Measure what `colorize`'s knobs do: python docs/training/knobs.py CHECKPOINT FOLDER [N] [SIZE ...]

FOLDER holds color photographs that were never trained on; N of them (default 100) are made gray, colorized at each
network size (default 160 192 224 256) with and without `--tta flip`, and compared with their own color, all at
their full size or at 512 x 512 pixels' worth, whichever is less. Printed: mse, accuracy, PSNR, colorfulness
as a share of the photographs' own, and the network's CPU milliseconds, one thread.
"""

import sys
import time
from pathlib import Path

import cv2
import numpy as np
import torch

from raycolor.color import kernels, scale
from raycolor.color.kernels import lightness
from raycolor.color.resize import resize_area
from raycolor.colorizer.config import ColorizerConfig
from raycolor.colorizer.photograph import FileColorizer, network_shape
from raycolor.models.metrics import MetricSums

LARGEST = 512 * 512


def photographs(folder: str, count: int) -> list[np.ndarray]:
    """Return color photographs (H, W, 3) uint8 sRGB."""
    found = []
    for path in sorted(file for file in Path(folder).rglob("*") if file.is_file())[:count]:
        bgr = cv2.imread(str(path), cv2.IMREAD_COLOR)
        if bgr is not None:
            rgb = np.ascontiguousarray(bgr[..., ::-1])
            factor = min(1.0, (LARGEST / (rgb.shape[0] * rgb.shape[1])) ** 0.5)
            height, width = round(rgb.shape[0] * factor), round(rgb.shape[1] * factor)
            found.append(resize_area(rgb, height, width) if factor < 1 else rgb)
    return found


def main(checkpoint: str, folder: str, count: str = "100", *sizes: str) -> None:
    """Measure every pair of knobs."""
    torch.set_num_threads(1)
    pictures = photographs(folder, int(count))
    print(f"{len(pictures)} photographs")
    print("| network size | tta | mse | accuracy 10 | PSNR dB | colorfulness, share | CPU ms |")
    print("|---:|---|---:|---:|---:|---:|---:|")
    for size in [int(size) for size in sizes] or [160, 192, 224, 256]:
        for tta in ("none", "flip"):
            colorizer = FileColorizer(ColorizerConfig(checkpoint=checkpoint, network_size=size, tta=tta))
            shape = colorizer.checkpoint.skeleton()
            sums, spent = MetricSums(full=False), 0.0
            for index, rgb in enumerate(pictures):
                L, a, b = kernels.pixels_to_lab(rgb)
                seen = network_shape(*L.shape, size, shape.stride, shape.fixed_size_px)
                gray = np.ascontiguousarray(kernels.join(np.uint8, L, np.zeros((1, 1, 2), np.float32))[..., 0])
                small = lightness(resize_area(gray, *seen))
                begun = time.process_time()
                ab = colorizer.predict([small])[0].ab
                spent += time.process_time() - begun
                ab = cv2.resize(ab, (L.shape[1], L.shape[0]), interpolation=cv2.INTER_LINEAR)
                own = scale.ab_to_net(np.stack([a, b]))
                planes = scale.L_to_net(L[None]), scale.ab_to_net(np.moveaxis(ab, 2, 0)), own
                sums.add(*(torch.from_numpy(np.ascontiguousarray(one))[None] for one in planes), [str(index)])
            result = {name: cell["value"] for name, cell in sums.result(rounds=10).items()}
            truth = float(np.mean(sums.values["colorfulness_truth"]))
            cells = [f"{result['mse']:.4f}", f"{result['accuracy_10']:.3f}", f"{result['psnr_db']:.2f}"]
            cells += [f"{result['colorfulness'] / truth:.2f}", f"{1000 * spent / len(pictures):.0f}"]
            print(f"| {size} | {tta} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
