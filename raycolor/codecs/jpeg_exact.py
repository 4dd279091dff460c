"""Add color to a JPEG without touching its luma: keep the original's scan and append chroma scans.

A JPEG's components may stand in scans of their own. The scan of a gray JPEG is therefore, bit for bit, a valid luma
scan of a YCbCr JPEG with chroma at half size: nothing is decoded, nothing is encoded again, and `jpegtran -grayscale`
gives the original back. Where chroma is interleaved with the luma (a toned photograph), the luma's bits are taken
out of the scan as they are. Source: ITU-T T.81 sections A.2.2 and B.2.3.
"""

from __future__ import annotations

import io
import struct
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from raycolor.codecs import jpeg_file, jpeg_scan
from raycolor.codecs.guard import guard, pillow
from raycolor.codecs.jpeg_file import DHT, DQT, DRI, SOS, JpegFile
from raycolor.codecs.jpeg_segments import color_segments, segment_bytes
from raycolor.codecs.jpeg_tables import Scan, read_scans
from raycolor.codecs.jpeg_whole import luma_blocks
from raycolor.codecs.photograph import Header, Provenance
from raycolor.errors import DecodeError, ShapeError

# T.81 annex K.1.2, the table that chroma is quantized with at quality 50.
_CHROMA_TABLE: Final = np.full((8, 8), 99)
_CHROMA_TABLE[:4, :4] = [[17, 18, 24, 47], [18, 21, 26, 66], [24, 26, 56, 99], [47, 66, 99, 99]]
_PROCESSES: Final = ("baseline", "extended", "progressive")


@dataclass(frozen=True)
class _Scan:
    """One scan of one component: spectral and bit range, its Huffman tables, restart interval and coded bytes."""

    spectrum: bytes  # Ss, Se, Ah * 16 + Al
    dc: bytes | None
    ac: bytes | None
    restart: int
    coded: bytes


def can_be_exact(header: Header) -> bool:
    """Say whether `jpeg_exact` can keep this file's luma: 8-bit Huffman-coded gray or YCbCr with luma at full size.

    Not so: CMYK, YCCK and RGB coding, 12 bits, arithmetic, lossless and hierarchical coding, luma of fewer samples
    than chroma, files without an end. Such files have to be encoded again.
    """
    file = header.jpeg
    if file is None or file.process not in _PROCESSES or header.bit_depth != 8 or file.end is None:
        return False
    luma = file.components[0]
    full = luma.h == max(c.h for c in file.components) and luma.v == max(c.v for c in file.components)
    return header.color == "gray" or (header.color == "ycbcr" and full)


