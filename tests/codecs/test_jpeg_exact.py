"""Exact JPEG: the luma's coefficients come out as they went in, so that colorizing can be undone."""

from __future__ import annotations

import io
import shutil
import subprocess

import numpy as np
import pytest
from codec_samples import gray, picture, samples, save
from PIL import Image

from raycolor.codecs import Provenance, as_stored, decode, decode_luma, jpeg_exact, read_header, upright
from raycolor.errors import DecodeError, ShapeError

PROVENANCE = Provenance("default", "ab" * 32, "0.1.0")
needs_jpegtran = pytest.mark.skipif(shutil.which("jpegtran") is None, reason="jpegtran is not installed")
RESTARTS = {"no restarts": {}, "rows": {"restart_marker_rows": 1}, "blocks": {"restart_marker_blocks": 2}}


def chroma(height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Return smooth Cb and Cr planes for a picture of this size."""
    planes = picture(-(-height // 2), -(-width // 2), seed=9)
    return np.ascontiguousarray(planes[..., 0]), np.ascontiguousarray(planes[..., 2])


def jpegtran(data: bytes, *options: str) -> bytes:
    """Return jpegtran's output, without metadata."""
    command = ["jpegtran", "-copy", "none", *options]
    return subprocess.run(command, input=data, capture_output=True, check=True, timeout=60).stdout


def planes_of(data: bytes) -> np.ndarray:
    """Return the (H, W, 3) YCbCr of a JPEG."""
    with Image.open(io.BytesIO(data)) as image:
        image.draft("YCbCr", image.size)
        return np.asarray(image)


def check_undoing(kind: str, height: int, width: int, restart: str, progressive: bool, quality: int) -> None:
    """Assert that jpegtran makes the same gray file of the colored copy as of the original."""
    source = gray(height, width) if kind == "gray" else picture(height, width)
    options = dict(RESTARTS[restart]) | ({} if kind == "gray" else {"subsampling": kind})
    data = save(source, "JPEG", quality=quality, progressive=progressive, optimize=quality == 30, **options)
    out = jpeg_exact(read_header(data), *chroma(height, width), provenance=PROVENANCE)
    assert jpegtran(out, "-grayscale") == jpegtran(data, "-grayscale")


SIZES = [(1, 1), (8, 8), (9, 17), (16, 16), (33, 47), (64, 15)]


@needs_jpegtran
@pytest.mark.parametrize("progressive", [False, True])
@pytest.mark.parametrize("restart", RESTARTS)
@pytest.mark.parametrize("kind", ["gray", "4:4:4", "4:2:2", "4:2:0"])
def test_jpegtran_gives_the_original_back(kind, restart, progressive):
    """`jpegtran -grayscale` of the colored file is byte for byte that of the original: gray and toned, every kind."""
    check_undoing(kind, 33, 47, restart, progressive, quality=85)


@needs_jpegtran
@pytest.mark.slow
@pytest.mark.parametrize("quality", [30, 97])
@pytest.mark.parametrize("progressive", [False, True])
@pytest.mark.parametrize("restart", RESTARTS)
@pytest.mark.parametrize(("height", "width"), SIZES)
@pytest.mark.parametrize("kind", ["gray", "4:4:4", "4:2:2", "4:2:0"])
def test_jpegtran_gives_the_original_back_at_every_size(kind, height, width, restart, progressive, quality):
    """The same for sizes on, below and above block and MCU borders, and for optimized Huffman tables."""
    check_undoing(kind, height, width, restart, progressive, quality)


@needs_jpegtran
@pytest.mark.parametrize("kind", ["gray", "4:2:0"])
@pytest.mark.parametrize(("height", "width"), SIZES)
def test_odd_sizes_can_be_undone(kind, height, width):
    """One size each on, below and above block and MCU borders."""
    check_undoing(kind, height, width, "no restarts", False, quality=97)


@pytest.mark.parametrize("progressive", [False, True])
def test_the_gray_scan_itself_is_carried_over(progressive):
    """The coded bytes of a gray file's scan stand in the output as they are."""
    data = save(gray(100, 90), "JPEG", quality=90, progressive=progressive)
    out = jpeg_exact(read_header(data), *chroma(100, 90), provenance=None)
    scan = data[data.rindex(b"\xff\xda") + 10 : -2]
    assert len(scan) > 100
    assert scan in out


@pytest.mark.parametrize("progressive", [False, True])
@pytest.mark.parametrize("subsampling", ["gray", "4:4:4", "4:2:0"])
def test_decoders_see_the_luma_and_the_new_chroma(subsampling, progressive):
    """Decoded, Y' equals the original's exactly and Cb, Cr are the planes given, to the loss of JPEG at quality 100."""
    source = gray(80, 120) if subsampling == "gray" else picture(80, 120)
    options = {} if subsampling == "gray" else {"subsampling": subsampling}
    data = save(source, "JPEG", quality=80, progressive=progressive, **options)
    cb, cr = chroma(80, 120)
    out = jpeg_exact(read_header(data), cb, cr, provenance=None, quality=100)
    np.testing.assert_array_equal(decode_luma(decode(out)), decode_luma(decode(data)))
    header = read_header(out)
    assert header.jpeg is not None
    assert [(c.h, c.v) for c in header.jpeg.components] == [(2, 2), (1, 1), (1, 1)]
    assert header.progressive == progressive
    decoded = planes_of(out)
    for i, plane in enumerate((cb, cr), start=1):
        means = decoded[..., i].reshape(40, 2, 60, 2).mean(axis=(1, 3))
        assert np.abs(means - plane).mean() < 1.5  # decoders upsample with a triangle, so means differ a little


def test_neutral_chroma_gives_the_gray_picture():
    """With Cb = Cr = 128 every pixel is R = G = B = the original's value."""
    data = samples()["jpeg-gray"]
    neutral = np.full((22, 31), 128, np.uint8)
    page = decode(jpeg_exact(read_header(data), neutral, neutral, provenance=None)).pages[0]
    np.testing.assert_array_equal(page, np.repeat(decode(data).pages[0][..., None], 3, axis=2))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_chroma_is_given_as_stored(orientation):
    """For every orientation, chroma turned with as_stored lands on the upright picture's pixels."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    upright_luma = gray(40, 56)
    stored = np.ascontiguousarray(as_stored(upright_luma, orientation))
    data = save(stored, "JPEG", quality=95, exif=exif)
    half = np.full((20, 28), 128, np.uint8)
    half[:10, :14] = 200  # the upright picture's upper left quarter
    cb = np.ascontiguousarray(as_stored(half, orientation))
    out = jpeg_exact(read_header(data), cb, np.full_like(cb, 128), provenance=PROVENANCE, quality=100)
    assert read_header(out).orientation == orientation
    blue = upright(planes_of(out)[..., 1], orientation)
    assert blue[4:16, 4:24].min() > 190
    assert blue[24:, 32:].max() < 135


def test_adobe_marker_of_a_gray_file_does_not_turn_it_into_rgb():
    """A gray file may carry Adobe's marker with transform 0, which on three components would mean RGB."""
    data = samples()["jpeg-gray"]
    adobe = b"\xff\xee\x00\x0eAdobe\x00d\x00\x00\x00\x00\x00"
    without_jfif = data[:2] + adobe + data[20:]
    neutral = np.full((22, 31), 128, np.uint8)
    page = decode(jpeg_exact(read_header(without_jfif), neutral, neutral, provenance=PROVENANCE)).pages[0]
    np.testing.assert_array_equal(page, np.repeat(decode(data).pages[0][..., None], 3, axis=2))


def test_what_cannot_be_exact_is_refused():
    """CMYK has no luma to keep; the caller encodes again."""
    with pytest.raises(DecodeError, match="unsupported_format"):
        jpeg_exact(read_header(samples()["jpeg-cmyk"]), *chroma(43, 61), provenance=None)
    with pytest.raises(ShapeError, match="must be uint8"):
        jpeg_exact(read_header(samples()["jpeg-gray"]), *chroma(43, 64), provenance=None)


def test_a_damaged_interleaved_scan_is_an_error():
    """Cut inside its scan (end marker kept), a toned photograph's luma cannot be taken out: truncated, no filler."""
    data = save(picture(200, 200), "JPEG", quality=90)
    with pytest.raises(DecodeError, match=r"truncated|decode_error"):
        jpeg_exact(read_header(data[: len(data) // 2] + b"\xff\xd9"), *chroma(200, 200), provenance=None)


def test_output_is_the_same_every_time():
    """Two runs give the same bytes."""
    planes = chroma(43, 61)
    runs = {jpeg_exact(read_header(samples()["jpeg-420"]), *planes, provenance=PROVENANCE) for _ in range(2)}
    assert len(runs) == 1
