"""Put photographs before and after side by side: what made the picture of the model card.

python docs/pictures/contact_sheet.py SOURCE DEST OUT.jpg [KEY ...] [--columns 4] [--width 260]
"""

import argparse
from pathlib import Path

from PIL import Image, ImageOps

GAP = 6


def pair(before: Path, after: Path, width: int) -> Image.Image:
    """Return one photograph twice, gray and colored, one above the other."""
    pictures = []
    for path in (before, after):
        with Image.open(path) as opened:
            picture = ImageOps.exif_transpose(opened).convert("RGB")
        pictures.append(ImageOps.fit(picture, (width, round(width * 0.75)), Image.Resampling.LANCZOS))
    sheet = Image.new("RGB", (width, 2 * pictures[0].height), "white")
    for row, picture in enumerate(pictures):
        sheet.paste(picture, (0, row * picture.height))
    return sheet


def main() -> None:
    """Read the arguments and write the sheet."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("source", type=Path)
    parser.add_argument("dest", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("keys", nargs="*", help="default: all")
    parser.add_argument("--columns", type=int, default=4)
    parser.add_argument("--width", type=int, default=260)
    args = parser.parse_args()
    keys = args.keys or sorted(path.name for path in args.source.iterdir() if (args.dest / path.name).is_file())
    cells = [pair(args.source / key, args.dest / key, args.width) for key in keys]
    rows = -(-len(cells) // args.columns)
    height = cells[0].height + GAP
    sheet = Image.new("RGB", (args.columns * (args.width + GAP) - GAP, rows * height - GAP), "white")
    for i, cell in enumerate(cells):
        sheet.paste(cell, (i % args.columns * (args.width + GAP), i // args.columns * height))
    sheet.save(args.out, quality=85)


if __name__ == "__main__":
    main()
