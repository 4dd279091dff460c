"""PREMIS 3 records: what each output was made from, by what and how."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from collections.abc import Sequence
from pathlib import PurePosixPath
from typing import Final

from raycolor.codecs.photograph import SUFFIXES
from raycolor.codecs.xmp import DIGITAL_SOURCE_TYPE
from raycolor.colorize.job_record import JobRecord
from raycolor.colorize.outcomes import Outcome
from raycolor.package.bag_files import PAYLOAD, encoded
from raycolor.package.payload import Item

NAMESPACE: Final = "http://www.loc.gov/premis/v3"
_XSI: Final = "http://www.w3.org/2001/XMLSchema-instance"
_SCHEMA: Final = "https://www.loc.gov/standards/premis/premis.xsd"
_NOT_XML: Final = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff]")


def document(record: JobRecord, items: Sequence[Item]) -> bytes:
    """Return one XML document, complete in itself, about the outputs of a shard.

    Args:
        record: the job.
        items: the outputs of the shard.
    """
    root = ET.Element(
        "premis",
        {
            "xmlns": NAMESPACE,
            "xmlns:xsi": _XSI,
            "xsi:schemaLocation": f"{NAMESPACE} {_SCHEMA}",
            "version": "3.0",
        },
    )
    # The schema wants all objects, then all events, then all agents.
    for item in items:
        _original(root, item)
        _output(root, item)
    for item in items:
        _event(root, record, item.outcome)
        _signing(root, record, item)
    outcomes = [item.outcome for item in items]
    _agent(root, _software(record), "raycolor", "software", record.raycolor_version, ())
    for revision in sorted({outcome.revision for outcome in outcomes if outcome.status == "colorized"}):
        _network(root, record, revision)
    ET.indent(root)
    text = ET.tostring(root, "unicode")
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{text}\n'.encode()


def _original(root: ET.Element, item: Item) -> None:
    outcome = item.outcome
    about = _object(root, "source key", outcome.key)
    if outcome.input_etag:
        # What a store says of an object: not a digest that anybody could compute again, and so no fixity.
        note = _add(about, "significantProperties")
        _add(note, "significantPropertiesType", "etag")
        _add(note, "significantPropertiesValue", _text(outcome.input_etag))
    it = _add(about, "objectCharacteristics")
    if item.signature is not None:
        _fixity(it, item.signature.original_sha256)
    _add(it, "size", str(outcome.input_bytes))
    _format(it, outcome.key)
    _add(about, "originalName", _text(outcome.key))


def _output(root: ET.Element, item: Item) -> None:
    outcome, file = item.outcome, item.files[0]
    about = _object(root, "bag path", PAYLOAD + file.key)
    it = _add(about, "objectCharacteristics")
    _fixity(it, file.sha256)
    _add(it, "size", str(file.size))
    _format(it, file.key)
    relation = _add(about, "relationship")
    _add(relation, "relationshipType", "derivation")
    _add(relation, "relationshipSubType", "has source")
    _identifier(relation, "relatedObject", "source key", outcome.key)
    _identifier(relation, "relatedEvent", "raycolor event", _event_name(outcome))


def _fixity(it: ET.Element, sha256: str) -> None:
    fixity = _add(it, "fixity")
    _add(fixity, "messageDigestAlgorithm", "SHA-256")
    _add(fixity, "messageDigest", sha256)


def _object(root: ET.Element, kind: str, value: str) -> ET.Element:
    about = _add(root, "object")
    about.set("xsi:type", "file")
    _identifier(about, "object", kind, value)
    return about


def _format(it: ET.Element, key: str) -> None:
    # Not mimetypes: it reads files of the machine, and bytes must not depend on that.
    suffix = PurePosixPath(key).suffix.lower()
    name = next((f"image/{kind}" for kind, known in SUFFIXES.items() if suffix in known), "unknown")
    _add(_add(_add(it, "format"), "formatDesignation"), "formatName", name)


def _event(root: ET.Element, record: JobRecord, outcome: Outcome) -> None:
    made_by, colorized = record.made_by(outcome.revision), outcome.status == "colorized"
    event = _add(root, "event")
    _identifier(event, "event", "raycolor event", _event_name(outcome))
    _add(event, "eventType", "modification" if colorized else "replication")
    _add(event, "eventDateTime", made_by.created)
    if colorized:
        point = made_by.checkpoint
        detail = (
            f"colorization of a {outcome.source_kind or 'gray'} photograph by a trained network; checkpoint "
            f"{point['name']}; weights SHA-256 {point['weights_sha256']}; revision {outcome.revision}; "
            f"precision {made_by.precision}; digital source type {DIGITAL_SOURCE_TYPE}"
        )
    else:
        detail = f"copied unchanged: {outcome.reason}"
    _add(_add(event, "eventDetailInformation"), "eventDetail", _text(detail))
    result = _add(event, "eventOutcomeInformation")
    _add(result, "eventOutcome", "success")
    if outcome.flags or outcome.confidence is not None:
        told = [f"confidence {outcome.confidence}"] if outcome.confidence is not None else []
        told += [f"flags {outcome.flags}"] if outcome.flags else []
        _add(_add(result, "eventOutcomeDetail"), "eventOutcomeDetailNote", "; ".join(told))
    agents = [(_software(record), "executing program")]
    agents += [(_weights(record, outcome.revision), "trained network")] if colorized else []
    for name, role in agents:
        _identifier(event, "linkingAgent", "raycolor agent", name, role)
    _identifier(event, "linkingObject", "source key", outcome.key, "source")
    _identifier(event, "linkingObject", "bag path", PAYLOAD + str(outcome.output_key), "outcome")


def _signing(root: ET.Element, record: JobRecord, item: Item) -> None:
    """Tell that an output was signed, if it was."""
    row = item.signature
    if row is None:
        return
    event = _add(root, "event")
    _identifier(event, "event", "raycolor event", f"signature of {row.output_key}")
    _add(event, "eventType", "digital signature generation")
    _add(event, "eventDateTime", row.signed)
    where = "embedded" if row.manifest_key is None else f"in {PAYLOAD}{row.manifest_key}"
    detail = (
        f"Content Credentials (C2PA), {where}; certificate SHA-256 {row.certificate_sha256}; "
        f"SHA-256 before {row.output_sha256}"
    )
    _add(_add(event, "eventDetailInformation"), "eventDetail", _text(detail))
    _add(_add(event, "eventOutcomeInformation"), "eventOutcome", "success")
    _identifier(event, "linkingAgent", "raycolor agent", _software(record), "executing program")
    _identifier(event, "linkingObject", "bag path", PAYLOAD + row.output_key, "source")


def _network(root: ET.Element, record: JobRecord, revision: int) -> None:
    point = record.made_by(revision).checkpoint
    notes = [f"weights SHA-256 {point['weights_sha256']}", f"method {point['method']}"]
    notes += [f"license {point['license']}"] if point.get("license") else []
    known = {one.findtext("agentIdentifier/agentIdentifierValue") for one in root.iter("agent")}
    if _weights(record, revision) not in known:  # two revisions may share one network
        _agent(root, _weights(record, revision), point["name"], "software", None, notes)


def _agent(root: ET.Element, identifier: str, name: str, kind: str, version: str | None, notes: Sequence[str]) -> None:
    agent = _add(root, "agent")
    _identifier(agent, "agent", "raycolor agent", identifier)
    _add(agent, "agentName", _text(name))
    _add(agent, "agentType", kind)
    if version is not None:
        _add(agent, "agentVersion", version)
    for note in notes:
        _add(agent, "agentNote", _text(note))


def _software(record: JobRecord) -> str:
    return f"raycolor {record.raycolor_version}"


def _weights(record: JobRecord, revision: int) -> str:
    return f"network {record.made_by(revision).checkpoint['weights_sha256']}"


def _event_name(outcome: Outcome) -> str:
    return f"revision {outcome.revision} of {outcome.output_key}"


def _identifier(above: ET.Element, what: str, kind: str, value: str, role: str | None = None) -> None:
    it = _add(above, f"{what}Identifier")
    _add(it, f"{what}IdentifierType", kind)
    _add(it, f"{what}IdentifierValue", _text(value))
    if role is not None:
        _add(it, f"{what}Role", role)


def _add(above: ET.Element, name: str, text: str | None = None) -> ET.Element:
    one = ET.SubElement(above, name)
    one.text = text
    return one


def _text(value: str) -> str:
    """Return a value as manifests spell paths, and what XML cannot hold percent-encoded, too."""
    return _NOT_XML.sub(lambda found: "".join(f"%{byte:02X}" for byte in found[0].encode()), encoded(value))
