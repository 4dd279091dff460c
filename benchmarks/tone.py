"""How often does `classify_tone` tell gray, toned and color photographs apart?

    python benchmarks/tone.py --color DIR... [--archival DIR...] [--every N] [--json FILE]

`--color`: folders of color photographs. Each also serves as gray source of synthetic tonings (sepia, selenium,
cyanotype, faded, split-toned, unevenly faded; of random strength; JPEG of quality 60 to 95).
`--archival`: folders of photographs that are gray or toned. Names the wrong ones.
"""

import argparse
import json
from collections import Counter, defaultdict
from pathlib import Path

import cv2
import numpy as np

from raycolor.color.kernels import join, lightness
from raycolor.color.tone import classify_tone

TONINGS = ("gray", "sepia", "selenium", "cyanotype", "faded", "split", "uneven")
MAX_SIDE = 1000


def toned(gray: np.ndarray, toning: str, generator: np.random.Generator) -> np.ndarray:
    """Tone a gray picture and put it through JPEG; (H, W) uint8 to (H, W, 3) RGB uint8."""
    L = lightness(gray)
    if toning in ("faded", "uneven"):
        L = 18 + L * np.float32(0.72)
    x, strength = L / 100, generator.uniform(0.5, 1.4)
    middle, dark = 4 * x * (1 - x), (1 - x) * np.minimum(1, 4 * x)
    a, b = {
        "gray": (0 * x, 0 * x),
        "sepia": (9 * middle + 1, 20 * middle + 5),
        "selenium": (7 * dark, -4 * dark),
        "cyanotype": (-4 * middle, -38 * np.maximum(middle, 0) ** 0.8),
        "faded": (2 + 2 * x, 8 + 6 * x),
        "uneven": (2 + 2 * x, 8 + 6 * x),
        "split": ((6 * x - 2 * (1 - x)) * middle, (18 * x - 16 * (1 - x)) * middle),
    }[toning]
    if toning == "uneven":
        rows, columns = np.mgrid[-0.5 : 0.5 : gray.shape[0] * 1j, -0.5 : 0.5 : gray.shape[1] * 1j]
        strength = strength * (1 + 2 * generator.uniform(0.2, 0.8) * (rows**2 + columns**2))
    rgb = join(np.uint8, L, np.stack([strength * a, strength * b], axis=-1).astype(np.float32))
    quality = int(generator.choice([60, 70, 80, 90, 95]))
    coded = cv2.imencode(".jpg", rgb[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
    return cv2.imdecode(coded, cv2.IMREAD_COLOR_RGB)


def pictures(folder: Path, every: int) -> list[tuple[str, np.ndarray]]:
    """Read every `every`-th picture of a folder as RGB, at most MAX_SIDE on the longer side."""
    found = []
    for path in sorted(file for file in folder.rglob("*") if file.is_file())[::every]:
        rgb = cv2.imread(str(path), cv2.IMREAD_COLOR_RGB)
        if rgb is None:
            continue
        factor = MAX_SIDE / max(rgb.shape[:2])
        if factor < 1:
            rgb = cv2.resize(rgb, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA)
        found.append((str(path.relative_to(folder.parent)), rgb))
    return found


def main() -> None:
    """Sense everything and print the confusion table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--color", type=Path, nargs="+", required=True, metavar="DIR")
    parser.add_argument("--archival", type=Path, nargs="*", default=[], metavar="DIR")
    parser.add_argument("--every", type=int, default=1, metavar="N", help="take every N-th picture")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the table there, too")
    arguments = parser.parse_args()
    generator = np.random.default_rng(2)
    table: dict[str, Counter[str]] = defaultdict(Counter)
    wrong: list[str] = []
    for folder in arguments.color:
        for name, rgb in pictures(folder, arguments.every):
            kind = classify_tone(rgb)
            table[f"color: {folder.parent.name}/{folder.name}"][kind] += 1
            wrong += [f"{name} ({kind})"] if kind != "color" else []
            gray = cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY)
            for toning in TONINGS:
                kind = classify_tone(toned(gray, toning, generator))
                table[f"synthetic {toning}"][kind] += 1
    for folder in arguments.archival:
        for name, rgb in pictures(folder, arguments.every):
            kind = classify_tone(rgb)
            table[f"archival: {folder.name}"][kind] += 1
            wrong += [f"{name} ({kind})"] if kind == "color" else []
    print(f"{'what it is':36s} {'gray':>6s} {'toned':>6s} {'color':>6s} {'right':>8s}")
    rights = {True: Counter[bool](), False: Counter[bool]()}
    for name, row in sorted(table.items()):
        colorful = name.startswith("color")
        right = row["color"] if colorful else row["gray"] + row["toned"]
        rights[colorful].update({True: right, False: row.total() - right})
        print(f"{name:36s} {row['gray']:6d} {row['toned']:6d} {row['color']:6d} {right / row.total():8.2%}")
    for colorful, title in ((True, "color taken for color"), (False, "gray or toned not taken for color")):
        print(f"{title}: {rights[colorful][True]} of {rights[colorful].total()}")
    print("wrong:", *(wrong or ["none"]), sep="\n  ")
    if arguments.json:
        arguments.json.write_text(json.dumps({"table": table, "wrong": wrong}, indent=1) + "\n")


if __name__ == "__main__":
    main()
