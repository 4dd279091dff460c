"""How many photographs per second does `prepare` convert, beside a plain scikit-image loop?

    python benchmarks/prepare.py [--source FOLDER] [--images 512] [--workers 2] [--repeats 3] [--out FILE.json]

The loop reads with scikit-image, cuts the center, resizes with antialiasing and converts to Lab, one photograph after
the other, and saves each as uncompressed npz: what a script would do. `prepare` runs with its default settings on a Ray
that is already up, once to warm the workers and then `--repeats` times; the median counts.
"""

import argparse
import io
import json
import os
import platform
import shutil
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image

from raycolor.cluster import session
from raycolor.cluster.prepare import prepare


def generate(folder: Path, count: int, size_px: int) -> None:
    """Write photographs-like JPEGs: smooth color with some texture, about 25 KB at 256 x 256."""
    rng = np.random.default_rng(0)
    for index in range(count):
        coarse = Image.fromarray(rng.integers(0, 256, (12, 12, 3), dtype=np.uint8))
        smooth = np.asarray(coarse.resize((size_px, size_px), Image.Resampling.BICUBIC), dtype=np.float32)
        picture = np.clip(smooth + rng.normal(0, 8, (size_px, size_px, 1)), 0, 255).astype(np.uint8)
        Image.fromarray(picture).save(folder / f"{index:06}.jpg", quality=92)


def naive(paths: list[Path], out: Path, size_px: int) -> float:
    """Convert with scikit-image in a loop; return images per second."""
    from skimage.color import gray2rgb, rgb2lab
    from skimage.io import imread
    from skimage.transform import resize

    started = time.perf_counter()
    for path in paths:
        rgb = imread(path)
        rgb = gray2rgb(rgb) if rgb.ndim == 2 else rgb[..., :3]
        side = min(rgb.shape[:2])
        top, left = (rgb.shape[0] - side) // 2, (rgb.shape[1] - side) // 2
        square = resize(rgb[top : top + side, left : left + side], (size_px, size_px), anti_aliasing=True)
        lab = rgb2lab(square)
        sink = io.BytesIO()
        np.savez(sink, L=np.rint(lab[..., 0] * 2.55).astype(np.uint8), ab=np.rint(lab[..., 1:]).astype(np.int8))
        (out / f"{path.stem}.npz").write_bytes(sink.getvalue())
    return len(paths) / (time.perf_counter() - started)


def main() -> None:
    """Measure and write the result as JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--source", type=Path, help="folder of photographs; default: generated ones of 256 x 256")
    parser.add_argument("--images", type=int, default=512)
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--rows-per-shard", type=int, default=64, help="small, so that few images fill all workers")
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    work = Path(tempfile.mkdtemp(prefix="raycolor-bench-"))
    try:
        source = work / "in"
        source.mkdir()
        if args.source is None:
            generate(source, args.images, 256)
        else:
            for path in sorted(path for path in args.source.rglob("*.jpg"))[: args.images]:
                shutil.copy(path, source / path.name)
        paths = sorted(source.iterdir())
        loop = []
        for repeat in range(args.repeats):
            (work / f"npz{repeat}").mkdir()
            loop.append(naive(paths, work / f"npz{repeat}", args.size))
        runs = []
        with session.connect():
            for repeat in range(args.repeats + 1):
                started = time.perf_counter()
                summary = prepare(
                    str(source),
                    str(work / f"out{repeat}"),
                    train=None,
                    val=None,
                    size_px=args.size,
                    workers=args.workers,
                    rows_per_shard=args.rows_per_shard,
                )
                runs.append(sum(summary["counts"].values()) / (time.perf_counter() - started))
        result = {
            "benchmark": "prepare",
            "images": len(paths),
            "mean_input_bytes": round(sum(path.stat().st_size for path in paths) / len(paths)),
            "size_px": args.size,
            "workers": args.workers,
            "scikit_image_loop_images_per_s": round(statistics.median(loop), 1),
            "prepare_images_per_s": round(statistics.median(runs[1:]), 1),
            "prepare_cold_images_per_s": round(runs[0], 1),
            "speedup": round(statistics.median(runs[1:]) / statistics.median(loop), 2),
            "loop_runs": [round(value, 1) for value in loop],
            "prepare_runs": [round(value, 1) for value in runs[1:]],
            "machine": {"cpus": len(os.sched_getaffinity(0)), "python": platform.python_version()},
        }
        text = json.dumps(result, indent=1)
        if args.out is not None:
            args.out.write_text(text + "\n")
        print(text)
    finally:
        shutil.rmtree(work, ignore_errors=True)


if __name__ == "__main__":
    main()
