"""XMP gains provenance and loses nothing; gray profiles become RGB ones of the same tones."""

from __future__ import annotations

import io
import struct
import xml.etree.ElementTree as ET

import numpy as np
import pytest
from codec_samples import gray, save
from PIL import Image, ImageCms

from raycolor.codecs import Provenance, decode, encode
from raycolor.codecs.icc import color_space, for_rgb
from raycolor.codecs.xmp import DIGITAL_SOURCE_TYPE, IPTC_EXT, RAYCOLOR, add_provenance

PROVENANCE = Provenance("default", "cd" * 32, "0.1.0")
RDF = "http://www.w3.org/1999/02/22-rdf-syntax-ns#"


def packet(inner: str, declaration: str = "") -> bytes:
    """Return an XMP packet around these descriptions."""
    return (
        '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>'
        + declaration
        + '<x:xmpmeta xmlns:x="adobe:ns:meta/">'
        f'<rdf:RDF xmlns:rdf="{RDF}">{inner}</rdf:RDF></x:xmpmeta>' + " " * 100 + '<?xpacket end="w"?>'
    ).encode()


def properties(data: bytes) -> dict[str, list[str]]:
    """Return every property of the packet's descriptions, attributes and elements alike, by {namespace}name."""
    found: dict[str, list[str]] = {}
    for description in ET.fromstring(data.decode().lstrip("\ufeff")).iter(f"{{{RDF}}}Description"):
        for name, value in description.attrib.items():
            if name != f"{{{RDF}}}about":
                found.setdefault(name, []).append(value)
        for child in description:
            found.setdefault(child.tag, []).append("".join(child.itertext()).strip())
    return found


def check_ours(found: dict[str, list[str]]) -> None:
    """Assert that our properties are there once."""
    assert found[f"{{{IPTC_EXT}}}DigitalSourceType"] == [DIGITAL_SOURCE_TYPE]
    assert found[f"{{{IPTC_EXT}}}AISystemUsed"] == ["raycolor"]
    (version,) = found[f"{{{IPTC_EXT}}}AISystemVersionUsed"]
    assert "0.1.0" in version
    assert "cd" * 32 in version
    assert found[f"{{{RAYCOLOR}}}CheckpointSHA256"] == ["cd" * 32]


def test_without_a_packet_one_is_made():
    """A file without XMP gets a packet of its own."""
    check_ours(properties(add_provenance(None, PROVENANCE)))


