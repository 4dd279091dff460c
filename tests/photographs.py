"""Made photographs for tests: small, seeded, and of every kind that a job meets."""

import io

import numpy as np
from PIL import Image


def gray_pixels(height=48, width=64, seed=0):
    """Return a smooth gray picture (H, W) uint8 with edges and a little grain."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0:height, 0:width]
    picture = 110 + 60 * np.sin(x / 9 + seed) + 40 * np.cos(y / 7) + 40 * ((x // 16 + y // 16) % 2)
    return np.clip(picture + rng.normal(0, 3, (height, width)), 0, 255).astype(np.uint8)


def color_pixels(height=48, width=64, seed=0):
    """Return a picture of many hues (H, W, 3) uint8."""
    y, x = np.mgrid[0:height, 0:width]
    channels = [127 + 120 * np.sin(x / 11 + y / 13 + phase + seed) for phase in (0, 2, 4)]
    return np.stack(channels, axis=-1).astype(np.uint8)


def encoded(pixels, kind="jpeg", **options):
    """Return pixels as the bytes of a file."""
    sink = io.BytesIO()
    Image.fromarray(pixels).save(sink, kind, **options)
    return sink.getvalue()


def archive(folder, count=6):
    """Fill a folder with good photographs of several formats; returns the keys."""
    made = {}
    for i in range(count):
        kind, extension = [("jpeg", "jpg"), ("png", "png"), ("tiff", "tif")][i % 3]
        made[f"box {i % 2}/photo-{i}.{extension}"] = encoded(gray_pixels(seed=i), kind)
    write_all(folder, made)
    return sorted(made)


def bad_files():
    """Return key -> (bytes, expected reason) of files that cannot be colorized."""
    jpeg, png = encoded(gray_pixels(200, 300)), encoded(gray_pixels(200, 300), "png")
    return {
        "empty.jpg": (b"", "empty"),
        "letter.png": (b"Dear archive,\n" * 40, "not_an_image"),
        "cut.jpg": (jpeg[: len(jpeg) // 2], "truncated"),
        "cut.png": (png[: len(png) // 2], "truncated"),
        "film.gif": (b"\0\0\0\x18ftypmp42" + bytes(64), "not_an_image"),
    }


def write_all(folder, files):
    """Write key -> bytes below a folder."""
    for key, data in files.items():
        path = folder / key
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)


def tree(folder):
    """Return relative path -> bytes of every file below a folder."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}
