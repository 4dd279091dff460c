"""Add provenance to an XMP packet and keep every other byte of it.

The packet is edited as text at positions an XML parser reports, not parsed and written anew: a rewritten packet would
lose namespace prefixes, comments and padding. Names: IPTC Photo Metadata Standard 2025.1, extension schema.
"""

from __future__ import annotations

import codecs
import hashlib
import re
from dataclasses import dataclass, field
from typing import Final
from xml.parsers import expat
from xml.sax.saxutils import escape, quoteattr

from raycolor.codecs.photograph import Provenance

DIGITAL_SOURCE_TYPE: Final = "http://cv.iptc.org/newscodes/digitalsourcetype/compositeWithTrainedAlgorithmicMedia"
IPTC_EXT: Final = "http://iptc.org/std/Iptc4xmpExt/2008-02-29/"
RAYCOLOR: Final = "urn:raycolor:xmp:1.0/"
_RDF: Final = "http://www.w3.org/1999/02/22-rdf-syntax-ns#"
_ENCODINGS: Final = ((codecs.BOM_UTF8, "utf-8"), (codecs.BOM_UTF16_BE, "utf-16-be"), (codecs.BOM_UTF16_LE, "utf-16-le"))
_OURS: Final = {
    f"{IPTC_EXT} DigitalSourceType",
    f"{IPTC_EXT} AISystemUsed",
    f"{IPTC_EXT} AISystemVersionUsed",
    f"{RAYCOLOR} Checkpoint",
    f"{RAYCOLOR} CheckpointSHA256",
    f"{RAYCOLOR} SourceDigitalSourceType",
}
_HEAD: Final = (
    '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>\n'
    '<x:xmpmeta xmlns:x="adobe:ns:meta/">\n<rdf:RDF xmlns:rdf="' + _RDF + '">\n'
)
_TAIL: Final = '</rdf:RDF>\n</x:xmpmeta>\n<?xpacket end="w"?>'

# Nothing here may be tried again from the middle of what it has passed (hence ++ and *+, and matches at known places):
# a packet of a megabyte of spaces would take minutes.
_TAG: Final = re.compile(rb"<(?:[^>\"']++|\"[^\"]*+\"|'[^']*+')*+>")
_TAG_NAME: Final = re.compile(rb"<[^\s/>]++")
_ATTRIBUTE: Final = re.compile(rb"\s++([^\s=/>]++)\s*+=\s*+(?:\"[^\"]*+\"|'[^']*+')")
_DECLARATION: Final = re.compile(r"<\?xml[^>]{0,400}>")


class _RefusedError(Exception):
    """A packet with a document type: entities could grow without bound, and XMP has no use for them."""


@dataclass
class _Found:
    """What the parser saw of one packet, as byte positions in its UTF-8 text."""

    about: str = ""
    rdf_start: int = -1
    rdf_end: int = -1
    prefix: str = "rdf"
    cuts: list[tuple[int, int]] = field(default_factory=list)
    start_tags: list[tuple[int, str]] = field(default_factory=list)  # of descriptions that hold ours as attributes
    source_type: str | None = None


def of_copy(packet: bytes | None, provenance: Provenance | None) -> bytes | None:
    """Return the packet of the colored copy: with provenance, or as it is where there is none."""
    return packet if provenance is None else add_provenance(packet, provenance)


def add_provenance(packet: bytes | None, provenance: Provenance) -> bytes:
    """Return the packet with DigitalSourceType, AISystemUsed, AISystemVersionUsed and the checkpoint in it.

    Args:
        packet: an XMP packet (UTF-8 or UTF-16, with or without its xpacket wrapper), or None.
        provenance: what made the colors.

    Returns:
        A UTF-8 packet. Fields of these names are replaced (an earlier DigitalSourceType, such as the scan's
        `negativeFilm`, is kept as raycolor:SourceDigitalSourceType); all else stays byte for byte. A packet that is
        no well-formed XMP, or has a document type, cannot be extended and gives way to a new one.
    """
    text = _as_utf8(packet) if packet else None
    found = _inspect(text) if text else None
    if text is None or found is None:
        return (_HEAD + _description(provenance, "", "rdf", None) + _TAIL).encode()
    for at, names in found.start_tags:
        found.cuts += _attribute_cuts(text, at, names)
    block = _description(provenance, found.about, found.prefix, found.source_type).encode()
    pieces, at = list[bytes](), 0
    for start, end in [*sorted(found.cuts), (found.rdf_end, found.rdf_end)]:
        pieces.append(text[at:start])
        at = max(at, end)
    return b"".join([*pieces, block, text[at:]])


def shrink(packet: bytes) -> bytes:
    """Drop the white padding before the packet's end marker, which exists only to be edited in place."""
    at = packet.rfind(b"<?xpacket end=")
    return packet if at < 0 else packet[:at].rstrip() + b"\n" + packet[at:]


def move_to_extended(packet: bytes, extended: bytes | None, provenance: Provenance) -> tuple[bytes, bytes, str]:
    """Split a packet too long for a JPEG segment, as XMP part 3 section 1.1.3.1 says.

    Args:
        packet: the whole packet, provenance in it.
        extended: the extended packet the file had already, or None.
        provenance: repeated in the main packet, where every reader looks.

    Returns:
        The main packet, the extended packet holding every field, and its MD5 in capital hexadecimal digits, by which
        the main packet refers to it.
    """
    rest = re.sub(rb"<\?xpacket[^>]{0,400}\?>", b"", packet).strip()
    if extended is not None:
        rest = _merge(rest, extended)
    guid = hashlib.md5(rest, usedforsecurity=False).hexdigest().upper()
    note = (
        ' <rdf:Description rdf:about=""\n   xmlns:xmpNote="http://ns.adobe.com/xmp/note/">\n'
        f"  <xmpNote:HasExtendedXMP>{guid}</xmpNote:HasExtendedXMP>\n </rdf:Description>\n"
    )
    return (_HEAD + _description(provenance, "", "rdf", None) + note + _TAIL).encode(), rest, guid