@pytest.mark.parametrize("bom", ["", "\ufeff"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-16-le", "utf-16-be"])
def test_every_other_field_stays(encoding, bom):
    """Attributes, elements, containers, prefixes and comments of the packet are all still there."""
    inner = (
        '<rdf:Description rdf:about="uuid:1" xmlns:dc="http://purl.org/dc/elements/1.1/" xmlns:odd="http://odd/1/"'
        ' odd:Note="naïve &amp; &lt;b&gt;"><dc:title><rdf:Alt><rdf:li xml:lang="x-default">Bär</rdf:li></rdf:Alt>'
        "</dc:title><!-- kept --></rdf:Description>"
    )
    before = packet(inner).decode()
    after = add_provenance((bom + before).encode(encoding), PROVENANCE)
    found = properties(after)
    check_ours(found)
    assert found["{http://odd/1/}Note"] == ["naïve & <b>"]
    assert found["{http://purl.org/dc/elements/1.1/}title"] == ["Bär"]
    assert inner.encode() in after
    assert b'rdf:about="uuid:1"\n' in after


@pytest.mark.parametrize(
    "inner",
    [
        f'<rdf:Description rdf:about="" xmlns:e="{IPTC_EXT}" e:DigitalSourceType="http://x/negativeFilm"'
        ' e:AISystemUsed="old"/>',
        f'<rdf:Description rdf:about="" xmlns:e="{IPTC_EXT}"><e:DigitalSourceType>http://x/negativeFilm'
        "</e:DigitalSourceType><e:AISystemUsed>old</e:AISystemUsed></rdf:Description>",
        f'<rdf:Description rdf:about="" xmlns:e="{IPTC_EXT}"><e:DigitalSourceType rdf:resource="r"/>'
        "<e:DigitalSourceType>http://x/negativeFilm</e:DigitalSourceType></rdf:Description>",
    ],
)
def test_our_fields_are_replaced_not_doubled(inner):
    """Single-valued fields are there once; the scan's own source type is kept under another name."""
    found = properties(add_provenance(packet(inner), PROVENANCE))
    check_ours(found)
    assert found[f"{{{RAYCOLOR}}}SourceDigitalSourceType"] == ["http://x/negativeFilm"]


def test_adding_twice_is_adding_once():
    """A colored copy colored again says so once."""
    once = add_provenance(packet('<rdf:Description rdf:about="" xmlns:a="urn:a" a:b="c"/>'), PROVENANCE)
    check_ours(properties(add_provenance(once, PROVENANCE)))


@pytest.mark.parametrize(
    "broken",
    [
        b"not xml at all",
        b"<x:xmpmeta xmlns:x='adobe:ns:meta/'><unclosed>",
        b"\xff\xfe\x00",
        b"<a/>",
        packet(
            "<rdf:Description rdf:about='' xmlns:d='urn:d'><d:t>&lol2;</d:t></rdf:Description>",
            '<!DOCTYPE x [<!ENTITY lol "lol"><!ENTITY lol2 "&lol;&lol;&lol;">]>',
        ),
    ],
)
def test_a_packet_that_cannot_be_extended_gives_way(broken):
    """What is no well-formed XMP, or brings entities along, is replaced by a packet of our own."""
    after = add_provenance(broken, PROVENANCE)
    check_ours(properties(after))
    assert b"lol" not in after


@pytest.mark.parametrize("name", ["a&b", "<x>", '"quoted"', "größer"])
def test_names_are_escaped(name):
    """A checkpoint's name may hold any character."""
    found = properties(add_provenance(None, Provenance(name, "0" * 64, "1")))
    assert found[f"{{{RAYCOLOR}}}Checkpoint"] == [name]


def gray_profile(curve: bytes, pcs: bytes = b"XYZ ", version: int = 0x02400000) -> bytes:
    """Return a minimal gray profile with this tone curve."""
    text = b"gray\0"
    desc = b"desc" + bytes(4) + struct.pack(">I", len(text)) + text + bytes(78)
    white = b"XYZ " + bytes(4) + struct.pack(">3i", 63190, 65536, 54061)
    copyright_ = b"text" + bytes(4) + b"none\0"
    tags = {b"desc": desc, b"cprt": copyright_, b"wtpt": white, b"kTRC": curve}
    body, entries = b"", b""
    for name, value in tags.items():
        entries += struct.pack(">4sII", name, 132 + 12 * len(tags) + len(body), len(value))
        body += value + bytes(-len(value) % 4)
    size = 132 + len(entries) + len(body)
    head = struct.pack(">I4sI4s4s4s", size, b"test", version, b"mntr", b"GRAY", pcs)
    head += struct.pack(">6H", 2026, 1, 1, 0, 0, 0) + b"acsp" + bytes(28) + struct.pack(">3i", 63190, 65536, 54061)
    return head + bytes(128 - len(head)) + struct.pack(">I", len(tags)) + entries + body


TABLE = (np.linspace(0, 1, 256) ** 1.8 * 65535).astype(">u2").tobytes()
SRGB_CURVE = [round(v * 65536) for v in (2.4, 1 / 1.055, 0.055 / 1.055, 1 / 12.92, 0.04045)]
CURVES = {
    "linear": b"curv" + bytes(8),
    "gamma 2.2": b"curv" + bytes(4) + struct.pack(">IH", 1, round(2.2 * 256)),
    "table": b"curv" + bytes(4) + struct.pack(">I", 256) + TABLE,
    "sRGB": b"para" + bytes(4) + struct.pack(">HH5i", 3, 0, *SRGB_CURVE),
}


def through(profile: bytes, mode: str) -> np.ndarray:
    """Return what littlecms makes of the 256 neutral values: L* of Lab, 8 bits."""
    ramp = Image.fromarray(np.arange(256, dtype=np.uint8)[None])
    source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
    lab = ImageCms.createProfile("LAB")
    transform = ImageCms.buildTransform(source, lab, mode, "LAB", renderingIntent=ImageCms.Intent.RELATIVE_COLORIMETRIC)
    return np.asarray(ImageCms.applyTransform(ramp.convert(mode), transform)).astype(int)[0]


@pytest.mark.parametrize("pcs", [b"XYZ ", b"Lab "])
@pytest.mark.parametrize("name", CURVES)
def test_a_gray_profile_becomes_rgb_of_the_same_tones(name, pcs):
    """Through littlecms, R = G = B = v under the new profile has the L* that gray v had, and no chroma."""
    profile = gray_profile(CURVES[name], pcs, 0x04300000 if name == "sRGB" else 0x02400000)
    made = for_rgb(profile)
    assert made is not None
    assert color_space(made) == "RGB"
    old, new = through(profile, "L"), through(made, "RGB")
    assert np.abs(new[:, 0] - old[:, 0]).max() <= 1
    chroma = (new[:, 1:].astype(np.uint8).astype(np.int8)).astype(int)
    assert np.abs(chroma).max() <= 1


def test_other_profiles():
    """RGB profiles stay byte for byte; CMYK, broken and absent ones give none."""
    rgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    assert for_rgb(rgb) is rgb
    assert for_rgb(None) is None
    assert for_rgb(b"junk" * 50) is None
    assert for_rgb(gray_profile(b"what" + bytes(20))) is None
    cmyk = bytearray(rgb)
    cmyk[16:20] = b"CMYK"
    assert for_rgb(bytes(cmyk)) is None


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF"])
def test_files_with_a_gray_profile(kind):
    """The archive's values stay as they are, and the copy's profile is RGB with the same curve."""
    profile = gray_profile(CURVES["gamma 2.2"])
    data = save(gray(), kind, icc_profile=profile)
    photo = decode(data)
    assert photo.metadata.icc == profile
    if kind != "JPEG":
        np.testing.assert_array_equal(photo.pages[0], gray())
    out = encode(photo, [np.dstack([photo.pages[0]] * 3)], provenance=PROVENANCE)
    assert decode(out).metadata.icc == for_rgb(profile)


def test_damaged_profiles_never_raise():
    """Bit flips in a gray profile give some profile or none."""
    rng = np.random.default_rng(3)
    for name in CURVES:
        for _ in range(200):
            broken = bytearray(gray_profile(CURVES[name], b"Lab "))
            for _ in range(rng.integers(1, 6)):
                broken[rng.integers(len(broken))] ^= 1 << rng.integers(8)
            made = for_rgb(bytes(broken))
            assert made is None or isinstance(made, bytes)
