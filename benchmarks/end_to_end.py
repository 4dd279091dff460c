"""How long does one photograph take from encoded bytes to encoded bytes, beside a script and beside the codecs alone?

    python benchmarks/end_to_end.py [--folder DIR] [--checkpoints regression default] [--quick] [--json FILE]

Gray JPEGs, one thread, milliseconds of its CPU. Ways: `naive` is a script as it is usually written: Pillow decodes,
scikit-image converts to Lab, a float32 eager network of batch 1 sees 224 x 224, its ab is enlarged bilinearly and
joined by scikit-image, Pillow encodes; its large buffers are reused (glibc tuned so), which is to its advantage.
`floor` decodes and encodes, and does nothing else. `exact` and `reencode` are raycolor's two ways of writing a JPEG.
Networks are named before them.
"""

import argparse
import io
import json
import os
import subprocess
import sys
from functools import partial
from pathlib import Path

import common
import cv2
import numpy as np
import simplejpeg
import torch
from PIL import Image

SIZES = {"256x256": (256, 256), "1 MP": (1000, 1000), "12 MP": (3000, 4000), "24 MP": (4000, 6000)}
QUALITY = 92


def naive(data: bytes, network: torch.nn.Module) -> bytes:
    """Colorize as a script does."""
    from skimage.color import lab2rgb, rgb2lab
    from skimage.transform import resize

    rgb = np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))
    L = rgb2lab(rgb)[..., 0]
    small = resize(L, (224, 224), anti_aliasing=True)
    with torch.no_grad():
        ab = network(torch.from_numpy(small / 50 - 1).float()[None, None])[0].permute(1, 2, 0).numpy() * 110
    full = resize(ab, L.shape, order=1)
    joined = (lab2rgb(np.dstack([L, full])) * 255).round().astype(np.uint8)
    sink = io.BytesIO()
    Image.fromarray(joined).save(sink, "JPEG", quality=QUALITY)
    return sink.getvalue()


def floor(data: bytes, rgb: np.ndarray) -> None:
    """Decode, and encode what was colored beforehand."""
    simplejpeg.decode_jpeg(data, "GRAY")
    simplejpeg.encode_jpeg(rgb, QUALITY, "RGB", "420")


def files(size: str, count: int, folder: Path | None) -> list[bytes]:
    """Return gray JPEGs of one size."""
    pictures = common.gray_photographs(*SIZES[size], count, folder)
    return [simplejpeg.encode_jpeg(np.ascontiguousarray(gray)[..., None], 90, "GRAY") for gray in pictures]


def measure(way: str, sizes: list[str], given: argparse.Namespace) -> dict[str, list[float]]:
    """Return size -> milliseconds a photograph, each the mean of one round over several photographs."""
    from raycolor.colorizer.config import ColorizerConfig
    from raycolor.colorizer.photograph import FileColorizer
    from raycolor.models.checkpoints import load

    cv2.setNumThreads(1)
    torch.set_num_threads(1)
    name, _, how = way.partition(" ")
    found = {}
    for size in sizes:
        large, script = SIZES[size][0] * SIZES[size][1] > 10_000_000, name == "naive"
        count = 1 if large and script else 2
        rounds = (1 if large else 5) if script else (5 if large else 11)
        rounds = 1 if given.quick else rounds
        data = files(size, count, given.folder)
        if name == "naive":
            network = load(how).model()
            tasks = [partial(naive, one, network) for one in data]
        elif name == "floor":
            tasks = [partial(floor, one, simplejpeg.decode_jpeg(one, "RGB")) for one in data]
        else:
            colorizer = FileColorizer(ColorizerConfig(checkpoint=name, jpeg_luma=how, precision=given.precision))
            tasks = [partial(colorizer.colorize, one) for one in data]
        times = common.times_ms(lambda tasks=tasks: [task() for task in tasks], rounds, 0 if large and script else 1)
        found[size] = [value / count for value in times]
    return found


def show(
    runs: dict[str, dict[str, list[float]]], sizes: list[str], about: dict[str, object]
) -> dict[str, dict[str, float]]:
    """Print the table and return the medians."""
    medians = {way: {size: common.spread(times)["median"] for size, times in row.items()} for way, row in runs.items()}
    print(
        f"CPU milliseconds a photograph on one thread (times faster than naive; times the floor); {common.told(about)}"
    )
    print(f"{'':22s}" + "".join(f"{size:>26s}" for size in sizes))
    for way, row in medians.items():
        cells = []
        for size in sizes:
            if size not in row:
                cells.append("-")
                continue
            script = medians.get(f"naive {way.split()[0]}", {}).get(size)
            beside = [f"{script / row[size]:.1f}x"] if script else []
            beside += [f"{row[size] / medians['floor'][size]:.2f}"] if way != "floor" else []
            cells.append(f"{row[size]:.1f}" + (f" ({'; '.join(beside)})" if beside else ""))
        print(f"{way:22s}" + "".join(f"{cell:>26s}" for cell in cells))
    return medians


def main() -> None:
    """Measure every way in a process of its own, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, metavar="DIR", help="photographs to take; default: docs/sample")
    parser.add_argument("--checkpoints", nargs="+", default=["regression", "default"], metavar="NAME")
    parser.add_argument("--sizes", nargs="+", default=list(SIZES), choices=SIZES, metavar="SIZE")
    parser.add_argument("--precision", default="auto", choices=["auto", "fp32", "bf16"])
    parser.add_argument("--quick", action="store_true", help="one round of each, to see that it runs")
    parser.add_argument("--only", metavar="WAY", help="measure one way in this process and print its JSON")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the numbers there, too")
    given = parser.parse_args()
    if given.only:
        print(json.dumps(measure(given.only, given.sizes, given)))
        return
    about = common.machine()
    ways = ["floor", *(f"naive {name}" for name in given.checkpoints)]
    ways += [f"{name} {how}" for name in given.checkpoints for how in ("exact", "reencode")]
    runs: dict[str, dict[str, list[float]]] = {}
    for way in ways:
        # 24 megapixels take a script half a minute each, and tell nothing that 12 do not.
        sizes = [size for size in given.sizes if not (way.startswith("naive") and size == "24 MP")]
        command = [sys.executable, __file__, "--only", way, "--precision", given.precision, "--sizes", *sizes]
        command += ["--folder", str(given.folder)] if given.folder else []
        command += ["--quick"] if given.quick else []
        environment = {**os.environ, **(common.REUSE if way.startswith("naive") else {})}
        answer = subprocess.run(command, check=True, stdout=subprocess.PIPE, env=environment, text=True).stdout
        runs[way] = json.loads(answer.splitlines()[-1])
    medians = show(runs, given.sizes, about)
    common.write(
        given.json,
        "end_to_end",
        {"machine": about, "precision": given.precision, "median_ms": medians, "runs_ms": runs},
    )


if __name__ == "__main__":
    main()
