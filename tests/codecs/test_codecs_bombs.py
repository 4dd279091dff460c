"""One file does not take the machine: memory and time are bounded by its size, and by --max-pixels before decoding."""

from __future__ import annotations

import signal
import struct
import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from codec_samples import gray, samples, save

from raycolor.codecs import Provenance, decode, icc, read_header, xmp
from raycolor.errors import DecodeError

MADE = Provenance("c", "0" * 64, "1")
RDF = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
END = b"</rdf:RDF></x:xmpmeta>"
IPTC = b'xmlns:i="http://iptc.org/std/Iptc4xmpExt/2008-02-29/"'
MEGABYTE = 1 << 20


@contextmanager
def ended() -> Iterator[None]:
    """Fail what takes 30 s of a CPU, where a few milliseconds are enough: it would take minutes."""

    def stop(*_: object) -> None:
        raise AssertionError("no end after 30 s of a CPU")

    before = signal.signal(signal.SIGPROF, stop)
    signal.setitimer(signal.ITIMER_PROF, 30)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)


def test_a_gif_of_43_bytes_takes_no_gigabytes():
    """A GIF that claims a canvas of 65,535 x 65,535 pixels is refused from its header, by canvas or by frame."""
    canvas = bytearray(save(gray(1, 1), "GIF"))
    struct.pack_into("<HH", canvas, 6, 65535, 65535)
    frame = bytearray(save(gray(1, 1), "GIF"))
    struct.pack_into("<HH", frame, frame.rindex(b"\x2c\0\0\0\0") + 5, 65535, 65535)
    for data in (canvas, frame):
        tracemalloc.start()
        try:
            assert read_header(bytes(data)).total_pixels == 65535 * 65535
            with pytest.raises(DecodeError, match="too_large"):
                decode(bytes(data))
            assert tracemalloc.get_traced_memory()[1] < 1 << 20
        finally:
            tracemalloc.stop()


@pytest.mark.parametrize("place", [1, 12, 20, 25, 30])
def test_a_gif_cut_in_its_header_is_truncated(place):
    """What ends before its first picture is no picture, and the header reader says so."""
    data = samples()["gif"]
    with pytest.raises(DecodeError, match="truncated"):
        decode(data[:place])


PACKETS = {
    "spaces in a tag": RDF + b"<rdf:Description " + IPTC + b" " * MEGABYTE + b' i:AISystemUsed="x"/>' + END,
    "spaces before the end": RDF + b"<rdf:Description/>" + END + b" " * MEGABYTE + b"<?x?>",
    "fields": RDF + b"<rdf:Description " + IPTC + b">" + b"<i:AISystemUsed/>" * 60_000 + b"</rdf:Description>" + END,
    "descriptions": RDF + (b"<rdf:Description " + IPTC + b' i:AISystemUsed="x"/>') * 10_000 + END,
    "declarations": b"<?xml version='1.0'" + b" <?xml version='1.0'" * 50_000 + b"?>" + RDF + END,
    "processing": RDF + b"<!-- " + b"<?xpacket " * 100_000 + b" -->" + END,
    "openings": RDF + b"<!-- " + b"<a:RDF " * 100_000 + b" -->" + END,
    "attributes": RDF + b"<rdf:Description " + b" ".join(b'a%d="%d"' % (i, i) for i in range(60_000)) + b"/>" + END,
}


@pytest.mark.parametrize("name", PACKETS)
def test_an_xmp_packet_takes_time_in_proportion(name):
    """Whatever a packet of a megabyte holds, it is extended, shrunk and split in one pass."""
    with ended():
        packet = xmp.add_provenance(PACKETS[name], MADE)
        assert packet.count(b"AISystemVersionUsed>raycolor") + packet.count(b"<Iptc4xmpExt:AISystemUsed>") >= 1
        xmp.shrink(packet)
        main, rest, _ = xmp.move_to_extended(packet, PACKETS[name], MADE)
        assert len(main) < 4000
        assert len(rest) < 3 * len(PACKETS[name]) + 4000


def test_tags_of_a_profile_that_lie_over_one_another_are_not_copied():
    """A profile of which every tag is all of it does not become one many times its size."""
    table = b"".join(struct.pack(">4sII", name, 0, 4 << 20) for name in (b"kTRC", b"desc", b"cprt", b"chad", b"wtpt"))
    profile = bytearray(4 << 20)
    profile[12:24], profile[36:40] = b"mntrGRAYXYZ ", b"acsp"
    profile[128 : 132 + len(table)] = struct.pack(">I", 5) + table
    made = icc.for_rgb(bytes(profile))
    assert made is None or len(made) <= len(profile) + 4096


@pytest.mark.parametrize(("name", "chunk"), [("png-8", bytes(4) + b"teSt" + bytes(4)), ("webp", b"teSt" + bytes(4))])
def test_chunks_past_counting_are_refused(name, chunk):
    """A file of nothing but empty chunks is refused before a list of them takes many times its size."""
    data = samples()[name]
    at = 33 if name == "png-8" else 12
    data = data[:at] + chunk * (1 << 20) + data[at:]
    if name == "webp":
        data = data[:4] + struct.pack("<I", len(data) - 8) + data[8:]
    with pytest.raises(DecodeError, match="more than 1,048,576 chunks"):
        read_header(data)
