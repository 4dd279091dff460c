"""Compare what `raycolor colorize` writes with the truth: python docs/training/truth.py --data FOLDER CHECKPOINT ...

FOLDER (repeatable) holds color photographs that were never trained on. Gray JPEG copies of them go through `raycolor
colorize` with every checkpoint; the files that come out are compared with the color photographs over all pixels.
Printed, with half of the 95% bootstrap interval over photographs: mean CIEDE2000, mean chroma, colorfulness (Hasler and
Suesstrunk), and the share of photographs that end farther from the truth than gray, which is the photograph's own
lightness without color.
"""

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from raycolor.color.arrays import rgb_to_lab
from raycolor.color.difference import delta_e00
from raycolor.models.metrics import bootstrap_interval, colorfulness

QUALITY = 92


def read(path: Path) -> NDArray[np.uint8] | None:
    """Return a photograph as (H, W, 3) BGR, or None if it is none."""
    found = cv2.imread(str(path), cv2.IMREAD_COLOR)
    return None if found is None else np.asarray(found, np.uint8)


def to_lab(bgr: NDArray[np.uint8]) -> tuple[Tensor, Tensor]:
    """Return Lab (1, 3, H, W) and sRGB in [0, 1]."""
    rgb = torch.from_numpy(np.ascontiguousarray(bgr[..., ::-1])).permute(2, 0, 1)[None].float() / 255
    lab = rgb_to_lab(bgr[..., ::-1] / 255)
    return torch.from_numpy(lab).permute(2, 0, 1)[None].float(), rgb


def measure(bgr: NDArray[np.uint8], truth: Tensor) -> tuple[float, float, float]:
    """Return CIEDE2000 to `truth`, chroma and colorfulness of one picture."""
    lab, rgb = to_lab(bgr)
    return float(delta_e00(lab, truth).mean()), float(lab[:, 1:].norm(dim=1).mean()), float(colorfulness(rgb))


def copies(folder: Path, into: Path) -> dict[str, tuple[NDArray[np.uint8], float]]:
    """Write gray copies; return for each name the color photograph and the error of gray."""
    photographs = {}
    into.mkdir()
    for path in sorted(file for file in folder.rglob("*") if file.is_file()):
        bgr = read(path)
        if bgr is None:
            continue
        name = "_".join(path.relative_to(folder).with_suffix(".jpg").parts)
        cv2.imwrite(str(into / name), cv2.cvtColor(bgr, cv2.COLOR_BGR2GRAY), [cv2.IMWRITE_JPEG_QUALITY, QUALITY])
        truth, _ = to_lab(bgr)
        dull = torch.cat([truth[:, :1], torch.zeros_like(truth[:, 1:])], dim=1)
        photographs[name] = bgr, float(delta_e00(dull, truth).mean())
    if not photographs:
        sys.exit(f"{folder}: no photographs in it")
    return photographs


def cell(values: list[float], digits: int) -> str:
    """Write a mean and half of its interval."""
    low, high = bootstrap_interval(values)
    return f"{np.mean(values):.{digits}f} ± {(high - low) / 2:.{digits}f}"


def main() -> None:
    """Colorize and compare."""
    parser = argparse.ArgumentParser()
    parser.add_argument("checkpoints", nargs="+")
    parser.add_argument("--data", action="append", required=True)
    args, flags = parser.parse_known_args()
    print("| photographs | n | checkpoint | ΔE00 | chroma | colorfulness | farther than gray |")
    print("|---|---:|---|---:|---:|---:|---:|")
    with tempfile.TemporaryDirectory(prefix="raycolor-truth-") as scratch:
        for number, data in enumerate(args.data):
            gray = Path(scratch) / f"gray-{number}"
            photographs = copies(Path(data), gray)
            label = f"{Path(data).parent.name}/{Path(data).name} | {len(photographs)}"
            own = [measure(bgr, to_lab(bgr)[0]) for bgr, _ in photographs.values()]
            print(f"| {label} | truth | 0 | {cell([o[1] for o in own], 1)} | {cell([o[2] for o in own], 1)} | |")
            print(f"| {label} | gray | {cell([dull for _, dull in photographs.values()], 2)} | 0 | 0 | |", flush=True)
            for at, checkpoint in enumerate(args.checkpoints):
                out = Path(scratch) / f"color-{number}-{at}"
                command = [sys.executable, "-m", "raycolor", "colorize", str(gray), str(out)]
                subprocess.run([*command, "--checkpoint", checkpoint, *flags], check=True, capture_output=True)
                rows = []
                for name, (bgr, dull) in photographs.items():
                    colored = read(out / name)
                    if colored is None:
                        sys.exit(f"{out / name}: not colorized")
                    error, chroma, rich = measure(colored, to_lab(bgr)[0])
                    rows.append((error, chroma, rich, float(error > dull)))
                cells = [cell([row[i] for row in rows], digits) for i, digits in enumerate((2, 1, 1, 2))]
                print(f"| {label} | {Path(checkpoint).name} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
