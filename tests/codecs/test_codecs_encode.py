"""Writing: the same kind of file, every value and every word of metadata in it."""

from __future__ import annotations

import io
import re
import struct

import numpy as np
import pytest
import tifffile
from codec_samples import NAMES, colored, gray, picture, samples, save, tiff, wide
from PIL import Image, ImageCms
from PIL.TiffImagePlugin import IFDRational, ImageFileDirectory_v2

from raycolor.codecs import Metadata, Provenance, decode, encode, jpeg_exact, output_format, png, read_header
from raycolor.codecs.tiff_tags import EXIF_IFD, read_pages
from raycolor.errors import ShapeError

PROVENANCE = Provenance("default", "ab" * 32, "0.1.0")
LOSSY = {"webp"} | {name for name in NAMES if name.startswith("jpeg")}
EXIF = Image.Exif()
EXIF[0x010E] = "Migrant mother, Nipomo"
EXIF[0x0112] = 6
EXIF[0x8298] = "Library of Congress"
XMP = (
    b'<?xpacket begin="\xef\xbb\xbf" id="W5M0MpCehiHzreSzNTczkc9d"?><x:xmpmeta xmlns:x="adobe:ns:meta/">'
    b'<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"><rdf:Description rdf:about="" '
    b'xmlns:photoshop="http://ns.adobe.com/photoshop/1.0/" photoshop:Credit="FSA"/></rdf:RDF></x:xmpmeta>'
    b'<?xpacket end="w"?>'
)
SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def written(data: bytes, provenance: Provenance | None = PROVENANCE) -> bytes:
    """Return the colored copy of a file."""
    photo = decode(data)
    return encode(photo, [colored(page) for page in photo.pages], provenance=provenance)


@pytest.mark.parametrize("name", NAMES)
def test_the_copy_is_of_the_same_kind(name):
    """Format, size, depth, pages, orientation and alpha of the copy are the input's; it is RGB; two runs are equal."""
    photo = decode(samples()[name])
    pages = [colored(page) for page in photo.pages]
    data = encode(photo, pages, provenance=PROVENANCE)
    assert data == encode(photo, pages, provenance=PROVENANCE)
    header, again = read_header(data), decode(data)
    assert header.format == output_format(photo.header)
    assert (header.width, header.height) == (photo.header.width, photo.header.height)
    assert (header.pages, header.alpha) == (photo.header.pages, photo.header.alpha)
    assert header.bit_depth == (16 if photo.header.bit_depth > 8 else 8)
    assert not header.gray
    for got, expected in zip(again.pages, pages, strict=True):
        if name in LOSSY:
            assert np.abs(got.astype(int) - expected).mean() < 8
        else:
            np.testing.assert_array_equal(got, expected)
    for got_alpha, alpha in zip(again.alpha, photo.alpha, strict=True):
        if alpha is not None:
            np.testing.assert_array_equal(got_alpha, alpha)


@pytest.mark.parametrize("name", [n for n in NAMES if n not in ("bmp", "gif", "j2k")])
def test_provenance_is_in_every_copy(name):
    """DigitalSourceType, system, version and checkpoint are in the XMP of every format that holds XMP."""
    packet = decode(written(samples()[name])).metadata.xmp or b""
    for text in (b"compositeWithTrainedAlgorithmicMedia", b">raycolor<", b"0.1.0; checkpoint default", b"ab" * 32):
        assert text in packet


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
@pytest.mark.parametrize("source", ["gray", "rgb"])
def test_exif_xmp_and_profile_are_kept(kind, source):
    """EXIF stays byte for byte, XMP keeps its fields, an RGB profile stays; without provenance XMP is untouched."""
    plane = gray() if source == "gray" and kind != "WEBP" else picture()
    options = {"pnginfo": _png_text()} if kind == "PNG" else {"xmp": XMP}
    data = save(plane, kind, exif=EXIF, icc_profile=SRGB, **options)
    before = decode(data).metadata
    assert before.exif
    assert before.xmp == XMP
    after, plain = decode(written(data)).metadata, decode(written(data, None)).metadata
    assert after.exif == before.exif
    assert after.icc == SRGB
    assert after.xmp is not None
    assert b'photoshop:Credit="FSA"' in after.xmp
    assert plain.xmp == XMP


def _png_text():
    from PIL.PngImagePlugin import PngInfo

    info = PngInfo()
    info.add_itxt("XML:com.adobe.xmp", XMP.decode())
    info.add_text("Author", "Dorothea Lange")
    info.add_text("Comment", "long " * 100, zip=True)
    return info


