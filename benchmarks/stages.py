"""Where does the time of one photograph go?

    python benchmarks/stages.py [--checkpoints regression default] [--sizes 256x256 "1 MP" "12 MP"] [--json FILE]

The steps of a gray JPEG on its way, each by itself, one thread, median milliseconds of its CPU; `rest` is what the
whole takes more than its steps: flags, first touches of memory.
"""

import argparse
from functools import partial
from pathlib import Path

import common
import cv2
import end_to_end
import torch

from raycolor import codecs
from raycolor.color import kernels
from raycolor.colorizer.config import ColorizerConfig
from raycolor.colorizer.photograph import FileColorizer


def stages(checkpoint: str, data: bytes, repeats: int) -> dict[str, float]:
    """Return step -> milliseconds for one photograph."""
    colorizer = FileColorizer(ColorizerConfig(checkpoint=checkpoint))
    prepared = colorizer.prepare(data)
    predicted = colorizer.predict(prepared.L_small)
    page, L, ab = prepared.photo.pages[0], prepared.L_small[0], predicted[0].ab
    guided = colorizer._color(ab, L, 1)
    luma = codecs.half_size_luma(page)
    cb, cr = kernels.chroma_planes(luma, guided)
    write = partial(codecs.jpeg_exact, prepared.photo.header, cb, cr, provenance=colorizer.provenance, quality=92)
    tasks = {
        "decode": partial(codecs.decode, data),
        "shrink for the network": partial(colorizer._small_lightness, page, 1),
        "network": partial(colorizer.predict, prepared.L_small),
        "fit color to lightness": partial(colorizer._color, ab, L, 1),
        "half-size luma": partial(codecs.half_size_luma, page),
        "chroma planes": partial(kernels.chroma_planes, luma, guided),
        "code chroma, splice": write,
        "whole": partial(colorizer.colorize, data),
    }
    found = {name: common.spread(common.times_ms(task, repeats))["median"] for name, task in tasks.items()}
    found["rest"] = found["whole"] - sum(ms for name, ms in found.items() if name != "whole")
    return found


def main() -> None:
    """Measure every size and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkpoints", nargs="+", default=["regression", "default"], metavar="NAME")
    sizes = ["256x256", "1 MP", "12 MP"]
    parser.add_argument("--sizes", nargs="+", default=sizes, choices=end_to_end.SIZES, metavar="SIZE")
    parser.add_argument("--folder", type=Path, metavar="DIR", help="photographs to take; default: docs/sample")
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the numbers there, too")
    given = parser.parse_args()
    about = common.machine()
    cv2.setNumThreads(1)
    torch.set_num_threads(1)
    found = {
        name: {size: stages(name, end_to_end.files(size, 1, given.folder)[0], given.repeats) for size in given.sizes}
        for name in given.checkpoints
    }
    print(f"CPU milliseconds of one photograph; {common.told(about)}")
    for name, row in found.items():
        print(f"{name:26s}" + "".join(f"{size:>10s}" for size in given.sizes))
        for step in next(iter(row.values())):
            print(f"  {step:24s}" + "".join(f"{row[size][step]:10.2f}" for size in given.sizes))
    common.write(given.json, "stages", {"machine": about, "stages_ms": found})


if __name__ == "__main__":
    main()
