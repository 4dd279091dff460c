"""How much faster than scikit-image are the color kernels, at one megapixel and one thread?

python benchmarks/color.py [--json FILE]
"""

import argparse
from collections.abc import Callable
from pathlib import Path

import common
import cv2
import numpy as np
from skimage.color import lab2rgb, rgb2lab
from skimage.transform import resize

from raycolor.color import kernels
from raycolor.color.arrays import in_gamut

SIDE = 1000
AB_SIDE = 112  # what a network at 224 px gives


def measure(task: Callable[[], object], repeats: int) -> dict[str, float]:
    """Run a task once to warm it up and `repeats` times; milliseconds of CPU, one thread."""
    return common.spread(common.times_ms(task, repeats, warm=1))


def main() -> None:
    """Measure every pair and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the numbers there, too")
    arguments = parser.parse_args()
    about = common.machine()
    cv2.setNumThreads(1)
    generator = np.random.default_rng(0)
    rgb = cv2.resize(generator.integers(0, 256, (20, 20, 3), dtype=np.uint8), (SIDE, SIDE))
    gray = cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY)
    L = kernels.lightness(gray)
    # Muted, as predictions are: next to nothing is out of gamut.
    ab = cv2.GaussianBlur(generator.standard_normal((AB_SIDE, AB_SIDE, 2)).astype(np.float32) * 60, (0, 0), 3)
    wild = ab * 6
    every = np.dstack([L, cv2.resize(wild, (SIDE, SIDE))])[::8, ::8]
    outside = 1 - in_gamut(every).mean()
    gray16 = gray.astype(np.uint16) * 257
    out = np.empty((SIDE, SIDE, 3), np.uint8)
    half = np.ascontiguousarray(gray[::2, ::2])

    def join_with_scikit_image() -> object:
        full = resize(ab, (SIDE, SIDE, 2), order=1)
        return (lab2rgb(np.dstack([L, full])) * 255).round().astype(np.uint8)

    rows = {
        "RGB to Lab, scikit-image": measure(lambda: rgb2lab(rgb), 9),
        "RGB to Lab, raycolor": measure(lambda: kernels.pixels_to_lab(rgb), 51),
        "ab + L to RGB, scikit-image": measure(join_with_scikit_image, 5),
        "ab + L to RGB, raycolor join8": measure(lambda: kernels.join(np.uint8, L, ab, out), 51),
        "ab + gray to RGB, raycolor join8": measure(lambda: kernels.join(np.uint8, gray, ab, out), 51),
        f"the same, {outside:.0%} of it out of gamut": measure(lambda: kernels.join(np.uint8, gray, wild, out), 15),
        "ab + gray to 16-bit RGB, raycolor join16": measure(lambda: kernels.join(np.uint16, gray16, ab), 51),
        "chroma planes for 4:2:0 (a quarter of the pixels)": measure(lambda: kernels.chroma_planes(half, ab), 51),
        "RGB to L alone, raycolor": measure(lambda: kernels.lightness(rgb), 51),
        "gray to L, raycolor": measure(lambda: kernels.lightness(gray), 51),
    }
    print(f"one megapixel, one thread, {common.told(about)}; milliseconds: median (quartiles) fastest")
    for name, row in rows.items():
        print(f"{name:52s} {row['median']:8.2f}  {common.quartiles(row, '.2f')} {row['least']:8.2f}  n={row['n']}")
    ratios = {
        "rgb_to_lab": rows["RGB to Lab, scikit-image"]["median"] / rows["RGB to Lab, raycolor"]["median"],
        "join": rows["ab + L to RGB, scikit-image"]["median"] / rows["ab + L to RGB, raycolor join8"]["median"],
    }
    print(f"times faster: RGB to Lab {ratios['rgb_to_lab']:.1f}, join {ratios['join']:.1f}")
    common.write(arguments.json, "color", {"machine": about, "rows": rows, "times_faster": ratios})


if __name__ == "__main__":
    main()