def test_png_text_time_and_density_are_kept():
    """Chunks that are not about the old samples are written back byte for byte."""
    data = save(gray(), "PNG", pnginfo=_png_text(), dpi=(300, 300))
    out = written(data)
    for kind in (b"tEXt", b"zTXt", b"pHYs"):
        at = data.index(kind) - 4
        size = struct.unpack_from(">I", data, at)[0] + 12
        assert data[at : at + size] in out, kind
    assert decode(out).metadata.dpi == pytest.approx((300, 300), abs=0.02)


def _jpeg_with(*segments: tuple[int, bytes]) -> bytes:
    """Return a gray JPEG with further segments behind its JFIF."""
    data = save(gray(), "JPEG", dpi=(240, 240))
    extra = b"".join(struct.pack(">BBH", 0xFF, marker, len(p) + 2) + p for marker, p in segments)
    return data[:20] + extra + data[20:]


IPTC = b"\x1c\x02\x78\x00\x0aGreat bear"
PHOTOSHOP = b"Photoshop 3.0\x008BIM\x04\x04\0\0" + struct.pack(">I", len(IPTC)) + IPTC + b"\0"


@pytest.mark.parametrize("exact", [False, True])
def test_jpeg_segments_are_kept(exact):
    """JFIF density, IPTC, comments and unknown segments are in the copy byte for byte, also on the exact way."""
    segments = [(0xED, PHOTOSHOP), (0xFE, b"Neg. 1234"), (0xE5, b"Scanner\0" + bytes(range(256))), (0xFE, b"second")]
    data = _jpeg_with(*segments)
    assert decode(data).metadata.dpi == (240, 240)
    neutral = np.full((22, 31), 128, np.uint8)
    out = jpeg_exact(read_header(data), neutral, neutral, provenance=PROVENANCE) if exact else written(data)
    for _, payload in segments:
        assert payload in out
    assert decode(out).metadata.dpi == (240, 240)


def test_a_profile_in_several_segments_is_joined():
    """An ICC profile over 64 KB spans segments: read whole, written whole."""
    large = SRGB + bytes(150_000)
    data = save(picture(), "JPEG", icc_profile=large)
    assert decode(data).metadata.icc == large
    assert decode(written(data)).metadata.icc == large


@pytest.mark.parametrize("exact", [False, True])
def test_xmp_too_long_for_a_segment_is_extended(exact):
    """With 65 KB of XMP the provenance still gets in: the rest moves to extended XMP, nothing is lost."""
    keywords = "".join(f"<dc:subject>keyword {i:05}</dc:subject>" for i in range(1710))
    packet = XMP.replace(b"<rdf:RDF", b'<rdf:RDF xmlns:dc="http://purl.org/dc/elements/1.1/"', 1).replace(
        b"</rdf:RDF>", b'<rdf:Description rdf:about="">' + keywords.encode() + b"</rdf:Description></rdf:RDF>"
    )
    assert 64_500 < len(packet) < 65_500
    data = save(gray(), "JPEG", xmp=packet)
    neutral = np.full((22, 31), 128, np.uint8)
    out = jpeg_exact(read_header(data), neutral, neutral, provenance=PROVENANCE) if exact else written(data)
    main = decode(out).metadata.xmp or b""
    guid = re.search(rb"HasExtendedXMP>([0-9A-F]{32})<", main)
    assert guid is not None
    assert b"AISystemUsed" in main
    assert out.count(b"http://ns.adobe.com/xmp/extension/\0" + guid.group(1)) >= 1
    assert all(f"keyword {i:05}".encode() in out for i in (0, 700, 1709))


@pytest.mark.parametrize("compression", [None, "lzw", "deflate", "packbits", "jpeg"])
@pytest.mark.parametrize("order", ["<", ">"])
def test_tiff_keeps_its_compression_and_tags(compression, order):
    """Compression, byte order, resolution, text tags and private tags are the input's."""
    tags = [(315, 2, 0, "Dorothea Lange", False), (33432, 2, 0, "LoC", False), (65000, 3, 4, (1, 2, 3, 40000), False)]
    data = tiff(
        gray(80, 90), photometric="minisblack", compression=compression, byteorder=order, resolution=(600, 600),
        resolutionunit=2, description="Neg. 1234", extratags=tags,
    )  # fmt: skip
    out = written(data)
    assert out[:2] == data[:2]
    with tifffile.TiffFile(io.BytesIO(data)) as before, tifffile.TiffFile(io.BytesIO(out)) as after:
        old, new = before.pages[0].tags, after.pages[0].tags
        for tag in (259, 270, 282, 283, 296, 315, 33432, 65000):
            assert new[tag].value == old[tag].value, tag
        expected = tifffile.imread(io.BytesIO(out))
    assert np.abs(decode(out).pages[0].astype(int) - expected).max() == 0


