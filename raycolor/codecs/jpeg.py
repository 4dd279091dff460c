"""JPEG files: decode them, name any damage, and write the colored copy."""

from __future__ import annotations

import io
from typing import Final

import cv2
import numpy as np
import simplejpeg
from numpy.typing import NDArray
from PIL import Image, ImageChops, ImageCms

from raycolor.codecs import icc, jpeg_file, jpeg_whole
from raycolor.codecs.guard import guard, pillow
from raycolor.codecs.jpeg_file import JpegFile
from raycolor.codecs.jpeg_segments import color_segments, segment_bytes
from raycolor.codecs.photograph import Header, Metadata, Photograph, Plane, Provenance
from raycolor.errors import DecodeError, Reason, ShapeError

MAX_SIDE: Final = 65500  # libjpeg's JPEG_MAX_DIMENSION


def decode(data: bytes, header: Header) -> Photograph:
    """Decode a JPEG: gray gives (H, W), YCbCr and RGB give (H, W, 3), CMYK and YCCK are converted to RGB.

    Raises:
        DecodeError: `truncated` where any part of the picture is missing, `decode_error` where its data is damaged,
            `unsupported_format` for 12 bits, lossless and hierarchical coding.
    """
    file = _supported(header)
    whole = _proven_whole(file)
    if header.color in ("cmyk", "ycck"):
        page = _decode_cmyk(whole, file.metadata, inverted=file.adobe_transform is not None)
    else:
        page = _decode_strictly(whole, "GRAY" if header.gray else "RGB")
    if header.gray:
        page = page[..., 0]
    return Photograph(header, [page], [None], file.metadata, source=whole)


def decode_luma(photo: Photograph) -> NDArray[np.uint8]:
    """Return the luma (Y') of a decoded gray or YCbCr JPEG, as stored (unrotated): (H, W) uint8.

    Raises:
        DecodeError: `unsupported_format` where the file has no luma (RGB and CMYK coding).
    """
    if photo.header.gray:
        return photo.pages[0]
    if photo.header.color != "ycbcr":
        raise DecodeError("unsupported_format", f"JPEG: {photo.header.color} coding holds no luma")
    return _decode_strictly(photo.source, "GRAY")[..., 0]


def half_size_luma(plane: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Average the luma over the 2 x 2 blocks that share one chroma sample in 4:2:0.

    Args:
        plane: (H, W) uint8.

    Returns:
        (ceil(H / 2), ceil(W / 2)) uint8, rounded to nearest. At odd edges the mean is over the pixels there are.
    """
    height, width = plane.shape
    if height % 2 or width % 2:
        plane = np.pad(plane, ((0, height % 2), (0, width % 2)), mode="edge")
    half = cv2.resize(plane, (plane.shape[1] // 2, plane.shape[0] // 2), interpolation=cv2.INTER_AREA)
    return np.asarray(half, dtype=np.uint8)


def encode(photo: Photograph, rgb: Plane, *, provenance: Provenance | None, quality: int) -> bytes:
    """Write a baseline JPEG with chroma at half size (4:2:0) and the input's application segments.

    Raises:
        ShapeError: `rgb` is not uint8 (H, W, 3), or a side is over 65,500 pixels.
    """
    if rgb.dtype != np.uint8 or max(rgb.shape[:2]) > MAX_SIDE:
        raise ShapeError(f"JPEG holds uint8 up to {MAX_SIDE} pixels a side, not {rgb.dtype} {rgb.shape}")
    with guard("JPEG encoding"):
        coded = bytes(simplejpeg.encode_jpeg(np.ascontiguousarray(rgb), quality, "RGB", "420"))
    file = jpeg_file.parse(coded, scans=False)
    own_jfif = file.segments[0]
    head = color_segments(photo.metadata, provenance)
    if not any(m == jpeg_file.APP0 and p.startswith(b"JFIF\0") for m, p in photo.metadata.extra):
        # Without a JFIF marker readers guess the color space; without EXIF, density 1:1 is all that JFIF says.
        head = segment_bytes(own_jfif.marker, own_jfif.payload) + head
    return b"\xff\xd8" + head + coded[2 + 4 + len(own_jfif.payload) :]


def _supported(header: Header) -> JpegFile:
    """Return the parsed file behind a header, if it is one that can be decoded."""
    file = header.jpeg
    if file is None:
        raise DecodeError("unsupported_format", f"not a JPEG but {header.format}")
    if file.process in ("lossless", "hierarchical") or header.bit_depth != 8:
        raise DecodeError("unsupported_format", f"JPEG: {file.process} coding of {header.bit_depth} bits")
    if header.channels not in (1, 3, 4):
        raise DecodeError("unsupported_format", f"JPEG: {header.channels} components")
    return file


def _proven_whole(file: JpegFile) -> bytes:
    """Prove that the picture is whole; return the file as libjpeg reads it without a warning.

    Stray bytes between the segments before the first scan, which some writers leave, are left out. One that lacks
    only the end marker gets it: a picture in a single scan. With several scans the file may go on.
    """
    if file.end is None and (file.sof in jpeg_file.PROGRESSIVE or len(file.scans) > 1):
        raise DecodeError("truncated", "JPEG: no end-of-image marker after the last scan")
    jpeg_whole.check_whole(file)
    data = file.data
    if file.end is None:
        data = data[: file.scans[0].scan[1]] + b"\xff\xd9"
    for start, stop in reversed(file.stray):
        data = data[:start] + data[stop:]
    return data


def _reason_of(message: str) -> Reason:
    low = message.lower()
    return "truncated" if "premature end" in low else "decode_error"


def _decode_strictly(data: bytes, colorspace: str) -> Plane:
    """Decode with libjpeg's warnings as errors, as each of them may mean a damaged picture."""
    with guard("JPEG", _reason_of):
        return np.asarray(simplejpeg.decode_jpeg(data, colorspace, strict=True))


def _decode_cmyk(data: bytes, metadata: Metadata, *, inverted: bool) -> Plane:
    """Convert CMYK to sRGB: by the file's own CMYK profile, or by R = 255 - min(255, C + K) and so on without one.

    Adobe stores ink inverted (255 is none), and marks its files; Pillow takes every file for one of Adobe's.
    """
    _decode_strictly(data, "CMYK")  # Pillow fills what is missing with gray; the strict decoder tells
    with pillow("JPEG"), Image.open(io.BytesIO(data), formats=["JPEG"]) as image:
        return cmyk_to_rgb(image if inverted else ImageChops.invert(image), metadata.icc)


def cmyk_to_rgb(image: Image.Image, profile: bytes | None) -> Plane:
    """Convert a Pillow CMYK image to (H, W, 3) uint8 sRGB, through its profile where that works."""
    if icc.color_space(profile) == "CMYK":
        try:
            source = ImageCms.ImageCmsProfile(io.BytesIO(profile or b""))
            converted = ImageCms.profileToProfile(image, source, ImageCms.createProfile("sRGB"), outputMode="RGB")
        except (ImageCms.PyCMSError, OSError, ValueError):
            converted = None
        if converted is not None:
            return np.asarray(converted)
    return np.asarray(image.convert("RGB"))
