"""How much less does color bleed over edges when it is enlarged along the lightness, and what does that cost?

    python benchmarks/bleeding.py DIR [--megapixels N] [--network-size N] [--json FILE]

DIR: color photographs. Each is taken apart into lightness and color; color is averaged down to the size that the
network gives (half of --network-size), and enlarged again by the code that colorizes: what is wrong then is its error.
`near edges`: within 3 pixels of where lightness rises by more than 8 a pixel. Errors are distances of (a, b) in Lab
units, as root mean square. Times are of one thread's CPU, the fastest of several.
"""

import argparse
import io
import json
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import simplejpeg
import tifffile
import torch

from raycolor.color import kernels
from raycolor.colorizer.config import ColorizerConfig
from raycolor.colorizer.photograph import FileColorizer, network_shape

METHODS = ("bilinear", "guided")
EDGE = 8.0  # L per pixel
NEAR_PX = 3


def enlarge(L: np.ndarray, ab: np.ndarray, method: str) -> np.ndarray:
    """Enlarge small ab over L as `FileColorizer` does and return the (H, W, 2) that a viewer sees."""
    if method == "guided":
        ab = kernels.with_guide(ab, cv2.resize(L, ab.shape[1::-1], interpolation=cv2.INTER_AREA))
    return np.stack(kernels.pixels_to_lab(kernels.join(np.uint16, L, ab))[1:], axis=-1)


def errors(rgb: np.ndarray, network_size: int) -> dict[str, tuple[float, float, float, int]]:
    """Return method -> (squared error near edges, pixels near edges, squared error, pixels)."""
    L, *ab = kernels.pixels_to_lab(rgb)
    truth = np.stack(ab, axis=-1)
    height, width = (side // 2 for side in network_shape(*rgb.shape[:2], network_size, 32, None))
    small = cv2.resize(truth, (width, height), interpolation=cv2.INTER_AREA)
    rise = np.hypot(cv2.Sobel(L, cv2.CV_32F, 1, 0, scale=1 / 8), cv2.Sobel(L, cv2.CV_32F, 0, 1, scale=1 / 8))
    disk = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * NEAR_PX + 1, 2 * NEAR_PX + 1))
    near = cv2.dilate((rise > EDGE).astype(np.uint8), disk).astype(bool)
    found = {}
    for method in METHODS:
        wrong = ((enlarge(L, small, method) - truth) ** 2).sum(axis=-1, dtype=np.float64)
        found[method] = (float(wrong[near].sum()), int(near.sum()), float(wrong.sum()), wrong.size)
    return found


def fastest_ms(task: Callable[[], object], repeats: int) -> float:
    """Return the CPU time of the fastest run in milliseconds."""
    task()
    times = []
    for _ in range(repeats):
        start = time.process_time()
        task()
        times.append(time.process_time() - start)
    return 1000 * min(times)


def costs(rgb: np.ndarray, repeats: int) -> dict[str, dict[str, float]]:
    """Return file kind -> milliseconds per megapixel of a whole photograph, by method."""
    gray = cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY)
    files = {"JPEG, exact": simplejpeg.encode_jpeg(gray[..., None], 90, "GRAY")}
    for name, pixels in (("TIFF, 8 bits, LZW", gray), ("TIFF, 16 bits", gray.astype(np.uint16) * 257)):
        sink = io.BytesIO()
        tifffile.imwrite(sink, pixels, compression="lzw" if "LZW" in name else None, rowsperstrip=64, metadata=None)
        files[name] = sink.getvalue()
    colorizer = FileColorizer(ColorizerConfig())
    found: dict[str, dict[str, float]] = {}
    for name, data in files.items():
        for method in METHODS:
            colorizer.config = ColorizerConfig(upsampling=method)
            found.setdefault(name, {})[method] = (
                1e6 / gray.size * fastest_ms(partial(colorizer.colorize, data), repeats)
            )
    return found


def read(path: Path, megapixels: float) -> np.ndarray | None:
    """Read a picture as RGB, averaged down to at most so many megapixels; None for what is no picture."""
    rgb = cv2.imread(str(path), cv2.IMREAD_COLOR_RGB)
    if rgb is None:
        return None
    factor = (megapixels * 1e6 / (rgb.shape[0] * rgb.shape[1])) ** 0.5
    return rgb if factor >= 1 else cv2.resize(rgb, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA)


def main() -> None:
    """Measure everything and print both tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, metavar="DIR")
    parser.add_argument("--megapixels", type=float, default=3.0, metavar="N", help="larger ones are averaged down")
    parser.add_argument("--network-size", type=int, default=256, metavar="N")
    parser.add_argument("--repeats", type=int, default=7, metavar="N", help="of each time")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the numbers there, too")
    arguments = parser.parse_args()
    cv2.setNumThreads(1)
    torch.set_num_threads(1)
    rows: dict[str, dict[str, tuple[float, float, float, int]]] = {}
    largest = None
    for path in sorted(file for file in arguments.folder.rglob("*") if file.is_file()):
        rgb = read(path, arguments.megapixels)
        if rgb is not None:
            rows[path.name] = errors(rgb, arguments.network_size)
            largest = rgb if largest is None or rgb.size > largest.size else largest
    if largest is None:
        parser.error(f"{arguments.folder}: no picture")
    result: dict[str, object] = {}
    print(f"{len(rows)} photographs of up to {arguments.megapixels:g} megapixels, ab rms error in Lab units")
    print(f"{'':22s}{'near edges':>22s}{'everywhere':>22s}")
    for title, one in (("mean of photographs", True), ("all pixels together", False)):
        near, whole = [], []
        for method in METHODS:
            parts = np.array([row[method] for row in rows.values()])
            if one:
                near.append(float(np.mean(np.sqrt(parts[:, 0] / np.maximum(parts[:, 1], 1)))))
                whole.append(float(np.mean(np.sqrt(parts[:, 2] / parts[:, 3]))))
            else:
                near.append(float(np.sqrt(parts[:, 0].sum() / max(parts[:, 1].sum(), 1))))
                whole.append(float(np.sqrt(parts[:, 2].sum() / parts[:, 3].sum())))
        cells = [f"{pair[0]:7.2f} -> {pair[1]:5.2f} {pair[1] / pair[0] - 1:+6.1%}" for pair in (near, whole)]
        print(f"{title:22s}{cells[0]:>22s}{cells[1]:>22s}")
        result[title] = {"near": dict(zip(METHODS, near, strict=True)), "all": dict(zip(METHODS, whole, strict=True))}
    better = sum(row["guided"][0] < row["bilinear"][0] for row in rows.values())
    print(f"better near edges in {better} of {len(rows)}")
    times = costs(largest, arguments.repeats)
    print(f"whole photograph of {largest.shape[0] * largest.shape[1] / 1e6:.1f} megapixels, CPU ms per megapixel")
    for name, row in times.items():
        share = row["guided"] / row["bilinear"] - 1
        print(f"{name:22s}{row['bilinear']:8.2f} -> {row['guided']:6.2f} {share:+6.1%}")
    if arguments.json:
        arguments.json.write_text(json.dumps({**result, "better": better, "times_ms_per_mp": times}, indent=1) + "\n")


if __name__ == "__main__":
    main()
