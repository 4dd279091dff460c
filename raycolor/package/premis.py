"""PREMIS 3 records: what each output was made from, by what and how."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any, Final

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


Tree = Mapping[str, Any]
"""Elements by name, in order: each a text, a tree of its own, or a list of either; None for one that is left out."""


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
    networks: dict[str, Mapping[str, Any]] = {}  # two revisions may share one
    for revision in sorted({item.outcome.revision for item in items if item.outcome.status == "colorized"}):
        networks.setdefault(_weights(record, revision), record.made_by(revision).checkpoint)
    # The schema wants all objects, then all events, then all agents.
    tree = {
        "object": [one for item in items for one in (_original(item), _output(item))],
        "event": [one for item in items for one in (_event(record, item.outcome), _signing(record, item))],
        "agent": [
            _agent(_software(record), "raycolor", {"agentVersion": record.raycolor_version}),
            *(_agent(name, point["name"], {"agentNote": _notes(point)}) for name, point in networks.items()),
        ],
    }
    _grow(root, tree)
    for about in root.iter("object"):
        about.set("xsi:type", "file")
    ET.indent(root)
    text = ET.tostring(root, "unicode")
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{text}\n'.encode()


def _grow(above: ET.Element, tree: Tree) -> None:
    """Add the elements of a tree to one of XML."""
    for name, value in tree.items():
        for one in value if isinstance(value, list) else [value]:
            if one is None:
                continue
            below = ET.SubElement(above, name)
            if isinstance(one, Mapping):
                _grow(below, one)
            else:
                below.text = _text(one)


def _original(item: Item) -> Tree:
    outcome, signature = item.outcome, item.signature
    # What a store says of an object: not a digest that anybody could compute again, and so no fixity.
    etag = {"significantPropertiesType": "etag", "significantPropertiesValue": outcome.input_etag}
    sha256 = None if signature is None else signature.original_sha256
    return {
        "objectIdentifier": _identifier("object", "source key", outcome.key),
        "significantProperties": etag if outcome.input_etag else None,
        "objectCharacteristics": _characteristics(outcome.key, outcome.input_bytes, sha256),
        "originalName": outcome.key,
    }


def _output(item: Item) -> Tree:
    outcome, file = item.outcome, item.files[0]
    return {
        "objectIdentifier": _identifier("object", "bag path", PAYLOAD + file.key),
        "objectCharacteristics": _characteristics(file.key, file.size, file.sha256),
        "relationship": {
            "relationshipType": "derivation",
            "relationshipSubType": "has source",
            "relatedObjectIdentifier": _identifier("relatedObject", "source key", outcome.key),
            "relatedEventIdentifier": _identifier("relatedEvent", "raycolor event", _event_name(outcome)),
        },
    }


def _characteristics(key: str, size: int, sha256: str | None) -> Tree:
    # Not mimetypes: it reads files of the machine, and bytes must not depend on that.
    suffix = PurePosixPath(key).suffix.lower()
    name = next((f"image/{kind}" for kind, known in SUFFIXES.items() if suffix in known), "unknown")
    fixity = {"messageDigestAlgorithm": "SHA-256", "messageDigest": sha256}
    return {
        "fixity": None if sha256 is None else fixity,
        "size": str(size),
        "format": {"formatDesignation": {"formatName": name}},
    }


def _event(record: JobRecord, outcome: Outcome) -> Tree:
    made_by, colorized = record.made_by(outcome.revision), outcome.status == "colorized"
    detail, agents = f"copied unchanged: {outcome.reason}", [(_software(record), "executing program")]
    if colorized:
        point = made_by.checkpoint
        detail = (
            f"colorization of a {outcome.source_kind or 'gray'} photograph by a trained network; checkpoint "
            f"{point['name']}; weights SHA-256 {point['weights_sha256']}; revision {outcome.revision}; "
            f"precision {made_by.precision}; digital source type {DIGITAL_SOURCE_TYPE}"
        )
        agents.append((_weights(record, outcome.revision), "trained network"))
    told = [f"confidence {outcome.confidence}"] if outcome.confidence is not None else []
    told += [f"flags {outcome.flags}"] if outcome.flags else []
    output = PAYLOAD + str(outcome.output_key)
    return {
        "eventIdentifier": _identifier("event", "raycolor event", _event_name(outcome)),
        "eventType": "modification" if colorized else "replication",
        "eventDateTime": made_by.created,
        "eventDetailInformation": {"eventDetail": detail},
        "eventOutcomeInformation": {
            "eventOutcome": "success",
            "eventOutcomeDetail": {"eventOutcomeDetailNote": "; ".join(told)} if told else None,
        },
        "linkingAgentIdentifier": [_identifier("linkingAgent", "raycolor agent", *agent) for agent in agents],
        "linkingObjectIdentifier": [
            _identifier("linkingObject", "source key", outcome.key, "source"),
            _identifier("linkingObject", "bag path", output, "outcome"),
        ],
    }


def _signing(record: JobRecord, item: Item) -> Tree | None:
    """Tell that an output was signed, if it was."""
    row = item.signature
    if row is None:
        return None
    where = "embedded" if row.manifest_key is None else f"in {PAYLOAD}{row.manifest_key}"
    detail = (
        f"Content Credentials (C2PA), {where}; certificate SHA-256 {row.certificate_sha256}; "
        f"SHA-256 before {row.output_sha256}"
    )
    return {
        "eventIdentifier": _identifier("event", "raycolor event", f"signature of {row.output_key}"),
        "eventType": "digital signature generation",
        "eventDateTime": row.signed,
        "eventDetailInformation": {"eventDetail": detail},
        "eventOutcomeInformation": {"eventOutcome": "success"},
        "linkingAgentIdentifier": _identifier("linkingAgent", "raycolor agent", _software(record), "executing program"),
        "linkingObjectIdentifier": _identifier("linkingObject", "bag path", PAYLOAD + row.output_key, "source"),
    }


def _agent(identifier: str, name: str, more: Tree) -> Tree:
    about = {"agentIdentifier": _identifier("agent", "raycolor agent", identifier), "agentName": name}
    return {**about, "agentType": "software", **more}


def _notes(point: Mapping[str, Any]) -> list[str]:
    notes = [f"weights SHA-256 {point['weights_sha256']}", f"method {point['method']}"]
    return notes + ([f"license {point['license']}"] if point.get("license") else [])


def _software(record: JobRecord) -> str:
    return f"raycolor {record.raycolor_version}"


def _weights(record: JobRecord, revision: int) -> str:
    return f"network {record.made_by(revision).checkpoint['weights_sha256']}"


def _event_name(outcome: Outcome) -> str:
    return f"revision {outcome.revision} of {outcome.output_key}"


def _identifier(what: str, kind: str, value: str, role: str | None = None) -> Tree:
    return {f"{what}IdentifierType": kind, f"{what}IdentifierValue": value, f"{what}Role": role}


def _text(value: str) -> str:
    """Return a value as manifests spell paths, and what XML cannot hold percent-encoded, too."""
    return _NOT_XML.sub(lambda found: "".join(f"%{byte:02X}" for byte in found[0].encode()), encoded(value))
