"""Very large photographs in bounded memory, through the shipped checkpoint."""

import io
from pathlib import Path

import cv2
import numpy as np
import pytest
import simplejpeg
import tifffile

from raycolor.colorize.isolation import IsolatedColorizer
from raycolor.colorizer.config import ColorizerConfig

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="memory is read from Linux's /proc"),
]


def photograph(height, width):
    """Return a gray picture with shapes and grain, (height, width) uint8."""
    rng = np.random.default_rng(150)
    gray = cv2.resize(rng.integers(30, 220, (40, 60), dtype=np.uint8), (width, height))
    gray += np.resize(rng.integers(0, 12, (500, width), dtype=np.uint8), gray.shape)
    return gray


def gray_jpeg(height, width):
    """Return a gray JPEG."""
    return simplejpeg.encode_jpeg(photograph(height, width)[..., None], 90, "GRAY")


def tiff(pixels, photometric):
    """Return an uncompressed TIFF: the largest that a picture can be, and its colored copy too."""
    sink = io.BytesIO()
    tifffile.imwrite(sink, pixels, photometric=photometric, metadata=None, rowsperstrip=64)
    return sink.getvalue()


def gray_tiff(height, width):
    """Return a gray TIFF of 8 bits."""
    return tiff(photograph(height, width), "minisblack")


def toned_tiff_16(height, width):
    """Return a sepia TIFF of 16 bits, the most memory a pixel can need."""
    gray = photograph(height, width)
    toned = np.empty((height, width, 3), np.uint16)
    for channel, gain in enumerate((240, 225, 190)):
        np.multiply(gray, gain, out=toned[..., channel], dtype=np.uint16)
    return tiff(toned, "rgb")


def memory(process, field):
    """Return a field of /proc/PID/status in bytes."""
    line = next(line for line in (process / "status").read_text().splitlines() if line.startswith(f"{field}:"))
    return int(line.split()[1]) * 1024


@pytest.mark.parametrize(
    ("make", "megapixels", "bound"), [(gray_jpeg, 150, 4), (gray_tiff, 150, 8), (toned_tiff_16, 40, 20)]
)
def test_a_large_photograph_stays_within_its_bound(make, megapixels, bound):
    """Peak memory above that of an idle worker is under `bound` bytes a pixel, input and output files included."""
    height, width = 10_000, megapixels * 100
    with IsolatedColorizer(ColorizerConfig(), timeout_s=900.0) as child:
        child.colorize(make(300, 400))
        process = Path(f"/proc/{child.child._process.pid}")
        data = make(height, width)
        before = memory(process, "VmRSS")
        (process / "clear_refs").write_text("5")
        result = child.colorize(data)
        peak = memory(process, "VmHWM") - before
    assert (result.width, result.height) == (width, height)
    print(f"{make.__name__}: {peak / (height * width):.2f} bytes a pixel, bound {bound}")
    assert peak < bound * height * width