def test_tiff_is_read_by_others():
    """Pillow (libtiff) reads our 8-bit files, tifffile our 16-bit ones, to the same values."""
    for name in ("tiff-8-lzw", "tiff-8-white", "tiff-1", "tiff-pages"):
        with Image.open(io.BytesIO(written(samples()[name]))) as image:
            np.testing.assert_array_equal(np.asarray(image), colored(decode(samples()[name]).pages[0]))
    for name in ("tiff-16-deflate", "tiff-16-big-endian", "tiff-rgb-16-lzw"):
        expected = colored(decode(samples()[name]).pages[0])
        np.testing.assert_array_equal(tifffile.imread(io.BytesIO(written(samples()[name]))), expected)


def test_tiff_exif_directory_is_copied():
    """The EXIF directory behind its pointer is in the copy with every entry, at a new place."""
    tags = ImageFileDirectory_v2()
    tags[EXIF_IFD] = {0x9003: "1936:03:01 12:00:00", 0x829A: IFDRational(1, 60)}
    data = save(gray(), "TIFF", tiffinfo=tags)
    pages = read_pages(data)[1], read_pages(written(data))[1]
    before, after = (p[0].children[EXIF_IFD].entries for p in pages)
    assert set(before) == {0x9003, 0x829A}
    assert after == before


def test_tiff_pages_are_written_in_order():
    """Three pages in, three pages out, each its own."""
    photo = decode(samples()["tiff-pages"])
    again = decode(encode(photo, [colored(p) for p in photo.pages], provenance=PROVENANCE))
    assert len(again.pages) == 3
    for got, page in zip(again.pages, photo.pages, strict=True):
        np.testing.assert_array_equal(got, colored(page))


@pytest.mark.parametrize(
    ("pages", "match"),
    [([], "0 colored pages"), ([picture()], "uint8"), ([wide(gray())], "page 0"), ([wide(picture(5, 5))], "page 0")],
)
def test_pages_that_do_not_fit_are_refused(pages, match):
    """Number, type and size of the colored pages are checked."""
    with pytest.raises(ShapeError, match=match):
        encode(decode(samples()["png-16"]), pages, provenance=None)


def test_quality_changes_the_size():
    """The quality setting reaches the encoder."""
    photo = decode(samples()["jpeg-420"])
    sizes = [len(encode(photo, photo.pages, provenance=None, quality=q)) for q in (20, 92)]
    assert sizes[0] < sizes[1]
    with pytest.raises(ShapeError, match="1 to 100"):
        encode(photo, photo.pages, provenance=None, quality=0)


def test_metadata_has_no_shared_default():
    """Two Metadata never share their list."""
    Metadata().extra.append((1, b""))
    assert Metadata().extra == []


@pytest.mark.parametrize("source", [picture(70, 33), wide(picture(70, 33)), picture(1, 1)])
@pytest.mark.parametrize("whole", [True, False])
def test_png_in_bands_holds_the_same_picture(source, whole, monkeypatch):
    """Large pictures are filtered and compressed band by band; the rows at the seams come out right."""
    monkeypatch.setattr(png, "_BAND_BYTES", 1000)
    monkeypatch.setattr(png, "_WHOLE_BYTES", 1 << 30 if whole else 0)
    photo = decode(samples()["png-16" if source.dtype == np.uint16 else "png-8"])
    np.testing.assert_array_equal(decode(png.encode(photo, source, provenance=None)).pages[0], source)


def test_the_copy_of_a_lossless_animation_is_lossless():
    """An animated WebP says inside its frames whether it is lossless; its first frame's copy is coded likewise."""
    frames = [Image.fromarray(picture(seed=seed)) for seed in range(2)]
    photo = decode(save(frames[0], "WEBP", save_all=True, append_images=frames[1:], lossless=True, exact=True))
    assert photo.notes == ["animated: first frame"]
    copy = decode(encode(photo, photo.pages, provenance=None))
    np.testing.assert_array_equal(copy.pages[0], np.asarray(frames[0]))
