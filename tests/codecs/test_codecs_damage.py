"""Damage: cut and flipped files give a reason, never half a picture and never a library's exception."""

from __future__ import annotations

import imagecodecs
import numpy as np
import pytest
import simplejpeg
from codec_samples import NAMES, colored, gray, picture, samples, save

from raycolor.codecs import Provenance, can_be_exact, decode, encode, jp2, jpeg_exact, png, read_header
from raycolor.codecs.guard import guard
from raycolor.errors import DecodeError

LIMIT = 3_000_000
FLIPS = 25


@pytest.mark.parametrize("name", NAMES)
def test_a_cut_file_is_never_taken_for_a_whole_one(name):
    """Cut at every sixteenth, each file is empty, truncated or no image; most also at the end."""
    data = samples()[name]
    places = {len(data) * i // 16 for i in range(16)}
    if name.startswith(("jpeg", "png", "webp")):
        places |= {len(data) - 3, len(data) - 20}
    for place in places:
        with pytest.raises(DecodeError) as caught:
            decode(data[:place])
        assert caught.value.reason in ("truncated", "empty", "not_an_image"), (place, caught.value)


def test_a_large_jpeg_is_truncated_wherever_it_is_cut():
    """In a picture with many scan lines every cut inside the scan is noticed, sequential or progressive."""
    for options in ({}, {"progressive": True}, {"restart_marker_rows": 1}):
        for picture_ in (gray(300, 400), picture(300, 400)):
            data = save(picture_, "JPEG", quality=85, **options)
            for place in range(len(data) // 8, len(data) - 2, len(data) // 40):
                with pytest.raises(DecodeError, match="truncated"):
                    decode(data[:place])


def test_a_jpeg_lacking_only_its_end_marker_is_whole():
    """All scan data is there in a single scan: the picture is complete, so it is taken; a progressive one is not."""
    data = samples()["jpeg-gray"]
    np.testing.assert_array_equal(decode(data[:-2]).pages[0], decode(data).pages[0])
    np.testing.assert_array_equal(decode(data[:-1]).pages[0], decode(data).pages[0])
    with pytest.raises(DecodeError, match="truncated"):
        decode(samples()["jpeg-gray-progressive"][:-2])


@pytest.mark.parametrize("name", NAMES)
def test_trailing_bytes_do_no_harm(name):
    """Bytes after the image (padding of tapes, a second image) leave it as it is."""
    expected = decode(samples()[name]).pages[0]
    np.testing.assert_array_equal(decode(samples()[name] + bytes(512)).pages[0], expected)


def _flipped(data: bytes, rng: np.random.Generator) -> bytes:
    """Flip up to seven bits, half of the times near the start, and now and then cut a piece out."""
    broken = bytearray(data)
    end = len(broken) if rng.random() < 0.5 else min(len(broken), 200)
    for _ in range(rng.integers(1, 8)):
        broken[rng.integers(end)] ^= 1 << rng.integers(8)
    if rng.random() < 0.2:
        at = rng.integers(len(broken))
        del broken[at : at + rng.integers(1, 30)]
    return bytes(broken)


def _try_everything(data: bytes) -> None:
    """Read, decode, write and, where it can be, write exactly; only DecodeError may come out."""
    try:
        photo = decode(data, max_pixels=LIMIT)
        assert all(page.dtype in (np.uint8, np.uint16) and page.ndim in (2, 3) for page in photo.pages)
        encode(photo, [colored(page) for page in photo.pages], provenance=Provenance("c", "0" * 64, "1"))
    except DecodeError as error:
        details = error.detail.splitlines()
        if len(details) != 1:
            pytest.fail(f"detail of {len(details)} lines: {error.detail!r}")
    try:
        header = read_header(data)
        if header.total_pixels <= LIMIT and can_be_exact(header):
            chroma = np.full((-(-header.height // 2), -(-header.width // 2)), 128, np.uint8)
            jpeg_exact(header, chroma, chroma, provenance=None)
    except DecodeError:
        pass


@pytest.mark.parametrize("name", NAMES)
def test_flipped_bits_raise_nothing_but_decode_errors(name):
    """Whatever bits are wrong, the outcome is a picture or a DecodeError with one line of detail."""
    rng = np.random.default_rng(NAMES.index(name))
    for _ in range(FLIPS):
        _try_everything(_flipped(samples()[name], rng))


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_many_flipped_bits_raise_nothing_but_decode_errors(name):
    """The same, a thousand times each."""
    rng = np.random.default_rng(1000 + NAMES.index(name))
    for _ in range(1000):
        _try_everything(_flipped(samples()[name], rng))


def test_random_bytes_after_a_signature():
    """A right signature and noise behind it is broken, truncated or too large, for every format."""
    rng = np.random.default_rng(5)
    for data in samples().values():
        for head in (4, 12, 30):
            _try_everything(data[:head] + rng.integers(0, 256, 600, dtype=np.uint8).tobytes())


def test_what_the_system_refuses_is_no_damage():
    """A library that cannot open what it needs is not the file's fault; a file that ends early is."""
    with pytest.raises(FileNotFoundError), guard("PNG"):
        raise FileNotFoundError(2, "No such file or directory")
    with pytest.raises(DecodeError) as caught, guard("PNG"):
        raise OSError("image file is truncated")
    assert caught.value.reason == "truncated"


def test_an_error_of_our_own_code_is_no_damage(monkeypatch):
    """What a library raises on a file is damage; what a line of raycolor raises is a defect and stays one."""
    with pytest.raises(DecodeError, match="decode_error: JPEG"), guard("JPEG"):
        simplejpeg.decode_jpeg(b"\xff\xd8 no picture", "GRAY")
    with pytest.raises(DecodeError, match="decode_error: JPEG 2000"), guard("JPEG 2000"):
        imagecodecs.jpeg2k_decode(bytes(100))
    for defect in (TypeError, AttributeError, LookupError, ZeroDivisionError, AssertionError, ValueError, RuntimeError):
        for module, name in ((jp2, "j2k"), (png, "png-8")):

            def defective(*args, defect=defect):
                raise defect("a mistake of ours")

            # As if the line stood in raycolor: a traceback knows a line by its file.
            defective.__code__ = defective.__code__.replace(co_filename=module.__file__)
            monkeypatch.setattr(module, "_read_metadata", defective)
            with pytest.raises(defect, match="a mistake of ours"):
                decode(samples()[name])
