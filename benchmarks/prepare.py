"""How many photographs per second does `prepare` convert, beside a plain scikit-image loop?

    python benchmarks/prepare.py [--source FOLDER] [--images 2048] [--workers 2] [--repeats 3] [--json FILE]

The loop reads with scikit-image, cuts the center, resizes with antialiasing and converts to Lab, one photograph after
the other, and saves each as uncompressed npz: what a script would do. `floor` decodes each and writes as many bytes,
in one process. `prepare` runs with its default settings on a Ray that is already up, once to warm the workers and then
`--repeats` times.
"""

import argparse
import io
import shutil
import tempfile
import time
from pathlib import Path

import common
import numpy as np
import simplejpeg

from raycolor.cluster import session
from raycolor.prepare.candidates import choose
from raycolor.prepare.config import PrepareConfig
from raycolor.prepare.driver import prepare


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


def floor(paths: list[Path], out: Path, size_px: int) -> float:
    """Decode, and write what Lab would take; return images per second."""
    nothing = bytes(3 * size_px * size_px)
    started = time.perf_counter()
    for path in paths:
        simplejpeg.decode_jpeg(path.read_bytes())
        (out / path.stem).write_bytes(nothing)
    return len(paths) / (time.perf_counter() - started)


def main() -> None:
    """Measure, print a table, write JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--source", type=Path, help="folder of photographs; default: generated ones of 256 x 256")
    parser.add_argument("--images", type=int, default=2048)
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--rows-per-shard", type=int, default=64, help="small, so that few images fill all workers")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the numbers there, too")
    args = parser.parse_args()
    about = common.machine()
    work = Path(tempfile.mkdtemp(prefix="raycolor-bench-"))
    try:
        source = work / "in"
        source.mkdir()
        if args.source is None:
            for index, data in enumerate(common.color_jpegs(args.images, 256)):
                (source / f"{index:06}.jpg").write_bytes(data)
        else:
            for path in sorted(path for path in args.source.rglob("*.jpg"))[: args.images]:
                shutil.copy(path, source / path.name)
        paths = sorted(source.iterdir())
        rates: dict[str, list[float]] = {"scikit-image loop": [], "floor: decode, write": []}
        for repeat in range(args.repeats):
            for name, way in (("scikit-image loop", naive), ("floor: decode, write", floor)):
                out = work / f"{way.__name__}{repeat}"
                out.mkdir()
                rates[name].append(way(paths, out, args.size))
        with session.connect():
            for repeat in range(args.repeats + 1):
                started = time.perf_counter()
                config = PrepareConfig(
                    source=str(source),
                    dataset=str(work / f"out{repeat}"),
                    train=None,
                    val=None,
                    size_px=args.size,
                    workers=args.workers,
                )
                summary = prepare(choose(config, args.rows_per_shard))
                rate = sum(summary["counts"].values()) / (time.perf_counter() - started)
                rates.setdefault("prepare" if repeat else "prepare, first", []).append(rate)
        spreads = {name: common.spread(values) for name, values in rates.items()}
        slow, fast = (spreads[name]["median"] for name in ("scikit-image loop", "floor: decode, write"))
        print(f"{len(paths)} photographs, {args.workers} workers; images a second; {common.told(about)}")
        print(f"{'way':22s} {'images/s':>9s} {'':17s} {'x loop':>7s} {'x floor':>8s}")
        for name, one in spreads.items():
            ratios = f"{one['median'] / slow:7.2f} {one['median'] / fast:8.2f}"
            print(f"{name:22s} {one['median']:9.1f} {common.quartiles(one):17s} {ratios}")
        mean_bytes = round(sum(path.stat().st_size for path in paths) / len(paths))
        result = {"images": len(paths), "mean_input_bytes": mean_bytes, "size_px": args.size, "workers": args.workers}
        common.write(args.json, "prepare", {"machine": about, **result, "images_per_s": spreads})
    finally:
        shutil.rmtree(work, ignore_errors=True)


if __name__ == "__main__":
    main()
