"""Every field of the input's metadata is in the copy, as exiftool, an independent reader of all of it, sees them."""

from __future__ import annotations

import json
import shutil
import subprocess

import numpy as np
import pytest
from codec_samples import colored, gray, save, tiff, wide

from raycolor.codecs import Provenance, can_be_exact, decode, encode, jpeg_exact, read_header

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("exiftool") is None, reason="exiftool is not installed"),
]
PROVENANCE = Provenance("default", "ef" * 32, "0.1.0")
FIELDS = [
    "-IFD0:Artist=Dorothea Lange", "-IFD0:Copyright=public domain", "-IFD0:Orientation#=6", "-IFD0:XResolution=600",
    "-IFD0:YResolution=600", "-ExifIFD:DateTimeOriginal=1936:03:01 12:00:00", "-ExifIFD:UserComment=plate 7",
    "-GPS:GPSLatitude=35.04", "-GPS:GPSLatitudeRef=N", "-XMP-dc:Title=Migrant mother", "-XMP-dc:Subject=portrait",
    "-XMP-dc:Subject=camp", "-XMP-photoshop:Credit=FSA", "-XMP-iptcExt:DigitalSourceType=http://x/negativeFilm",
]  # fmt: skip
IPTC = ["-IPTC:Caption-Abstract=Destitute pea pickers", "-IPTC:Keywords=Nipomo", "-IPTC:Keywords=California"]
FILES = {
    "gray.jpg": save(gray(), "JPEG", quality=90, dpi=(600, 600)),
    "progressive.jpg": save(gray(), "JPEG", quality=90, progressive=True),
    "gray.png": save(gray(), "PNG", dpi=(600, 600)),
    "deep.tif": tiff(wide(gray()), photometric="minisblack", compression="lzw", resolution=(600, 600)),
    "big_endian.tif": tiff(gray(), photometric="minisblack", byteorder=">"),
    "picture.webp": save(gray(), "WEBP"),
}


def exiftool(path) -> dict[str, object]:
    """Return every metadata field by group:name."""
    command = ["exiftool", "-j", "-n", "-G1", "-struct", "-a", "-XMP:all", "-EXIF:all", "-IPTC:all", "-JFIF:all"]
    command += ["-Comment", "-PNG-pHYs:all", str(path)]
    done = subprocess.run(command, capture_output=True, check=True, timeout=60)
    return dict(json.loads(done.stdout)[0])


@pytest.mark.parametrize("exact", [False, True])
@pytest.mark.parametrize("name", FILES)
def test_every_field_is_kept(name, exact, tmp_path):
    """All EXIF, GPS, XMP and IPTC fields are equal before and after; provenance and nothing else is new."""
    path = tmp_path / name
    path.write_bytes(FILES[name])
    fields = FIELDS + (IPTC if name.endswith(("jpg", "tif")) else [])
    subprocess.run(["exiftool", "-q", "-overwrite_original", *fields, str(path)], check=True, timeout=60)
    data = path.read_bytes()
    if exact and not can_be_exact(read_header(data)):
        pytest.skip("only JPEG has an exact way")
    before = exiftool(path)
    assert len(before) > 12
    if exact:
        neutral = np.full((22, 31), 128, np.uint8)
        out = jpeg_exact(read_header(data), neutral, neutral, provenance=PROVENANCE)
    else:
        photo = decode(data)
        assert photo.header.orientation == 6
        out = encode(photo, [colored(page) for page in photo.pages], provenance=PROVENANCE)
    path.write_bytes(out)
    after = exiftool(path)
    # How the samples are stored is the one thing that has to change in a TIFF.
    stored = {"BitsPerSample", "PhotometricInterpretation", "StripOffsets", "SamplesPerPixel", "RowsPerStrip"}
    stored |= {"StripByteCounts", "PlanarConfiguration", "Predictor"}
    replaced = "XMP-iptcExt:DigitalSourceType"
    for key, value in before.items():
        if key not in ("SourceFile", replaced) and key.partition(":")[2] not in stored:
            assert after.get(key) == value, key
    assert str(after[replaced]).endswith("/compositeWithTrainedAlgorithmicMedia")
    assert after["XMP-iptcExt:AISystemUsed"] == "raycolor"
    assert "0.1.0" in str(after["XMP-iptcExt:AISystemVersionUsed"])
    assert "http://x/negativeFilm" in after.values()
    warnings = subprocess.run(["exiftool", "-validate", "-warning", str(path)], capture_output=True, timeout=60)
    assert b"XMP" not in warnings.stdout.replace(b"Validate", b"")
