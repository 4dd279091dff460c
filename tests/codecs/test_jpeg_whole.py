"""Damaged JPEGs: what a strict decoder can notice is refused, and what a file may cost is bounded by its size."""

from __future__ import annotations

import contextlib
import struct
import tracemalloc

import numpy as np
import pytest
import simplejpeg
from codec_samples import gray, picture, refused, save

from raycolor.codecs import decode, jpeg_exact, jpeg_file, read_header
from raycolor.errors import DecodeError

FLIPS = 150


def photograph(**options) -> bytes:
    """Return a gray JPEG with grain: in smooth pictures most flipped bits change nothing to be seen."""
    grain = np.random.default_rng(2).normal(0, 5, (300, 400))
    return save(np.clip(gray(300, 400) * 0.8 + 25 + grain, 0, 255).astype(np.uint8), "JPEG", quality=88, **options)


def scans(data: bytes) -> list[tuple[int, int]]:
    """Return where each scan lies, from its header's marker to its last byte."""
    found = []
    for segment in jpeg_file.parse(data).scans:
        start, stop = segment.scan
        found.append((start - len(segment.payload) - 4, stop))
    return found


@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"restart_marker_rows": 2}])
def test_nothing_that_libjpeg_warns_of_is_taken(options):
    """A flipped bit leaves a picture only where libjpeg has no warning; then under a tenth are wrong by 1%."""
    data = photograph(**options)
    whole = decode(data).pages[0]
    rng = np.random.default_rng(7)
    begin, end = scans(data)[0][0] + 16, len(data) - 2
    warned, wrong = 0, 0
    for _ in range(FLIPS):
        broken = bytearray(data)
        broken[rng.integers(begin, end)] ^= 1 << rng.integers(8)
        try:
            simplejpeg.decode_jpeg(bytes(broken), "GRAY", strict=True)
        except ValueError:
            warned += 1
            refused(bytes(broken), "decode_error", "truncated")
            continue
        with contextlib.suppress(DecodeError):
            wrong += (decode(bytes(broken)).pages[0] != whole).mean() > 0.01
    assert warned > FLIPS / 10, "these flips do not test what they should"
    assert wrong < FLIPS / 10


@pytest.mark.parametrize("progressive", [False, True])
def test_a_cut_file_that_was_closed_again_is_refused(progressive):
    """A recovery tool's end marker behind half a picture makes no whole one, wherever the cut is."""
    data = photograph(progressive=progressive)
    begin = scans(data)[0][1] if progressive else scans(data)[0][0] + 40
    for place in range(begin, len(data) - 3, len(data) // 40):
        refused(data[:place] + b"\xff\xd9", "truncated", "decode_error")


def test_a_progressive_file_without_its_last_scans_is_truncated():
    """Cut between two scans a file is a blurred picture without a warning: every bit of every coefficient must come."""
    for data in (photograph(progressive=True), save(picture(300, 400), "JPEG", quality=88, progressive=True)):
        for _, stop in scans(data)[:-1]:
            assert "before the scans" in refused(data[:stop] + b"\xff\xd9", "truncated")
        for start, stop in scans(data)[1:]:
            refused(data[:start] + data[stop:], "truncated", "decode_error")


def test_a_component_without_its_scan_is_truncated():
    """Where each component has a scan of its own, one that is missing leaves its neutral value and no warning."""
    plane = np.full((150, 200), 90, np.uint8)
    data = jpeg_exact(read_header(photograph()), plane, plane, provenance=None)
    assert decode(data).pages[0].shape == (300, 400, 3)
    for start, stop in scans(data):
        refused(data[:start] + data[stop:], "truncated")


def test_restart_intervals_missing_or_exchanged_are_refused():
    """Rows that were lost or exchanged, restart marker and all, are damage; so are markers that no header announces."""
    data = photograph(restart_marker_rows=1)
    _, stop = scans(data)[0]
    marks = [i for i in range(stop - 1) if data[i] == 0xFF and 0xD0 <= data[i + 1] <= 0xD7]
    assert len(marks) == 37
    a, b, c = marks[3], marks[4], marks[5]
    for broken in (
        data[:a] + data[b:],
        data[:a] + data[b:c] + data[a:b] + data[c:],
        data[: marks[2]] + data[marks[10] :],
        data[:b] + data[a:b] + data[b:],
        data.replace(b"\xff\xdd\0\x04", b"\xff\xee\0\x04"),
        data[: a + 1] + b"\xd9" + data[a + 2 :],
    ):
        assert broken != data
        refused(broken, "truncated", "decode_error")


def test_stray_bytes_between_segments_pass_and_hide_nothing():
    """Stray bytes before the tables leave the picture as it is; damage behind them is found as without them."""
    data = photograph()
    tables = data.index(b"\xff\xdb")
    stray = data[:tables] + b"\0\x11\x22" + data[tables:]
    np.testing.assert_array_equal(decode(stray).pages[0], decode(data).pages[0])
    broken = bytearray(stray)
    for place in range(len(data) // 2, len(data) // 2 + 40):
        broken[place] ^= 0x55
    refused(bytes(broken), "decode_error", "truncated")
    refused(stray[: len(stray) // 2] + b"\xff\xd9", "truncated")


def test_a_marker_behind_the_last_restart_interval_is_no_damage():
    """Some writers close the last interval with a restart marker as well."""
    data = photograph(restart_marker_rows=1)
    closed = data[:-2] + b"\xff\xd5" + data[-2:]
    np.testing.assert_array_equal(decode(closed).pages[0], decode(data).pages[0])


def test_fill_bytes_before_a_marker_are_no_damage():
    """Any number of 0xFF may stand before a marker (T.81 B.1.1.2)."""
    data = photograph()
    np.testing.assert_array_equal(decode(data[:-2] + b"\xff\xff\xff\xd9").pages[0], decode(data).pages[0])


def test_thousands_of_scans_or_segments_are_too_large():
    """A file may not buy hours of decoding with a few kilobytes of scans, nor gigabytes with empty segments."""
    data = photograph(progressive=True)
    start, stop = scans(data)[-1]
    assert "scans" in refused(data[:stop] + data[start:stop] * 200 + b"\xff\xd9", "too_large")
    assert "segments" in refused(data[:2] + b"\xff\xe5\0\x02" * 60_000 + data[2:], "too_large")


def test_no_memory_is_taken_for_pixels_that_are_not_there():
    """A small file that claims a large picture is refused before anything of the picture's size is allocated."""
    for progressive in (False, True):
        data = bytearray(photograph(progressive=progressive))
        frame = data.index(b"\xff\xc2" if progressive else b"\xff\xc0")
        struct.pack_into(">HH", data, frame + 5, 15_000, 15_000)
        decode(photograph(progressive=progressive))
        tracemalloc.start()
        refused(bytes(data), "truncated", "decode_error", "too_large")
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < 10 * len(data) + 3_000_000


def test_scans_that_say_nothing_are_bounded_by_the_files_size():
    """Scans of a few bytes each that pass over every block of a black page buy seconds of decoding: refused before."""
    data = save(np.zeros((2000, 2000), np.uint8), "JPEG", quality=50, progressive=True)
    decode(data)
    start, stop = scans(data)[-1]
    assert "blocks in" in refused(data[:stop] + data[start:stop] * 90 + data[stop:], "too_large")