def jpeg_exact(
    header: Header,
    cb: NDArray[np.uint8],
    cr: NDArray[np.uint8],
    *,
    provenance: Provenance | None,
    quality: int = 92,
) -> bytes:
    """Return the JPEG with these chroma planes, its luma coefficients carried over unchanged.

    Args:
        header: of a JPEG for which `can_be_exact` holds, and which has been decoded without error.
        cb: (ceil(H / 2), ceil(W / 2)) uint8, as stored (unrotated), 128 is neutral.
        cr: likewise.
        provenance: written into XMP; None leaves the metadata as it was.
        quality: 1..100, of the chroma planes alone.

    Returns:
        A 4:2:0 JPEG, sequential or progressive like the input, with its application segments.

    Raises:
        DecodeError: `unsupported_format` where `can_be_exact` does not hold, `decode_error` or `truncated` where an
            interleaved scan is damaged.
        ShapeError: planes of another size or type.
    """
    file = header.jpeg
    if file is None or not can_be_exact(header):
        raise DecodeError("unsupported_format", f"JPEG: the luma of {header.color} coding cannot be kept as it is")
    half = (-(-header.height // 2), -(-header.width // 2))
    for plane in (cb, cr):
        if plane.shape != half or plane.dtype != np.uint8:
            raise ShapeError(f"chroma is {plane.dtype} {plane.shape}: must be uint8 {half}")
    with guard("JPEG luma"):
        luma = _luma_scans(file)
        luma_table = _luma_table(file)
    chroma = [_encode_plane(plane, quality, header.progressive) for plane in (cb, cr)]
    parts = [b"\xff\xd8", color_segments(file.metadata, provenance), segment_bytes(DQT, luma_table)]
    parts += [segment_bytes(DQT, b"\x01" + chroma[0][1]), _frame(file)]
    restart = 0
    for component, scans in enumerate((luma, chroma[0][0], chroma[1][0]), start=1):
        for scan in scans:
            if scan.restart != restart:
                parts.append(segment_bytes(DRI, struct.pack(">H", scan.restart)))
                restart = scan.restart
            parts += [segment_bytes(DHT, b"\x00" + scan.dc)] if scan.dc else []
            parts += [segment_bytes(DHT, b"\x10" + scan.ac)] if scan.ac else []
            parts += [segment_bytes(SOS, bytes([1, component, 0]) + scan.spectrum), scan.coded]
    return b"".join([*parts, b"\xff\xd9"])


def _frame(file: JpegFile) -> bytes:
    size = struct.pack(">BHHB", 8, file.height, file.width, 3)
    return segment_bytes(file.sof, size + bytes([1, 0x22, 0, 2, 0x11, 1, 3, 0x11, 1]))


def _encode_plane(plane: NDArray[np.uint8], quality: int, progressive: bool) -> tuple[list[_Scan], bytes]:
    """Code a plane as a gray JPEG and return its scans and its quantization table in zigzag order."""
    scale = 5000 // quality if quality < 50 else 200 - 2 * quality  # libjpeg's jpeg_quality_scaling
    table = np.clip((_CHROMA_TABLE * scale + 50) // 100, 1, 255)
    coded = io.BytesIO()
    with pillow("JPEG chroma"):
        image = Image.fromarray(np.ascontiguousarray(plane))
        image.save(coded, "JPEG", qtables=[table.ravel().tolist()], progressive=progressive, optimize=True)
    file = jpeg_file.parse(coded.getvalue())
    return _luma_scans(file), _luma_table(file)[1:]


def _luma_table(file: JpegFile) -> bytes:
    """Return a DQT payload that defines the luma's table as number 0."""
    # A table defined later cannot be the one the first scan was coded with.
    found = next(read_scans(file)).quanta.get(file.components[0].table)
    if found is None:
        raise DecodeError("decode_error", "JPEG: the luma's quantization table is missing")
    return found


def _luma_scans(file: JpegFile) -> list[_Scan]:
    """Return the scans of the first component in order, with the tables in force at each."""
    luma = file.components[0]
    scans = [_luma_scan(file, scan) for scan in read_scans(file) if luma in scan.header.components]
    if not scans:
        raise DecodeError("decode_error", "JPEG: no scan holds the luma")
    return scans


def _luma_scan(file: JpegFile, scan: Scan) -> _Scan:
    """Return the luma's part of one scan; where other components stand between its blocks, its DC is coded anew."""
    components, tables, first, last, bits = scan.header
    number, refine = tables[components.index(file.components[0])], bits >> 4 > 0
    dc = scan.codes(number >> 4) if first == 0 and not refine else None
    ac = scan.codes(16 | (number & 15)) if last > 0 else None
    spectrum = bytes([first, last, bits])
    if len(components) == 1:
        return _Scan(spectrum, dc, ac, scan.restart, file.data[slice(*scan.sos.scan)])
    coded = jpeg_scan.join_luma(*luma_blocks(file, scan), *jpeg_scan.codes(jpeg_scan.DC_TABLE), refine)
    if not coded.size:
        raise DecodeError("decode_error", "JPEG: a scan holds an impossible DC difference")
    return _Scan(spectrum, None if refine else jpeg_scan.DC_TABLE, ac, 0, coded.tobytes())
