"""LZW of TIFF: what imagecodecs packs comes back, and no stream does harm."""

import imagecodecs
import numpy as np
import pytest
from codec_samples import gray

from raycolor.codecs import tiff_lzw
from raycolor.errors import DecodeError


def old_lzw(data: bytes) -> bytes:
    """Pack bytes as literals in the older form: nine bits from the right, the table cleared every 200 bytes."""
    codes = [code for i in range(0, len(data), 200) for code in (256, *data[i : i + 200])] + [257]
    packed = sum(code << 9 * i for i, code in enumerate(codes))
    return packed.to_bytes((9 * len(codes) + 7) // 8, "little")


@pytest.mark.parametrize("size", [1, 2, 3, 255, 4000, 70_000, 300_000])
def test_what_was_packed_comes_back(size):
    """Noise, one value, and a picture, over tables that fill and are cleared."""
    rng = np.random.default_rng(size)
    picture = np.resize(gray(300, 400), size).tobytes()
    for data in (rng.integers(0, 256, size, dtype=np.uint8).tobytes(), bytes(size), picture):
        assert tiff_lzw.decode(bytes(imagecodecs.lzw_encode(data)), size) == data


def test_the_older_form_is_read():
    """Files of before TIFF 6.0 have their bits from the right."""
    data = gray().tobytes()
    assert tiff_lzw.decode(old_lzw(data), len(data)) == data


def test_a_stream_that_ends_early_is_truncated():
    """Wherever a stream is cut, the strip lacks bytes."""
    data = gray().tobytes()
    coded = bytes(imagecodecs.lzw_encode(data))
    for cut in range(0, len(coded) - 4, 7):
        with pytest.raises(DecodeError, match="truncated"):
            tiff_lzw.decode(coded[:cut], len(data))


def test_damaged_streams_end_in_bytes_or_a_decode_error():
    """Any bytes at all: never more than was asked for, never an end of the process, which another decoder had."""
    rng = np.random.default_rng(0)
    coded = bytes(imagecodecs.lzw_encode(gray().tobytes()))
    ends = set()
    for _ in range(3000):
        broken = np.frombuffer(coded, np.uint8).copy()
        broken[rng.integers(len(broken), size=4)] = rng.integers(0, 256, 4)
        try:
            ends.add(len(tiff_lzw.decode(broken.tobytes(), 2623)))
        except DecodeError as error:
            ends.add(error.reason)
    assert ends == {2623, "truncated", "decode_error"}