def _merge(packet: bytes, extended: bytes) -> bytes:
    """Put the descriptions of `extended` into `packet`; the packet alone where that gives no well-formed XML."""
    more, found = _inspect(extended), _inspect(packet)
    if more is None or found is None:
        return packet
    merged = packet[: found.rdf_end] + extended[more.rdf_start : more.rdf_end] + packet[found.rdf_end :]
    return merged if _inspect(merged) else packet


def _description(provenance: Provenance, about: str, rdf: str, source_type: str | None) -> str:
    version = f"{provenance.version}; checkpoint {provenance.checkpoint}; sha256 {provenance.checkpoint_sha256}"
    values = [
        ("Iptc4xmpExt:DigitalSourceType", DIGITAL_SOURCE_TYPE),
        ("Iptc4xmpExt:AISystemUsed", provenance.system),
        ("Iptc4xmpExt:AISystemVersionUsed", version),
        ("raycolor:Checkpoint", provenance.checkpoint),
        ("raycolor:CheckpointSHA256", provenance.checkpoint_sha256),
    ]
    if provenance.license is not None:
        values.append(("raycolor:CheckpointLicense", provenance.license))
    if source_type and source_type != DIGITAL_SOURCE_TYPE:
        values.append(("raycolor:SourceDigitalSourceType", source_type))
    lines = "".join(f"  <{name}>{escape(value)}</{name}>\n" for name, value in values)
    return (
        f" <{rdf}:Description {rdf}:about={quoteattr(about)}\n"
        f'   xmlns:Iptc4xmpExt="{IPTC_EXT}"\n   xmlns:raycolor="{RAYCOLOR}">\n{lines} </{rdf}:Description>\n'
    )


def _as_utf8(packet: bytes) -> bytes | None:
    """Return the packet as UTF-8 from its first "<" on, or None where it is no text."""
    encoding = next((name for bom, name in _ENCODINGS if packet.startswith(bom)), None)
    if encoding is None:
        encoding = "utf-16-le" if packet[1:2] == b"\0" else "utf-16-be" if packet[:1] == b"\0" else "utf-8"
    try:
        text = packet.decode(encoding).lstrip("\ufeff").strip("\0")
    except UnicodeDecodeError:
        return None
    declaration = _DECLARATION.match(text)
    said = declaration.group() if declaration else ""
    return (re.sub(r'\s+encoding=["\'][^"\']*["\']', "", said) + text[len(said) :]).encode()


def _inspect(text: bytes) -> _Found | None:
    """Find the byte positions to edit; None if the packet is no well-formed XMP with an rdf:RDF element."""
    found = _Found()
    parser = expat.ParserCreate(namespace_separator=" ")
    depth: list[tuple[str, int]] = []
    held: list[str] = []

    def start(name: str, attributes: dict[str, str]) -> None:
        at = parser.CurrentByteIndex
        depth.append((name, at))
        if len(depth) >= 2 and depth[-2][0] == f"{_RDF} RDF" and name == f"{_RDF} Description":
            found.about = attributes.get(f"{_RDF} about", attributes.get("about", "")) or found.about
            found.start_tags += [(at, key) for key in attributes if key in _OURS]
            found.source_type = attributes.get(f"{IPTC_EXT} DigitalSourceType", found.source_type)
        held.clear()

    def end(name: str) -> None:
        at = parser.CurrentByteIndex
        begun = depth.pop()[1]
        inside = [n for n, _ in depth[-2:]] == [f"{_RDF} RDF", f"{_RDF} Description"]
        if inside and name in _OURS:
            stop, empty = _tag(text, begun)
            found.cuts.append((begun, stop if empty else text.index(b">", at) + 1))
            if name.endswith(" DigitalSourceType"):
                found.source_type = "".join(held).strip() or found.source_type
        if name == f"{_RDF} RDF" and not (tag := _tag(text, begun))[1]:
            found.rdf_start, found.rdf_end = tag[0], at
            found.prefix = text[at + 2 : text.index(b">", at)].decode().strip().partition(":")[0]

    def refuse(*_: object) -> None:
        raise _RefusedError

    parser.StartElementHandler = start
    parser.EndElementHandler = end
    parser.CharacterDataHandler = held.append
    parser.StartDoctypeDeclHandler = refuse
    try:
        parser.Parse(text, True)
    except (expat.ExpatError, _RefusedError, ValueError):
        return None
    return found if found.rdf_end >= 0 else None


def _tag(text: bytes, at: int) -> tuple[int, bool]:
    """Return where the tag at `at` stops, and whether it is its element's end, too."""
    tag = _TAG.match(text, at)
    return (tag.end(), tag.group().endswith(b"/>")) if tag else (at, False)


def _attribute_cuts(text: bytes, at: int, name: str) -> list[tuple[int, int]]:
    """Return where in the start tag at `at` the attribute of this local name stands, with the space before it."""
    local = name.rpartition(" ")[2].encode()
    match = _TAG_NAME.match(text, at)
    while match and (match := _ATTRIBUTE.match(text, match.end())):
        if match.group(1).rpartition(b":")[2] == local and b":" in match.group(1):
            return [match.span()]
    return []
