"""Image bytes to photographs with everything known about them, and back.

`read_header` looks, `decode` reads, `encode` writes the same kind of file with color in it, `jpeg_exact` adds color
to a JPEG without touching its luma. Every damage is a DecodeError with a reason; no library's exception comes out.
"""

from raycolor.codecs.formats import decode, encode, output_format
from raycolor.codecs.header import read_header, sniff
from raycolor.codecs.jpeg import decode_luma, half_size_luma
from raycolor.codecs.jpeg_exact import can_be_exact, jpeg_exact
from raycolor.codecs.orient import as_stored, upright
from raycolor.codecs.photograph import DEFAULT_MAX_PAGES, DEFAULT_MAX_PIXELS, Header, Metadata, Photograph, Provenance

__all__ = [
    "DEFAULT_MAX_PAGES",
    "DEFAULT_MAX_PIXELS",
    "Header",
    "Metadata",
    "Photograph",
    "Provenance",
    "as_stored",
    "can_be_exact",
    "decode",
    "decode_luma",
    "encode",
    "half_size_luma",
    "jpeg_exact",
    "output_format",
    "read_header",
    "sniff",
    "upright",
]
