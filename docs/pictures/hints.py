"""Show what color hints do: python docs/pictures/hints.py HINTS.csv SOURCE OUT.jpg [--width 300]

Each photograph as it is, as the network colors it, and with the hints, whose places are marked. For docs/hints.md:

    python docs/pictures/hints.py docs/pictures/hints.csv docs/sample docs/pictures/hints.jpg
"""

import argparse
from pathlib import Path

from PIL import Image, ImageDraw

from raycolor import Colorizer
from raycolor.colorizer.hint_list import read_hints

GAP = 6


def main() -> None:
    """Read the arguments and write the picture."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("hints")
    parser.add_argument("source", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--width", type=int, default=300)
    args = parser.parse_args()
    colorizer, cells, side = Colorizer("default"), [], args.width
    for key, hints in read_hints(args.hints).hints.items():
        path = args.source / key
        pictures = [
            Image.open(path).convert("RGB"),
            *(Image.fromarray(colorizer(path, hints=given).rgb) for given in ((), hints)),
        ]
        draw, radius = ImageDraw.Draw(pictures[2]), max(pictures[2].size) / 60
        for hint in hints:
            box = (hint.x - radius, hint.y - radius, hint.x + radius, hint.y + radius)
            draw.ellipse(box, fill=hint.color, outline="white", width=max(1, round(radius / 4)))
        for picture in pictures:
            picture.thumbnail((side, side), Image.Resampling.LANCZOS)
        cells.append(pictures)
    heights = [row[0].height + GAP for row in cells]
    sheet = Image.new("RGB", (3 * side + 2 * GAP, sum(heights) - GAP), "white")
    for number, row in enumerate(cells):
        for column, picture in enumerate(row):
            sheet.paste(picture, (column * (side + GAP), sum(heights[:number])))
    sheet.save(args.out, quality=82)


if __name__ == "__main__":
    main()
