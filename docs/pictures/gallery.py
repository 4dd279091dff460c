"""Take the gallery of a job's page as a picture: python docs/pictures/gallery.py DEST OUT.jpg [KEY ...]

DEST is a folder that `raycolor colorize` wrote. Chromium draws its page (`DEST/_raycolor/report.html`) with all but the
gallery left out; the README's picture is made so:

    raycolor colorize docs/sample out
    python docs/pictures/gallery.py out docs/pictures/gallery.jpg
"""

import argparse
import json
import shutil
import subprocess
import tempfile
from pathlib import Path

from PIL import Image, ImageChops

TALL = 8000  # window; what is empty is cut away
SHOW = """<style>body > :not(.gallery) {{ display: none !important; }} body {{ max-width: none; padding: 1rem; }}
.gallery {{ grid-template-columns: repeat({columns}, 1fr); gap: .6rem; }}
.gallery .compare img {{ aspect-ratio: 4 / 3; object-fit: cover; }} .gallery figcaption {{ display: none; }}</style>
<script>const keys = {keys}; let left = {most};
for (const figure of document.querySelectorAll(".gallery figure")) {{
  const wanted = !keys.length || keys.includes(figure.querySelector(".key").textContent);
  if (!wanted || left-- <= 0) figure.remove();
}}</script></body>"""


def main() -> None:
    """Read the arguments and take the picture."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dest", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("keys", nargs="*", help="default: the first of the page")
    parser.add_argument("--most", type=int, default=16)
    parser.add_argument("--columns", type=int, default=4)
    parser.add_argument("--width", type=int, default=1200)
    parser.add_argument("--dark", action="store_true")
    given = parser.parse_args()
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if chromium is None:
        parser.error("no Chromium here: on Debian `apt install chromium`")
    page = (given.dest / "_raycolor" / "report.html").read_text(encoding="utf-8")
    keys = json.dumps(given.keys).replace("<", "\\u003c")
    page = page.replace("</body>", SHOW.format(columns=given.columns, keys=keys, most=given.most))
    with tempfile.TemporaryDirectory() as folder:
        path, png = Path(folder, "page.html"), Path(folder, "page.png")
        path.write_text(page, encoding="utf-8")
        command = [
            chromium, "--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", f"--screenshot={png}",
            f"--user-data-dir={folder}/profile", f"--window-size={given.width},{TALL}", "--virtual-time-budget=3000",
            f"--blink-settings=preferredColorScheme={0 if given.dark else 1}", path.as_uri(),
        ]  # fmt: skip
        subprocess.run(command, check=True, timeout=300, capture_output=True)
        with Image.open(png) as opened:
            picture = opened.convert("RGB")
    paper = Image.new("RGB", picture.size, picture.getpixel((0, TALL - 1)))
    box = ImageChops.difference(picture, paper).getbbox()
    if box is None:
        parser.error(f"{given.dest}: its page shows no photograph")
    picture.crop(box).save(given.out, quality=80, optimize=True)


if __name__ == "__main__":
    main()
