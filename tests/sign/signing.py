"""Photographs of every format for the tests of `raycolor sign`, and what is read of signed ones."""

import io

import numpy as np
import photographs
from c2pa import Reader
from PIL import Image

from raycolor.sign import credentials

EMBEDDED = ("scan.jpg", "box/scan.png", "box/scan.webp", "scan.tif", "scan16.tif")
DETACHED = ("pages.tif", "scan.jp2", "scan.bmp")
MIME = {"jpg": "image/jpeg", "png": "image/png", "webp": "image/webp", "tif": "image/tiff"}


def pages():
    """Return a TIFF of two pages."""
    sink, (first, second) = io.BytesIO(), (Image.fromarray(photographs.gray_pixels(seed=k)) for k in (7, 8))
    first.save(sink, "tiff", save_all=True, append_images=[second])
    return sink.getvalue()


def scans():
    """Return a photograph of each format, in gray."""
    gray = photographs.gray_pixels()
    return {
        "scan.jpg": photographs.encoded(gray),
        "box/scan.png": photographs.encoded(gray, "png"),
        "box/scan.webp": photographs.encoded(gray, "webp", quality=90),
        "scan.tif": photographs.encoded(gray, "tiff"),
        "scan16.tif": photographs.encoded(gray.astype(np.uint16) * 257, "tiff"),
        "pages.tif": pages(),
        "scan.jp2": photographs.encoded(gray, "jpeg2000"),
        "scan.bmp": photographs.encoded(gray, "bmp"),
    }


def outputs(dest):
    """Return name -> bytes of all that lies in DEST but for the records."""
    return {name: data for name, data in photographs.tree(dest).items() if not name.startswith("_raycolor/")}


def manifest_of(data, name, manifest=None):
    """Return the active manifest of a file, which is valid."""
    more = {} if manifest is None else {"manifest_data": manifest}
    mime = MIME.get(name.rpartition(".")[2], f"image/{name.rpartition('.')[2]}")
    with Reader(mime, io.BytesIO(data), context=credentials._context(), **more) as reader:
        assert reader.get_validation_state() == "Valid"
        return reader.get_active_manifest()
